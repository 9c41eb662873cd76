package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/regency-project/regency/bench/archive"
	"github.com/regency-project/regency/bench/compare"
	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/report"
	"github.com/regency-project/regency/bench/run"
	"github.com/regency-project/regency/cmd/coordpage"
	"github.com/spf13/cobra"
)

func newBenchReanalyze() *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "reanalyze RUN…",
		Short: "Compute a run's figures again from its raw timeline, and say which changed",
		Long: `Compute every figure of a run again from its raw timeline and its manifest, say which differ from those in its directory, and write figures and
report anew. With --check nothing is written, and the exit status is 1 if a figure differs.`,
		Example: `  regency bench reanalyze results/20261122-011759-a62ee9
  regency bench reanalyze --check results/published/2*`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			differ := 0
			for _, dir := range args {
				n, err := reanalyze(cmd.OutOrStdout(), dir, check)
				if err != nil {
					return err
				}
				differ += n
			}
			if check && differ > 0 {
				return exitCode(1)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "write nothing; exit with 1 if a figure differs")
	return cmd
}

// shownChanges is how many are listed one by one.
const shownChanges = 40

// reanalyze returns how many figures differ.
func reanalyze(w io.Writer, dir string, check bool) (int, error) {
	if _, err := os.Stat(filepath.Join(dir, coordpage.FiguresFile)); err == nil {
		return 0, fmt.Errorf("%s is a run of coordination operations, which has no timeline: `regency bench report` writes its page again", dir)
	}
	m, changes, stored, err := archive.Reanalyze(dir)
	if err != nil {
		return 0, err
	}
	switch {
	case !stored:
		fmt.Fprintf(w, "%s: it had no figures\n", dir)
	case len(changes) == 0:
		fmt.Fprintf(w, "%s: every figure is the same\n", dir)
	default:
		fmt.Fprintf(w, "%s: %d figures differ\n", dir, len(changes))
	}
	for i, c := range changes {
		if i == shownChanges {
			fmt.Fprintf(w, "  … and %d more\n", len(changes)-i)
			break
		}
		fmt.Fprintf(w, "  %s: %s → %s\n", c.Where, c.Before, c.After)
	}
	if check {
		return len(changes), nil
	}
	if len(changes) > 0 || !stored {
		if err := archive.WriteMetrics(dir, m); err != nil {
			return 0, err
		}
	}
	if err := report.Write(dir, m); err != nil {
		return 0, err
	}
	fmt.Fprintln(w, filepath.Join(dir, report.HTMLFile))
	return len(changes), nil
}

// rerunFlags are the settings of a repetition as text.
type rerunFlags struct {
	compareFlags
	out, servers, logLevel string
	dryRun, strict         bool
}

func newBenchRerun() *cobra.Command {
	var f rerunFlags
	cmd := &cobra.Command{
		Use:   "rerun RUN",
		Short: "Repeat a run from its manifest with this program, and compare",
		Long: `Repeat a run from its manifest: the same seed, plan, scenarios, profiles and flush mode, with this program and the coordination servers that are
installed now. What differs from the first time (programs, versions, kernel) is said before it starts; the two runs are compared at the end.

A plan that this program would make otherwise is refused: the runs would not be of the same thing.

The exit status is that of "bench run" if the new run has no full set of figures, else that of "bench compare".`,
		Example: `  regency bench rerun results/published/20261122-011759-a62ee9
  regency bench rerun --dry-run results/published/20261122-011759-a62ee9`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.out, "out", "results", "directory of all runs")
	fs.StringVar(&f.servers, "servers", "", "where the coordination servers are (default: where `make servers` puts them)")
	fs.BoolVar(&f.strict, "strict", false, "a backend that cannot run is refused, not a column that says so")
	fs.BoolVar(&f.dryRun, "dry-run", false, "say what would run and what differs, and start nothing")
	fs.StringVar(&f.logLevel, "log-level", "warn", "of the harness: debug, info, warn or error")
	f.register(cmd)
	return cmd
}

func (f *rerunFlags) run(cmd *cobra.Command, dir string) error {
	o, err := f.compareFlags.options()
	if err != nil {
		return err
	}
	m, err := archive.OpenManifest(dir)
	if err != nil {
		return err
	}
	again, err := f.repeat(m)
	if err != nil {
		return fmt.Errorf("rerun %s: %w", dir, err)
	}
	out := cmd.OutOrStdout()
	again.Progress = out
	v, err := run.Plan(again)
	if err != nil {
		return fmt.Errorf("rerun %s: %w", dir, err)
	}
	if err := samePlan(m, v.Manifest); err != nil {
		return fmt.Errorf("rerun %s: %w", dir, err)
	}
	fmt.Fprintf(out, "repeating %s (%s)\n", m.ID, m.Command)
	for _, d := range compare.Differences(m, v.Manifest) {
		fmt.Fprintf(out, "  differs: %s\n", d)
	}
	if f.dryRun {
		return v.Write(out, run.Columns(out, 120))
	}
	result, runErr := run.Run(cmd.Context(), again)
	if result.Dir == "" {
		return runErr
	}
	if err := conclude(out, result, runErr); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, archive.MetricsFile)); err != nil {
		fmt.Fprintf(out, "%s has no figures to compare with\n", dir)
		return nil
	}
	c, err := compareRuns(dir, result.Dir, o)
	if err != nil {
		return err
	}
	fmt.Fprintln(out)
	if err := c.Text(out); err != nil {
		return err
	}
	return compareStatus(c)
}

// repeat makes the options of the same run with this program.
func (f *rerunFlags) repeat(m metrics.Manifest) (run.Options, error) {
	if len(m.Parts) > 1 {
		return run.Options{}, errors.New("it was measured in several parts, each with a seed of its own: repeat these")
	}
	o := run.OptionsOf(m)
	o.Out, o.ServersDir, o.Strict, o.Version = f.out, f.servers, f.strict, version()
	var err error
	if o.Logger, err = newLogger(os.Stderr, f.logLevel); err != nil {
		return o, err
	}
	o.BrokerBinary, err = os.Executable()
	return o, err
}

// samePlan refuses a plan that this program makes otherwise.
func samePlan(stored, now metrics.Manifest) error {
	a, errA := json.Marshal(stored.Plan)
	b, errB := json.Marshal(now.Plan)
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	changes, err := archive.Changes(a, b)
	if err != nil || len(changes) == 0 {
		return err
	}
	return fmt.Errorf("this program plans it otherwise in %d places, first %s (%s, now %s): use the program of revision %s", len(changes), changes[0].Where, changes[0].Before, changes[0].After, stored.Revision)
}
