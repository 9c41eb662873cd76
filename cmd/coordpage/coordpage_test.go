package coordpage

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/regency-project/regency/coordination/coordbench"
)

func pointer[T any](v T) *T { return &v }

// example has a cell of each kind: within the target, above it, without a figure; and a backend that did not run.
func example() coordbench.Result {
	side := func(p50 float64, n int) *coordbench.Side {
		return &coordbench.Side{N: n, Errors: 2, P50Ms: p50, P50CI: &coordbench.Interval{Low: p50 * .9, High: p50 * 1.1}, MaxMs: p50 * 7, PerS: 1000 / p50, Samples: n}
	}
	commit := coordbench.Cell{Operation: "commit", Records: 1000, Clients: 1}
	many := coordbench.Cell{Operation: "commit", Records: 1000, Clients: 16}
	return coordbench.Result{
		Schema: coordbench.Schema, Kind: "coordination", ID: "20260101-000000-abcdef", Complete: true, Rounds: 3, Seed: 42, Profile: "matched", Command: "make <this> & that",
		Environment: json.RawMessage(`{"host":"linux/amd64","cores":2,"fsync":null}`), Operations: coordbench.Operations(), Limits: []string{"one host"},
		Backends: []coordbench.Backend{
			{Name: "etcd", Title: "etcd", Version: "9.9", Status: coordbench.StatusOK, Settings: []coordbench.Setting{{Key: "lease", Value: "2 s"}}},
			{Name: "consul", Title: "Consul", Status: coordbench.StatusNotRun, Reason: "locate <consul>: not installed\nsecond line"},
		},
		Cells: []coordbench.Figures{
			{Cell: commit, Backend: "etcd", Status: coordbench.StatusOK, Layer: side(2.34, 200), Raw: side(2, 200), Ratio: &coordbench.Ratio{Value: 1.17, CI: &coordbench.Interval{Low: 1.1, High: 1.2}, Pairs: 200}, Met: pointer(true)},
			{Cell: commit, Backend: "consul", Status: coordbench.StatusNotRun},
			{Cell: many, Backend: "etcd", Status: coordbench.StatusOK, Layer: side(30, 5), Raw: side(20, 5), Ratio: &coordbench.Ratio{Value: 1.5, Pairs: 5}, Met: pointer(false)},
			{Cell: many, Backend: "consul", Status: coordbench.StatusNotRun},
		},
	}
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestEverythingIsWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	samples := []coordbench.Sample{{Backend: "etcd", Cell: coordbench.Cell{Operation: "commit", Records: 1000, Clients: 1}, Round: 1, Pair: 1, Side: "layer", Ms: 2.34, Ops: 1}}
	if err := Write(dir, example(), samples); err != nil {
		t.Fatal(err)
	}
	var back coordbench.Result
	if err := json.Unmarshal([]byte(read(t, dir, FiguresFile)), &back); err != nil || len(back.Cells) != 4 || back.Cells[1].Layer != nil {
		t.Errorf("figures read back: %v, %d cells, the unmeasured side %v: want 4 cells and null", err, len(back.Cells), back.Cells[1].Layer)
	}
	if lines := strings.Count(read(t, dir, CSVFile), "\n"); lines != 1+2*4 {
		t.Errorf("%d lines of CSV, want a head and two sides of four figures", lines)
	}
	f, err := os.Open(filepath.Join(dir, SamplesFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil || !strings.Contains(string(text), "etcd,commit,1000,1,0,1,1,layer,false,2.3400,1") {
		t.Errorf("samples: %v, %q", err, text)
	}
	for _, fig := range regexp.MustCompile(`\((pictures/[^)]*)\)`).FindAllStringSubmatch(read(t, dir, "coordination.md"), -1) {
		read(t, dir, fig[1])
	}
}

// TestPageSaysWhatIs: both forms hold the figures, name what is missing, and give text no meaning.
func TestPageSaysWhatIs(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, example(), nil); err != nil {
		t.Fatal(err)
	}
	page := read(t, dir, HTMLFile)
	for _, want := range []string{"In 1 of 2 cells", "1.17×", "1.50× · above", "1.10–1.20", "not measured", "Consul did not run: locate &lt;consul&gt;: not installed", "make &lt;this&gt; &amp; that", "linux/amd64", "one host"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "second line") || strings.Contains(page, "NaN") {
		t.Error("the page holds a reason's second line, or NaN")
	}
	if markdown := read(t, dir, "coordination.md"); !strings.Contains(markdown, "1.17×") || !strings.Contains(markdown, "![Median latency") {
		t.Errorf("the Markdown lacks figures or pictures:\n%s", markdown)
	}
}

func TestInterruptedRunSaysSo(t *testing.T) {
	r := example()
	r.Complete, r.Rounds = false, 1
	dir := t.TempDir()
	if err := Write(dir, r, nil); err != nil {
		t.Fatal(err)
	}
	if page := read(t, dir, HTMLFile); !strings.Contains(page, "Interrupted: every backend has finished 1 rounds.") {
		t.Error("the page does not say that the run was interrupted")
	}
}

func TestRenderAgain(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, example(), nil); err != nil {
		t.Fatal(err)
	}
	first := read(t, dir, HTMLFile)
	if err := os.Remove(filepath.Join(dir, HTMLFile)); err != nil {
		t.Fatal(err)
	}
	if err := Render(dir); err != nil {
		t.Fatal(err)
	}
	if again := read(t, dir, HTMLFile); again != first {
		t.Error("the page rendered from the figures differs from the first")
	}
	if err := os.WriteFile(filepath.Join(dir, FiguresFile), []byte(`{"kind":"failover","schema":1}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Render(dir); err == nil || !strings.Contains(err.Error(), `"failover"`) {
		t.Errorf("Render of another kind = %v, want it named", err)
	}
}
