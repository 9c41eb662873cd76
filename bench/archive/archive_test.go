package archive

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// published lists the run directories of the repository.
func published(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join("..", "..", "results", "published", "*", TimelineFile))
	if err != nil || len(found) == 0 {
		t.Fatalf("no published run: %v", err)
	}
	dirs := make([]string, len(found))
	for i, path := range found {
		dirs[i] = filepath.Dir(path)
	}
	return dirs
}

// TestPublishedRunsReanalyze: whoever computes a published run again from its raw timeline gets the figures that were published.
func TestPublishedRunsReanalyze(t *testing.T) {
	for _, dir := range published(t) {
		_, changes, stored, err := Reanalyze(dir)
		if err != nil || !stored {
			t.Errorf("%s: %v", dir, err)
			continue
		}
		for i, c := range changes {
			if i == 20 {
				t.Errorf("… and %d more", len(changes)-i)
				break
			}
			t.Errorf("%s: %s was %s, is %s", filepath.Base(dir), c.Where, c.Before, c.After)
		}
	}
}

func TestChangesNameWhatDiffers(t *testing.T) {
	const before = `{"schema":1,"gone":3,"cells":[
		{"profile":"matched","scenario":"kill","backend":"etcd","median_ms":1.5,"ci":null,"points":[{"trial":"a","value_ms":1},{"trial":"b","value_ms":2}]},
		{"profile":"matched","scenario":"kill","backend":"consul","median_ms":3}],"limits":["one"]}`
	for name, c := range map[string]struct{ after, want string }{
		"nothing":          {before, ""},
		"order of a list":  {strings.Replace(before, `{"trial":"a","value_ms":1},{"trial":"b","value_ms":2}`, `{"trial":"b","value_ms":2},{"trial":"a","value_ms":1}`, 1), ""},
		"rounding":         {strings.Replace(before, `1.5`, `1.50000000000001`, 1), ""},
		"null and absent":  {strings.Replace(before, `,"ci":null`, ``, 1), ""},
		"new empty field":  {strings.Replace(before, `"schema":1`, `"schema":1,"new":false`, 1), ""},
		"a figure":         {strings.Replace(before, `"median_ms":3`, `"median_ms":4`, 1), "cells[matched kill consul].median_ms: 3 → 4"},
		"a point":          {strings.Replace(before, `"value_ms":2`, `"value_ms":2.5`, 1), "cells[matched kill etcd].points[b].value_ms: 2 → 2.5"},
		"null is not zero": {strings.Replace(before, `"ci":null`, `"ci":0`, 1), "cells[matched kill etcd].ci: absent → 0"},
		"a field is gone":  {strings.Replace(before, `"gone":3,`, ``, 1), "gone: 3 → absent"},
		"a text":           {strings.Replace(before, `"one"`, `"two"`, 1), `limits[0]: "one" → "two"`},
	} {
		got, err := Changes([]byte(before), []byte(c.after))
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, x := range got {
			lines = append(lines, fmt.Sprintf("%s: %s → %s", x.Where, x.Before, x.After))
		}
		if text := strings.Join(lines, "; "); text != c.want {
			t.Errorf("%s: %q, want %q", name, text, c.want)
		}
	}
	if _, err := Changes([]byte("{"), []byte("{}")); err == nil {
		t.Error("half a document was accepted")
	}
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	empty := t.TempDir()
	cut := t.TempDir()
	if err := os.WriteFile(filepath.Join(cut, TimelineFile), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	old := copyRun(t, published(t)[0])
	edit(t, filepath.Join(old, MetricsFile), `"schema": 1`, `"schema": 0`)
	for dir, want := range map[string]string{
		filepath.Join(empty, "nowhere"): "no directory", empty: MetricsFile, cut: "reanalyze", old: "schema 0",
	} {
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%s) = %v, want an error with %q", dir, err, want)
		}
	}
}

// copyRun copies a run directory to where it may be changed.
func copyRun(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), filepath.Base(dir))
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func edit(t *testing.T, path, from, to string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte(from)) {
		t.Fatalf("%s does not contain %q", path, from)
	}
	if err := os.WriteFile(path, bytes.Replace(data, []byte(from), []byte(to), 1), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestAWrongFigureIsFound(t *testing.T) {
	dirs := published(t)
	dir := copyRun(t, dirs[len(dirs)-1])
	before, _, _, err := Reanalyze(dir)
	if err != nil {
		t.Fatal(err)
	}
	before.Cells[0].Headline.Max++
	if err := WriteMetrics(dir, before); err != nil {
		t.Fatal(err)
	}
	_, changes, _, err := Reanalyze(dir)
	if err != nil || len(changes) == 0 || !slices.ContainsFunc(changes, func(c Change) bool { return strings.HasSuffix(c.Where, ".headline.max_ms") }) {
		t.Errorf("changes = %v, %v; want the maximum of the first cell", changes, err)
	}
}
