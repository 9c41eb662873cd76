// Package archive is what one does with run directories after their run: read them, compute them again, tell what changed, and publish them.
package archive

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/timeline"
)

// Names of the files of a run directory.
const (
	ManifestFile = "manifest.json"
	TimelineFile = "timeline.jsonl.gz"
	MetricsFile  = "metrics.json"
	LogsDir      = "logs"
)

// Record is a run directory's manifest and figures.
type Record struct {
	Dir      string
	Manifest metrics.Manifest
	Run      metrics.Run
}

// Open reads a run directory. Figures of another schema are an error that says so: their names may mean something else.
func Open(dir string) (Record, error) {
	r := Record{Dir: dir}
	if err := readJSON(filepath.Join(dir, MetricsFile), &r.Run); err != nil {
		return r, fmt.Errorf("open run: %w%s", err, hint(dir))
	}
	m, err := OpenManifest(dir)
	if err != nil {
		return r, err
	}
	r.Manifest = m
	if r.Run.Schema != metrics.Schema {
		return r, fmt.Errorf("open run %s: its figures have schema %d and this program knows %d: use the program that made them, or `regency bench reanalyze` on a copy", dir, r.Run.Schema, metrics.Schema)
	}
	return r, nil
}

// OpenManifest reads what a run was to be; a run that was cut short has no more.
func OpenManifest(dir string) (metrics.Manifest, error) {
	var m metrics.Manifest
	if err := readJSON(filepath.Join(dir, ManifestFile), &m); err != nil {
		return m, fmt.Errorf("open run: %w%s", err, hint(dir))
	}
	if m.Schema != metrics.Schema {
		return m, fmt.Errorf("open run %s: its manifest has schema %d and this program knows %d", dir, m.Schema, metrics.Schema)
	}
	return m, nil
}

func hint(dir string) string {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fmt.Sprintf("\n%s is no directory: give a run's, such as results/20260102-030405-abcdef", dir)
	}
	if _, err := os.Stat(filepath.Join(dir, TimelineFile)); err == nil {
		return "\nit has a timeline: `regency bench reanalyze` makes its figures"
	}
	return ""
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// Recompute makes every figure again from the manifest and the raw timeline. It changes nothing on disk.
func Recompute(dir string) (metrics.Run, error) {
	m, err := OpenManifest(dir)
	if err != nil {
		return metrics.Run{}, err
	}
	events, err := timeline.Read(filepath.Join(dir, TimelineFile))
	if err != nil {
		return metrics.Run{}, fmt.Errorf("recompute %s: %w", dir, err)
	}
	run, err := metrics.Compute(m, events)
	if err != nil {
		return metrics.Run{}, fmt.Errorf("recompute %s: %w", dir, err)
	}
	return run, nil
}

// Reanalyze makes every figure again and says which differ from those in metrics.json. Without a metrics.json there is nothing to differ from: stored is
// false then.
func Reanalyze(dir string) (run metrics.Run, changes []Change, stored bool, err error) {
	if run, err = Recompute(dir); err != nil {
		return run, nil, false, err
	}
	before, err := os.ReadFile(filepath.Join(dir, MetricsFile))
	if os.IsNotExist(err) {
		return run, nil, false, nil
	}
	if err != nil {
		return run, nil, false, fmt.Errorf("reanalyze: %w", err)
	}
	after, err := json.Marshal(run)
	if err != nil {
		return run, nil, true, fmt.Errorf("reanalyze %s: %w", dir, err)
	}
	if changes, err = Changes(before, after); err != nil {
		return run, nil, true, fmt.Errorf("reanalyze %s: %w", dir, err)
	}
	return run, changes, true, nil
}

// Renew makes every figure again and writes them.
func Renew(dir string) (metrics.Run, error) {
	run, err := Recompute(dir)
	if err != nil {
		return run, err
	}
	return run, WriteMetrics(dir, run)
}

// WriteMetrics replaces a run directory's figures as a whole.
func WriteMetrics(dir string, run metrics.Run) error {
	return writeJSON(filepath.Join(dir, MetricsFile), run)
}

// WriteManifest replaces a run directory's manifest as a whole.
func WriteManifest(dir string, m metrics.Manifest) error {
	return writeJSON(filepath.Join(dir, ManifestFile), m)
}

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", " ")
	if err == nil {
		err = os.WriteFile(path+".new", append(data, '\n'), 0o644)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}
