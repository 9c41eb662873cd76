package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/regency-project/regency/bench/metrics"
)

// metricsFile holds the figures of a run in its directory.
const metricsFile = "metrics.json"

// IndexFile is what Index writes.
const IndexFile = "index.md"

// Index writes index.md into resultsDir: one line for each run below it and below its directory "published", the newest first. A run that cannot be read
// has a line that says why.
func Index(resultsDir string) error {
	type entry struct {
		started int64
		line    string
	}
	var found []entry
	for _, pattern := range []string{"*", "published/*"} {
		paths, err := filepath.Glob(filepath.Join(resultsDir, filepath.FromSlash(pattern), metricsFile))
		if err != nil {
			return fmt.Errorf("list runs: %w", err)
		}
		for _, path := range paths {
			dir, err := filepath.Rel(resultsDir, filepath.Dir(path))
			if err != nil {
				return fmt.Errorf("list runs: %w", err)
			}
			dir = filepath.ToSlash(dir)
			run, err := readRun(path)
			if err != nil {
				found = append(found, entry{0, fmt.Sprintf("| %s | | | unreadable: %s |", plain(dir), plain(err.Error()))})
				continue
			}
			found = append(found, entry{run.Started.UnixNano(), indexLine(dir, run)})
		}
	}
	slices.SortStableFunc(found, func(a, b entry) int {
		switch {
		case a.started > b.started:
			return -1
		case a.started < b.started:
			return 1
		}
		return strings.Compare(a.line, b.line)
	})
	b := &bytes.Buffer{}
	b.WriteString("# Runs\n\n| Run | Started | Profiles | Verdict |\n|---|---|---|---|\n")
	for _, e := range found {
		b.WriteString(e.line + "\n")
	}
	if len(found) == 0 {
		b.WriteString("\nNo run yet.\n")
	}
	if err := os.WriteFile(filepath.Join(resultsDir, IndexFile), b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	return nil
}

func indexLine(dir string, run metrics.Run) string {
	var profiles []string
	for _, p := range run.Profiles {
		profiles = append(profiles, p.Name)
	}
	verdict := newBuilder(run).banner()
	counts := []string{verdict.Headline, plural(run.Verdict.Trials, "trial", "trials")}
	if run.Verdict.Invalid > 0 {
		counts = append(counts, grouped(int64(run.Verdict.Invalid))+" invalid")
	}
	if len(run.Verdict.NotRun) > 0 {
		counts = append(counts, "not run: "+joinAnd(run.Verdict.NotRun))
	}
	link := strings.NewReplacer("%", "%25", " ", "%20", "(", "%28", ")", "%29", "<", "%3C", ">", "%3E", "|", "%7C").Replace(dir)
	return fmt.Sprintf("| [%s](%s/%s) | %s | %s | %s |", plain(orText(run.ID, dir)), link, MarkdownFile,
		run.Started.UTC().Format("2006-01-02 15:04"), plain(strings.Join(profiles, ", ")), plain(strings.Join(counts, " · ")))
}

func readRun(path string) (metrics.Run, error) {
	var run metrics.Run
	data, err := os.ReadFile(path)
	if err != nil {
		return run, err
	}
	if err := json.Unmarshal(data, &run); err != nil {
		return run, fmt.Errorf("decode %s: %w", metricsFile, err)
	}
	if run.Schema != metrics.Schema {
		return run, fmt.Errorf("%s has schema %d, this program reads %d", metricsFile, run.Schema, metrics.Schema)
	}
	return run, nil
}
