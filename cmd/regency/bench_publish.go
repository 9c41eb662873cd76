package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/regency-project/regency/bench/archive"
	"github.com/regency-project/regency/bench/report"
	"github.com/spf13/cobra"
)

func newBenchPublish() *cobra.Command {
	var into string
	var partial, indexOnly bool
	cmd := &cobra.Command{
		Use:   "publish RUN…",
		Short: "Check a run and copy it to the published ones, with their index and history",
		Long: `Check that a run may be published and copy it to the published runs; then write their index page and the history of the headline figures anew.

A run is refused if it broke a promise, did not come to its end, was not made from a clean checkout, has figures that are not those of its timeline, is too
large, or names this machine, its user or their directories anywhere. Missing trials and backends are refused unless --partial is given. Nothing that is
published is ever replaced.`,
		Example: `  regency bench publish results/20261122-011759-a62ee9
  regency bench publish --index`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && !indexOnly {
				return fmt.Errorf("name a run, or give --index to write the index alone")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, dir := range args {
				to, err := archive.Publish(dir, into, archive.PublishOptions{Private: privateTexts(), Partial: partial})
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "published: %s\n", to)
			}
			if err := report.Index(into); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "index: %s\n", filepath.Join(into, report.IndexName+".html"))
			return nil
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&into, "into", filepath.Join("results", "published"), "directory of the published runs")
	fs.BoolVar(&partial, "partial", false, "publish although trials or backends are missing; the report says which")
	fs.BoolVar(&indexOnly, "index", false, "with no run: only write the index and the history anew")
	return cmd
}

// privateTexts are what is this machine's alone. A text that is so short or common that it stands anywhere is left out.
func privateTexts() []string {
	var list []string
	host, errHost := os.Hostname()
	home, errHome := os.UserHomeDir()
	here, errHere := os.Getwd()
	for text, err := range map[string]error{host: errHost, home + "/": errHome, here + "/": errHere, filepath.Clean(os.TempDir()) + "/": nil} {
		if err == nil && len(text) > 4 && !slices.Contains([]string{"localhost", "linux"}, text) {
			list = append(list, text)
		}
	}
	slices.Sort(list)
	return list
}
