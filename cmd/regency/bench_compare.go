package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/regency-project/regency/bench/archive"
	"github.com/regency-project/regency/bench/compare"
	"github.com/regency-project/regency/bench/stats"
	"github.com/spf13/cobra"
)

// compareFlags are the settings of a comparison as text.
type compareFlags struct {
	threshold, confidence       string
	markdown, junit, json, html string
	acrossMachines              bool
}

func newBenchCompare() *cobra.Command {
	var f compareFlags
	cmd := &cobra.Command{
		Use:   "compare OLD NEW",
		Short: "Tell whether a run is worse than an earlier one, cell by cell",
		Long: `Compare two run directories: broken promises first, then the outage, the time after detection and the throughput of every cell that both have. A
figure is called faster or slower only when the interval of the ratio of medians excludes 1, which takes 10 trials on both sides.

Runs of other machines, file systems or flush modes are marked and get no verdicts unless --across-machines is given; runs of another schema or without a
profile in common are refused.

The exit status is 0 if nothing is worse, 2 if the new run broke a promise, 4 if a figure is worse with its whole interval beyond the threshold, 3 if nothing
could be compared or the new run has no figure where the old one has, and 1 if the runs are refused or cannot be read.`,
		Example: `  regency bench compare results/published/20261122-011759-a62ee9 results/20261123-101500-4711ab
  regency bench compare --threshold 20% --markdown comment.md --junit junit.xml OLD NEW`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0], args[1]) },
	}
	fs := cmd.Flags()
	f.register(cmd)
	fs.StringVar(&f.markdown, "markdown", "", "write the comparison for a pull request to this file")
	fs.StringVar(&f.junit, "junit", "", "write it as a JUnit test suite to this file")
	fs.StringVar(&f.json, "json", "", "write it as JSON to this file")
	fs.StringVar(&f.html, "html", "", "write it as one offline page to this file")
	return cmd
}

// register adds the flags that every command that compares has.
func (f *compareFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.threshold, "threshold", "10%", "by how much a figure must be worse to fail")
	fs.StringVar(&f.confidence, "confidence", strconv.FormatFloat(100*stats.Confidence, 'f', -1, 64)+"%", "of every interval")
	fs.BoolVar(&f.acrossMachines, "across-machines", false, "give verdicts although the machines differ")
}

func (f *compareFlags) options() (compare.Options, error) {
	threshold, err := share(f.threshold)
	if err != nil {
		return compare.Options{}, fmt.Errorf("--threshold: %w", err)
	}
	confidence, err := share(f.confidence)
	if err != nil {
		return compare.Options{}, fmt.Errorf("--confidence: %w", err)
	}
	if confidence < 0.5 || confidence > 0.999 {
		return compare.Options{}, fmt.Errorf("--confidence %s: give 50%% to 99.9%%", f.confidence)
	}
	return compare.Options{Threshold: threshold, Confidence: confidence, AcrossMachines: f.acrossMachines}, nil
}

// share reads "10%" or "0.1".
func share(text string) (float64, error) {
	digits, isPercent := strings.CutSuffix(strings.TrimSpace(text), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if isPercent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v <= 100) {
		return 0, fmt.Errorf("%q: give a share such as 10%% or 0.1", text)
	}
	if !isPercent && v > 1 {
		return 0, fmt.Errorf("%q: is that %s%%? write the sign, or a share up to 1", text, text)
	}
	return v, nil
}

func (f *compareFlags) run(cmd *cobra.Command, oldDir, newDir string) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	c, err := compareRuns(oldDir, newDir, o)
	if err != nil {
		return err
	}
	if err := c.Text(cmd.OutOrStdout()); err != nil {
		return err
	}
	for _, form := range []struct {
		path   string
		render func() ([]byte, error)
	}{
		{f.markdown, func() ([]byte, error) { return c.Markdown(), nil }},
		{f.junit, c.JUnit},
		{f.json, func() ([]byte, error) { return json.MarshalIndent(c, "", " ") }},
		{f.html, c.HTML},
	} {
		if form.path == "" {
			continue
		}
		data, err := form.render()
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(form.path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(form.path, data, 0o644); err != nil {
			return err
		}
	}
	return compareStatus(c)
}

func compareRuns(oldDir, newDir string, o compare.Options) (compare.Comparison, error) {
	before, err := archive.Open(oldDir)
	if err != nil {
		return compare.Comparison{}, err
	}
	after, err := archive.Open(newDir)
	if err != nil {
		return compare.Comparison{}, err
	}
	return compare.Runs(before, after, o)
}

// compareStatus is the exit status of a comparison, whose text says why.
func compareStatus(c compare.Comparison) error {
	if c.Status == compare.StatusFine {
		return nil
	}
	return exitCode(c.Status)
}
