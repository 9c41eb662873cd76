package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/regency-project/regency/bench/archive"
	"github.com/regency-project/regency/bench/report"
	"github.com/regency-project/regency/bench/run"
	"github.com/regency-project/regency/cmd/coordpage"
	"github.com/spf13/cobra"
)

func newBench() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Break a cluster on purpose, measure, and write the comparison",
		Example: `  regency bench suites                                    what there is to run, and how long it takes
  regency bench run --suite quick                         every fault once, on every backend
  regency bench run --suite failover --dry-run            the plan of a publishable run
  regency bench run --resume results/<run>                go on with an interrupted one`,
	}
	cmd.AddCommand(newBenchRun(), newBenchSuites(), newBenchMerge(), newBenchReport(), newBenchCoordination(), newBenchMember())
	cmd.AddCommand(newBenchCompare(), newBenchReanalyze(), newBenchRerun(), newBenchPublish())
	return cmd
}

// ended gives the exit status its meaning.
func ended(err error) error {
	code := 1
	switch {
	case err == nil:
		return nil
	case errors.Is(err, run.ErrViolation):
		code = 2
	case errors.Is(err, context.Canceled):
		code = 130 // as a shell says that a signal ended it
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
				m, err := archive.Renew(dir)
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
