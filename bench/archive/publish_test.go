package archive

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/regency-project/regency/bench/metrics"
)

// ready is a copy of a published run whose figures are those of its timeline.
func ready(t *testing.T) (string, metrics.Run) {
	t.Helper()
	dirs := published(t)
	dir := copyRun(t, dirs[len(dirs)-1])
	run, err := Recompute(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteMetrics(dir, run); err != nil {
		t.Fatal(err)
	}
	return dir, run
}

func TestPublishCopiesAWholeRun(t *testing.T) {
	dir, _ := ready(t)
	into := filepath.Join(t.TempDir(), "published")
	to, err := Publish(dir, into, PublishOptions{Partial: true, Private: []string{"a-host-of-nobody"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, changes, _, err := Reanalyze(to); err != nil || len(changes) > 0 {
		t.Errorf("the copy reanalyzes with %d changes: %v", len(changes), err)
	}
	if _, err := os.Stat(filepath.Join(to, "pictures")); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(into); err != nil || len(entries) != 1 {
		t.Errorf("%d entries in %s, want the run alone: %v", len(entries), into, err)
	}
	if _, err := Publish(dir, into, PublishOptions{Partial: true}); err == nil || !strings.Contains(err.Error(), "never replaced") {
		t.Errorf("published twice: %v", err)
	}
}

func TestUnfitRunsAreNotPublished(t *testing.T) {
	dir, run := ready(t)
	path := func(name string) string { return filepath.Join(dir, name) }
	keep := func(name string) []byte {
		data, err := os.ReadFile(path(name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	change := func(f func(*metrics.Run)) func() {
		return func() {
			r := run
			f(&r)
			if err := WriteMetrics(dir, r); err != nil {
				t.Fatal(err)
			}
		}
	}
	write := func(name, text string) func() {
		return func() {
			if err := os.MkdirAll(filepath.Dir(path(name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path(name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	files := map[string][]byte{}
	for _, name := range []string{MetricsFile, ManifestFile, "report.md", TimelineFile} {
		files[name] = keep(name)
	}
	for want, spoil := range map[string]func(){
		"broke 1 promises": change(func(r *metrics.Run) {
			r.Verdict.Violations = []metrics.Violation{{Check: "order", Trial: "x"}}
		}),
		"2 acknowledged records":     change(func(r *metrics.Run) { r.Verdict.Lost = 2 }),
		"no trial of it counts":      change(func(r *metrics.Run) { r.Verdict.Trials = 0 }),
		"figures are not those":      change(func(r *metrics.Run) { r.Verdict.Acknowledged++ }),
		"clean checkout":             change(func(r *metrics.Run) { r.Revision = "abc+changes" }),
		"report.md is missing":       func() { os.Remove(path("report.md")) },
		"timeline.jsonl.gz is mi":    func() { os.Remove(path(TimelineFile)) },
		"/home/somebody":             write("logs/broker.log", "dir=/home/somebody/regency\n"),
		"the-host":                   write("logs/etcd.log", "listening on the-host\n"),
		".work is a working":         write(".work/x", ""),
		"big.log has 25 MB":          write("logs/big.log", strings.Repeat("x", 25<<20)),
		"it did not come to its end": write(ManifestFile, string(noDuration(files[ManifestFile]))),
	} {
		spoil()
		to, err := Publish(dir, t.TempDir(), PublishOptions{Partial: true, Private: []string{"the-host"}})
		if !errors.Is(err, ErrUnfit) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: published as %q, %v", want, to, err)
		}
		for name, data := range files {
			write(name, string(data))()
		}
		for _, name := range []string{"logs", ".work"} {
			if err := os.RemoveAll(path(name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if problems, err := Unfit(dir, PublishOptions{Partial: true, Private: []string{"the-host"}}); err != nil || len(problems) > 0 {
		t.Errorf("put right again: %q, %v", problems, err)
	}
}

// noDuration is a manifest of a run that was cut short.
func noDuration(manifest []byte) []byte {
	lines := strings.Split(string(manifest), "\n")
	for i, l := range lines {
		if strings.Contains(l, `"duration_s"`) {
			lines[i] = ` "duration_s": 0,`
			break
		}
	}
	return []byte(strings.Join(lines, "\n"))
}

func TestARunWithGapsNeedsLeave(t *testing.T) {
	var r Record
	r.Manifest.DurationS, r.Run.Revision, r.Run.Verdict.Trials = 1, "abc", 5
	if p := unfinished(r, PublishOptions{}); len(p) != 0 {
		t.Errorf("a complete run: %q", p)
	}
	r.Run.Verdict.Short = []string{"4 of 5"}
	r.Run.Verdict.Failed = []string{"block 3"}
	r.Run.Backends = []metrics.Backend{{Name: "consul", Status: metrics.StatusNotRun}}
	if p := unfinished(r, PublishOptions{}); len(p) != 3 {
		t.Errorf("three gaps: %q", p)
	}
	if p := unfinished(r, PublishOptions{Partial: true}); len(p) != 0 {
		t.Errorf("with leave: %q", p)
	}
}
