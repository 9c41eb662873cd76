package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/regency-project/regency/bench/report"
	"github.com/regency-project/regency/bench/run"
	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/cmd/coordpage"
	"github.com/regency-project/regency/coordination/profile"
	"github.com/spf13/cobra"
)

func newBench() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Break a cluster on purpose, measure, and write the comparison",
	}
	cmd.AddCommand(newBenchRun(), newBenchReport(), newBenchCoordination(), newBenchMember())
	return cmd
}

// benchFlags are the settings of a run as text.
type benchFlags struct {
	options                       run.Options
	backends, profiles, scenarios string
	logLevel                      string
}

func newBenchRun() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run scenarios on one or more coordination backends",
		Long: `Run scenarios against clusters of real processes on this machine: four brokers and, but for embedded, a three-member ensemble of the
coordination service. Each trial kills or freezes a broker under load; a raw prober and ordinary clients measure what that costs, and every acknowledged
record is accounted for. The result is a directory: report.html, report.md, metrics.json, the raw timeline and the manifest that repeats it.

The exit status is 2 if a promise was broken (a lost record, two leaders …), 3 if something planned has no valid figure.`,
		Example: `  regency bench run
  regency bench run --backends embedded --trials 5
  regency bench run --backends etcd,consul --scenarios leader-kill,./mine.yaml --profiles matched,tuned --trials 15`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := applySettings(cmd); err != nil {
				return err
			}
			return f.run(cmd)
		},
	}
	var all []string
	for _, b := range profile.Backends() {
		all = append(all, string(b))
	}
	fs := cmd.Flags()
	fs.StringVar(&f.backends, "backends", strings.Join(all, ","), "coordination backends, with commas")
	fs.StringVar(&f.profiles, "profiles", "matched", profilesHelp("timing settings, with commas"))
	fs.StringVar(&f.scenarios, "scenarios", "", "names of built-in scenarios or YAML files, with commas (default: all built-in ones)")
	fs.IntVar(&f.options.Trials, "trials", 5, "faults of each kind on each backend; 15 for publishing")
	fs.Uint64Var(&f.options.Seed, "seed", 0, "order of blocks and instants of faults; 0 draws one, which is printed and kept")
	fs.StringVar(&f.options.Out, "out", "results", "directory of all runs")
	fs.StringVar(&f.options.ServersDir, "servers", "", "where the coordination servers are (default: where `make servers` puts them)")
	fs.StringVar(&f.options.Flush, "flush", "sync", "the brokers' flush mode: sync or written")
	fs.BoolVar(&f.options.Strict, "strict", os.Getenv("CI") == "true", "a backend that cannot run is an error, not a column that says so")
	fs.StringVar(&f.logLevel, "log-level", "warn", "of the harness: debug, info, warn or error")
	return cmd
}

func profilesHelp(what string) string {
	help := what + ":"
	for _, n := range profile.Names() {
		help += fmt.Sprintf("\n  %-15s %s", n, n.Title())
	}
	return help + "\n"
}

func (f *benchFlags) run(cmd *cobra.Command) error {
	log, err := newLogger(os.Stderr, f.logLevel)
	if err != nil {
		return err
	}
	o := f.options
	o.Backends, o.Profiles, o.Logger, o.Version = list(f.backends), list(f.profiles), log, version()
	if names := list(f.scenarios); len(names) > 0 {
		if o.Scenarios, err = scenario.Load(names...); err != nil {
			return fmt.Errorf("--scenarios: %w", err)
		}
	}
	if o.BrokerBinary, err = os.Executable(); err != nil {
		return err
	}
	o.Progress = cmd.OutOrStdout()
	o.Command = f.command()
	result, runErr := run.Run(cmd.Context(), o)
	if result.Dir == "" {
		return runErr
	}
	if err := report.Write(result.Dir, result.Metrics); err != nil {
		return errors.Join(runErr, err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "\nreport: %s\n", filepath.Join(result.Dir, "report.html"))
	return ended(runErr)
}

// command repeats the run.
func (f *benchFlags) command() string {
	c := fmt.Sprintf("make bench BACKENDS=%s PROFILES=%s TRIALS=%d SEED={seed}", f.backends, f.profiles, f.options.Trials)
	if f.scenarios != "" {
		c += " SCENARIOS=" + f.scenarios
	}
	return c
}

// ended gives the exit status its meaning.
func ended(err error) error {
	code := 1
	switch {
	case err == nil:
		return nil
	case errors.Is(err, run.ErrViolation):
		code = 2
	case errors.Is(err, run.ErrIncomplete):
		code = 3
	}
	fmt.Fprintf(os.Stderr, "regency: %v\n", err)
	return exitCode(code)
}

func list(text string) []string {
	var out []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

func newBenchReport() *cobra.Command {
	return &cobra.Command{
		Use:   "report RUN…",
		Short: "Compute a run's figures again from its raw timeline, and write its report",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, dir := range args {
				if _, err := os.Stat(filepath.Join(dir, coordpage.FiguresFile)); err == nil {
					if err := coordpage.Render(dir); err != nil {
						return err
					}
					fmt.Fprintln(cmd.OutOrStdout(), filepath.Join(dir, coordpage.HTMLFile))
					continue
				}
				m, err := run.Recompute(dir)
				if err != nil {
					return err
				}
				if err := report.Write(dir, m); err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), filepath.Join(dir, "report.html"))
			}
			return nil
		},
	}
}
