package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/report"
	"github.com/regency-project/regency/bench/run"
	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/bench/suite"
	"github.com/regency-project/regency/coordination/profile"
	"github.com/spf13/cobra"
)

// benchFlags are the settings of a run as text.
type benchFlags struct {
	options                       run.Options
	suite                         string
	backends, profiles, scenarios string
	untilCI                       string
	maxTrials                     int
	dryRun                        bool
	resume                        string
	logLevel                      string
}

func newBenchRun() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run a suite, or scenarios, on one or more coordination backends",
		Long: `Run scenarios against clusters of real processes on this machine: four brokers and, but for embedded, a three-member ensemble of the
coordination service. Each trial kills or freezes a broker under load; a raw prober and ordinary clients measure what that costs, and every acknowledged
record is accounted for. The result is a directory: report.html, report.md, metrics.json, the raw timeline and the manifest that repeats it.

A suite says what to run (regency bench suites); other flags override its values. --dry-run prints the plan and the time that it takes.

Ctrl-C ends the clusters, writes the report of what is finished and says how to go on. A block that is not finished is measured again by --resume.

The exit status is 2 if a promise was broken (a lost record, two leaders …), 3 if something planned has no valid figure, 130 after Ctrl-C.`,
		Example: `  regency bench run --suite quick
  regency bench run --suite failover --dry-run
  regency bench run --suite failover --backends etcd,consul --trials 5
  regency bench run --backends embedded --scenarios leader-kill,./mine.yaml --profiles matched,tuned --trials 15
  regency bench run --scenarios leader-kill --trials 10 --until-ci 10% --max-trials 80
  regency bench run --suite failover --seed 4711 --shard 1/2     then 2/2, then: regency bench merge RUN RUN
  regency bench run --resume results/20260101-000000-00abcd`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := applySettings(cmd); err != nil {
				return err
			}
			return f.run(cmd)
		},
	}
	f.register(cmd)
	completeBenchFlags(cmd)
	return cmd
}

func (f *benchFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.suite, "suite", "", "a built-in suite or a YAML file: "+strings.Join(suite.Names(), ", "))
	fs.StringVar(&f.backends, "backends", strings.Join(allBackends(), ","), "coordination backends, with commas")
	fs.StringVar(&f.profiles, "profiles", "matched", profilesHelp("timing settings, with commas"))
	fs.StringVar(&f.scenarios, "scenarios", "", "names of the suite's or built-in scenarios, or YAML files, with commas (default: all of them)")
	fs.IntVar(&f.options.Trials, "trials", 5, "faults of each kind on each backend; 15 for publishing")
	fs.StringVar(&f.untilCI, "until-ci", "", "go on until the interval of every headline's median is this narrow: 10% is ±10 %")
	fs.IntVar(&f.maxTrials, "max-trials", 60, "with --until-ci: the most on each backend")
	fs.Uint64Var(&f.options.Seed, "seed", 0, "order of blocks and instants of faults; 0 draws one, which is printed and kept")
	fs.StringVar(&f.options.Shard, "shard", "", "only a part of the plan, 1/3 for the first of three; give all the same --seed, and merge them")
	fs.StringVar(&f.options.Out, "out", "results", "directory of all runs")
	fs.StringVar(&f.resume, "resume", "", "go on with an interrupted run: its directory; the plan is its own")
	fs.BoolVar(&f.dryRun, "dry-run", false, "print the plan, its time and what it needs, and start nothing")
	fs.StringVar(&f.options.ServersDir, "servers", "", "where the coordination servers are (default: where `make servers` puts them)")
	fs.StringVar(&f.options.Flush, "flush", "sync", "the brokers' flush mode: sync or written")
	fs.BoolVar(&f.options.Strict, "strict", os.Getenv("CI") == "true", "a backend that cannot run is refused, not a column that says so")
	fs.StringVar(&f.logLevel, "log-level", "warn", "of the harness: debug, info, warn or error")
}

func allBackends() []string {
	var all []string
	for _, b := range profile.Backends() {
		all = append(all, string(b))
	}
	return all
}

func profilesHelp(what string) string {
	help := what + ":"
	for _, n := range profile.Names() {
		help += fmt.Sprintf("\n  %-15s %s", n, n.Title())
	}
	return help + "\n"
}

// planFlags make the plan: a run that is resumed has one.
var planFlags = []string{"suite", "backends", "profiles", "scenarios", "trials", "until-ci", "max-trials", "seed", "shard", "out", "flush"}

func (f *benchFlags) run(cmd *cobra.Command) error {
	log, err := newLogger(os.Stderr, f.logLevel)
	if err != nil {
		return err
	}
	o, err := f.resolve(cmd.Flags().Changed)
	if err != nil {
		return err
	}
	o.Logger, o.Version, o.Progress = log, version(), cmd.OutOrStdout()
	if o.BrokerBinary, err = os.Executable(); err != nil {
		return err
	}
	if f.dryRun {
		return preview(cmd.OutOrStdout(), o)
	}
	var result run.Result
	var runErr error
	if f.resume != "" {
		result, runErr = run.Resume(cmd.Context(), f.resume, o)
	} else {
		result, runErr = run.Run(cmd.Context(), o)
	}
	if result.Dir == "" {
		return runErr
	}
	return conclude(cmd.OutOrStdout(), result, runErr)
}

// resolve makes the options of the suite and the flags; changed tells which flags were given.
func (f *benchFlags) resolve(changed func(flag string) bool) (run.Options, error) {
	if f.resume != "" {
		for _, name := range planFlags {
			if changed(name) {
				return run.Options{}, fmt.Errorf("--%s: a resumed run keeps its plan: leave it out", name)
			}
		}
		if f.dryRun {
			return run.Options{}, errors.New("--dry-run: a resumed run keeps its plan: leave it out")
		}
		return f.options, nil
	}
	o := f.options
	o.Backends, o.Profiles = list(f.backends), list(f.profiles)
	var known []scenario.Scenario
	if f.suite != "" {
		s, err := suite.Load(f.suite)
		if err != nil {
			return o, fmt.Errorf("--suite: %w", err)
		}
		known = s.Scenarios
		f.take(&o, s, changed)
	}
	var err error
	if o.Scenarios, err = chooseScenarios(known, list(f.scenarios)); err != nil {
		return o, fmt.Errorf("--scenarios: %w", err)
	}
	if o.Until, err = f.until(changed); err != nil {
		return o, err
	}
	o.Command = f.command(changed)
	return o, nil
}

// take uses the suite's values where no flag was given.
func (f *benchFlags) take(o *run.Options, s suite.Suite, changed func(string) bool) {
	o.Suite, o.ProfileTrials = s.Name, s.ProfileTrials
	if !changed("backends") && len(s.Backends) > 0 {
		o.Backends = s.Backends
	}
	if !changed("profiles") {
		o.Profiles = s.Profiles
	}
	if !changed("trials") {
		o.Trials, o.ScenarioTrials = s.Trials, s.ScenarioTrials
	}
	if !changed("flush") && s.Flush != "" {
		o.Flush = s.Flush
	}
}

// chooseScenarios finds names in the suite first, then among the built-in ones and files.
func chooseScenarios(known []scenario.Scenario, names []string) ([]scenario.Scenario, error) {
	if len(names) == 0 {
		return known, nil
	}
	var chosen []scenario.Scenario
	for _, name := range names {
		i := slices.IndexFunc(known, func(s scenario.Scenario) bool { return s.Name == name })
		if i >= 0 {
			chosen = append(chosen, known[i])
			continue
		}
		loaded, err := scenario.Load(name)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, loaded...)
	}
	for i, s := range chosen {
		if slices.ContainsFunc(chosen[:i], func(o scenario.Scenario) bool { return o.Name == s.Name }) {
			return nil, fmt.Errorf("scenario %s is given twice", s.Name)
		}
	}
	return chosen, nil
}

func (f *benchFlags) until(changed func(string) bool) (*metrics.Until, error) {
	if f.untilCI == "" {
		if changed("max-trials") {
			return nil, errors.New("--max-trials: it bounds --until-ci, which is not given")
		}
		return nil, nil
	}
	percent, err := strconv.ParseFloat(strings.TrimSuffix(f.untilCI, "%"), 64)
	if err != nil || !strings.HasSuffix(f.untilCI, "%") {
		return nil, fmt.Errorf("--until-ci %q: write a percentage, as 10%%", f.untilCI)
	}
	return &metrics.Until{Width: percent / 100, Trials: f.maxTrials}, nil
}

// command repeats the run.
func (f *benchFlags) command(changed func(string) bool) string {
	c := "make bench"
	given := func(variable, flag, value string) {
		if changed(flag) || f.suite == "" && value != "" {
			c += " " + variable + "=" + value
		}
	}
	if f.suite != "" {
		c += " SUITE=" + f.suite
	}
	given("BACKENDS", "backends", f.backends)
	given("PROFILES", "profiles", f.profiles)
	given("TRIALS", "trials", strconv.Itoa(f.options.Trials))
	c += " SEED={seed}"
	given("SCENARIOS", "scenarios", f.scenarios)
	var args []string
	for flag, value := range map[string]string{
		"flush": f.options.Flush, "until-ci": f.untilCI, "max-trials": strconv.Itoa(f.maxTrials), "shard": f.options.Shard,
	} {
		if changed(flag) {
			args = append(args, "--"+flag+" "+value)
		}
	}
	if slices.Sort(args); len(args) > 0 {
		c += " ARGS='" + strings.Join(args, " ") + "'"
	}
	return c
}

// preview prints the plan.
func preview(w io.Writer, o run.Options) error {
	v, err := run.Plan(o)
	if err != nil {
		return err
	}
	return v.Write(w, run.Columns(w, 120))
}

// conclude writes the report of a run that ended, however it did.
func conclude(w io.Writer, result run.Result, runErr error) error {
	if err := report.Write(result.Dir, result.Metrics); err != nil {
		return errors.Join(runErr, err)
	}
	for i, text := range result.Advice {
		if i == 0 {
			fmt.Fprint(w, "\nmore trials would help:\n")
		}
		fmt.Fprintf(w, "  %s\n", text)
	}
	fmt.Fprintf(w, "\nreport: %s\n", filepath.Join(result.Dir, "report.html"))
	if errors.Is(runErr, context.Canceled) && result.Left > 0 {
		fmt.Fprintf(w, "interrupted: the blocks that are left are %d; go on with: regency bench run --resume %s\n", result.Left, result.Dir)
	}
	return ended(runErr)
}
