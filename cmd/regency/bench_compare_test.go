package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// bench runs the command and returns what it printed, and its exit status.
func bench(t *testing.T, args ...string) (string, int) {
	t.Helper()
	root := newRoot()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetArgs(append([]string{"bench"}, args...))
	err := root.ExecuteContext(t.Context())
	var code exitCode
	switch {
	case err == nil:
		return out.String(), 0
	case errors.As(err, &code):
		return out.String(), int(code)
	}
	return out.String() + err.Error(), 1
}

// publishedRun is the smallest run in the repository.
func publishedRun(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join("..", "..", "results", "published", "20261122-043436-*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the published run: %q, %v", found, err)
	}
	return found[0]
}

func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), filepath.Base(dir))
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func replaceIn(t *testing.T, path, from, to string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte(from)) {
		t.Fatalf("%s holds no %q", path, from)
	}
	if err := os.WriteFile(path, bytes.Replace(data, []byte(from), []byte(to), 1), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestCompareWritesEveryFormAndItsStatus(t *testing.T) {
	run, out := publishedRun(t), t.TempDir()
	forms := map[string]string{"--markdown": "c.md", "--junit": "c.xml", "--json": "c.json", "--html": "c.html"}
	args := []string{"compare", run, run}
	for flag, file := range forms {
		args = append(args, flag, filepath.Join(out, file))
	}
	text, code := bench(t, args...)
	if code != 0 || !strings.Contains(text, "Nothing is worse by more than 10 %") {
		t.Errorf("a run against itself: status %d\n%s", code, text)
	}
	for _, file := range forms {
		if data, err := os.ReadFile(filepath.Join(out, file)); err != nil || len(data) < 100 {
			t.Errorf("%s: %d bytes, %v", file, len(data), err)
		}
	}
	other := copyOf(t, run)
	replaceIn(t, filepath.Join(other, "metrics.json"), `"cores": 2`, `"cores": 64`)
	if text, code := bench(t, "compare", run, other); code != 3 || !strings.Contains(text, "ANOTHER MACHINE, cores: 2, then 64") {
		t.Errorf("another machine: status %d\n%s", code, text)
	}
	if text, code := bench(t, "compare", "--across-machines", run, other); code != 0 || !strings.Contains(text, "ANOTHER MACHINE") {
		t.Errorf("across machines: status %d\n%s", code, text)
	}
	replaceIn(t, filepath.Join(other, "metrics.json"), `"violations": []`, `"violations": [{"trial":"x","check":"order","detail":"two records changed places"}]`)
	if text, code := bench(t, "compare", "--across-machines", run, other); code != 2 || !strings.Contains(text, "two records changed places") {
		t.Errorf("a broken promise: status %d\n%s", code, text)
	}
}

func TestCompareRefusesBadInput(t *testing.T) {
	run := publishedRun(t)
	for want, args := range map[string][]string{
		"is no directory":  {run, "nowhere"},
		"10% or 0.1":       {"--threshold", "much", run, run},
		"is that 15%":      {"--threshold", "15", run, run},
		"50% to 99.9%":     {"--confidence", "20%", run, run},
		"profile in commo": {run, filepath.Join("..", "..", "results", "published", "20261122-011759-a62ee9")},
	} {
		if text, code := bench(t, append([]string{"compare"}, args...)...); code != 1 || !strings.Contains(text, want) {
			t.Errorf("compare %q: status %d, want 1 and %q\n%s", args, code, want, text)
		}
	}
}

func TestReanalyzeSaysWhatChanged(t *testing.T) {
	dir := copyOf(t, publishedRun(t))
	if text, code := bench(t, "reanalyze", dir); code != 0 {
		t.Fatalf("status %d\n%s", code, text)
	}
	if text, code := bench(t, "reanalyze", "--check", dir); code != 0 || !strings.Contains(text, "every figure is the same") {
		t.Errorf("twice: status %d\n%s", code, text)
	}
	replaceIn(t, filepath.Join(dir, "metrics.json"), `"lost": 0`, `"lost": 7`)
	if text, code := bench(t, "reanalyze", "--check", dir); code != 1 || !strings.Contains(text, "lost: 7 → 0") {
		t.Errorf("a forged figure: status %d\n%s", code, text)
	}
	if text, code := bench(t, "reanalyze", dir); code != 0 || !strings.Contains(text, "1 figures differ") {
		t.Errorf("put right: status %d\n%s", code, text)
	}
	if text, code := bench(t, "reanalyze", "--check", dir); code != 0 {
		t.Errorf("after it was put right: status %d\n%s", code, text)
	}
}

func TestPublishChecksAndIndexes(t *testing.T) {
	dir, into := copyOf(t, publishedRun(t)), filepath.Join(t.TempDir(), "published")
	if text, code := bench(t, "reanalyze", dir); code != 0 {
		t.Fatalf("status %d\n%s", code, text)
	}
	if text, code := bench(t, "publish", "--partial", "--into", into, dir); code != 0 {
		t.Fatalf("status %d\n%s", code, text)
	}
	page, err := os.ReadFile(filepath.Join(into, "index.html"))
	if err != nil || !strings.Contains(string(page), filepath.Base(dir)) || !strings.Contains(string(page), "History") {
		t.Errorf("the index does not list the run: %v", err)
	}
	if text, code := bench(t, "publish", "--into", into); code != 1 || !strings.Contains(text, "--index") {
		t.Errorf("no run: status %d, %s", code, text)
	}
	if text, code := bench(t, "publish", "--index", "--into", into); code != 0 {
		t.Errorf("the index alone: status %d, %s", code, text)
	}
}

func TestRerunTellsWhatDiffersBeforeItStarts(t *testing.T) {
	dir := copyOf(t, publishedRun(t))
	text, code := bench(t, "rerun", "--dry-run", dir)
	if code == 0 {
		for _, want := range []string{"repeating 20261122-043436-352902", "differs: program regency", "seed 20261122"} {
			if !strings.Contains(text, want) {
				t.Errorf("the dry run lacks %q:\n%s", want, text)
			}
		}
	} else if !strings.Contains(text, "plans it otherwise") {
		t.Errorf("status %d\n%s", code, text)
	}
	replaceIn(t, filepath.Join(dir, "manifest.json"), `"seed": 20261122`, `"seed": 99`)
	if text, code := bench(t, "rerun", "--dry-run", dir); code != 1 || !strings.Contains(text, "otherwise") {
		t.Errorf("a manifest whose plan is not of its seed: status %d\n%s", code, text)
	}
}
