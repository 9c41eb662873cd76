package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/regency-project/regency/bench/metrics"
)

// example is the run that the metrics package publishes as what a run looks like.
func example(t *testing.T) metrics.Run {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "metrics", "testdata", "example.json"))
	if err != nil {
		t.Fatal(err)
	}
	var run metrics.Run
	if err := json.Unmarshal(data, &run); err != nil {
		t.Fatal(err)
	}
	return run
}

// write renders run and gives back both texts.
func write(t *testing.T, run metrics.Run) (html, markdown, dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := Write(dir, run); err != nil {
		t.Fatal(err)
	}
	return read(t, dir, HTMLFile), read(t, dir, MarkdownFile), dir
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestRenderExample leaves the example's report where REGENCY_REPORT_DIR says, to be looked at.
func TestRenderExample(t *testing.T) {
	dir := os.Getenv("REGENCY_REPORT_DIR")
	if dir == "" {
		dir = t.TempDir()
	}
	if err := Write(dir, example(t)); err != nil {
		t.Fatal(err)
	}
	t.Log("report in", filepath.Join(dir, HTMLFile))
}
