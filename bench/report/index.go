package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/regency-project/regency/bench/metrics"
)

// Names of what Index reads and writes.
const (
	metricsFile = "metrics.json" // holds the figures of a run in its directory
	figuresFile = "figures.json" // of a run of coordination operations
	IndexName   = "index"
)

// archived is a run directory as the index shows it.
type archived struct {
	dir     string
	started time.Time
	title   string
	page    string // of its report, in its directory
	what    string // what was measured
	verdict string
	run     *metrics.Run // null for a run of coordination operations, and for one that cannot be read
}

// Index writes index.html and index.md into the directory of all published runs: a line for each run, the newest first, and the history of the headline
// figures. A run that cannot be read has a line that says why.
func Index(dir string) error {
	list, err := archivedRuns(dir)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(dir, PictureDir)); err != nil {
		return fmt.Errorf("remove old pictures: %w", err)
	}
	return indexPage(list).Write(dir, IndexName)
}

// archivedRuns lists the runs of a directory, the oldest first.
func archivedRuns(dir string) ([]archived, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	var list []archived
	for _, e := range entries {
		if !e.IsDir() || e.Name() == PictureDir {
			continue
		}
		a := archived{dir: e.Name(), title: e.Name()}
		if err := a.read(filepath.Join(dir, e.Name())); err != nil {
			a.verdict = "unreadable: " + err.Error()
		}
		list = append(list, a)
	}
	slices.SortStableFunc(list, func(a, b archived) int { return a.started.Compare(b.started) })
	return list, nil
}

func (a *archived) read(dir string) error {
	run, err := readRun(filepath.Join(dir, metricsFile))
	if errors.Is(err, os.ErrNotExist) {
		return a.readCoordination(filepath.Join(dir, figuresFile))
	}
	if err != nil {
		return err
	}
	a.run, a.started, a.page = &run, run.Started, HTMLFile
	var profiles, scenarios []string
	for _, p := range run.Profiles {
		profiles = append(profiles, p.Name)
	}
	for _, s := range run.Scenarios {
		scenarios = append(scenarios, s.Name)
	}
	a.what = "failover: " + strings.Join(scenarios, ", ") + "; profiles " + strings.Join(profiles, ", ")
	counts := []string{newBuilder(run).banner().Headline, plural(run.Verdict.Trials, "trial", "trials")}
	if run.Verdict.Invalid > 0 {
		counts = append(counts, grouped(int64(run.Verdict.Invalid))+" invalid")
	}
	if len(run.Verdict.NotRun) > 0 {
		counts = append(counts, "not run: "+joinAnd(run.Verdict.NotRun))
	}
	a.verdict = strings.Join(counts, " · ")
	return nil
}

func (a *archived) readCoordination(path string) error {
	var head struct {
		Started  time.Time `json:"started"`
		Profile  string    `json:"profile"`
		Rounds   int       `json:"rounds"`
		Complete bool      `json:"complete"`
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("it holds neither %s nor %s", metricsFile, figuresFile)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return fmt.Errorf("decode %s: %w", figuresFile, err)
	}
	a.started, a.page = head.Started, "coordination.html"
	a.what = fmt.Sprintf("coordination operations; profile %s, %s", head.Profile, plural(head.Rounds, "round", "rounds"))
	if a.verdict = "complete"; !head.Complete {
		a.verdict = "incomplete"
	}
	return nil
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

func indexPage(list []archived) *Page {
	trials, lost, broken := 0, int64(0), 0
	for _, a := range list {
		if a.run != nil {
			trials += a.run.Verdict.Trials
			lost += a.run.Verdict.Lost
			broken += len(a.run.Verdict.Violations)
		}
	}
	tone, verdict := Good, "Nothing acknowledged was lost in any published run"
	switch {
	case lost > 0 || broken > 0:
		tone, verdict = Bad, "Promises were broken in published runs"
	case trials == 0:
		tone, verdict = Warn, "No failover was published"
	}
	subtitle := "Each is complete: raw timeline, manifest, figures and report."
	if len(list) > 0 {
		subtitle += " The latest is of " + list[len(list)-1].started.UTC().Format("2006-01-02") + "."
	}
	p := NewPage("Published runs", subtitle, tone, verdict)
	p.Count("runs", grouped(int64(len(list))), Plain)
	p.Count("trials counted", grouped(int64(trials)), Plain)
	p.Count("records lost", grouped(lost), Plain)
	p.Count("violations", grouped(int64(broken)), Plain)
	p.Section("runs", "Runs")
	var lines []Line
	for _, a := range slices.Backward(list) {
		l := Line{Head: a.title, Colour: -1, Cells: []string{a.started.UTC().Format("2006-01-02 15:04"), a.what, a.verdict}}
		if a.page != "" {
			l.Link = a.dir + "/" + a.page
		}
		lines = append(lines, l)
	}
	if len(lines) == 0 {
		p.Prose("No run yet.")
	} else {
		p.TextTable("run-table", "All published runs, the newest first. Times are UTC.", []string{"Run", "Started", "What", "Verdict"}, lines)
	}
	history(p, list)
	return p
}
