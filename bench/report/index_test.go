package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// publishedDir is a directory of runs: the example thrice, one of them of another machine, a run of coordination operations, and three that are broken.
func publishedDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	put := func(name, file string, data []byte) {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, file), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range []string{"20261123-a", "20261124-b", "20261125-c"} {
		run := example(t)
		run.ID, run.Started = name, time.Date(2026, 11, 23+i, 10, 0, 0, 0, time.UTC)
		if i == 2 {
			run.Environment.Cores *= 4
		}
		data, err := json.Marshal(run)
		if err != nil {
			t.Fatal(err)
		}
		put(name, metricsFile, data)
	}
	put("20261120-lost", metricsFile, []byte(`{"schema":1,"id":"x","started":"2026-11-20T10:00:00Z","verdict":{"acknowledged":5,"lost":1,"trials":2}}`))
	put("coordination-1", figuresFile, []byte(`{"started":"2026-11-21T10:00:00Z","profile":"matched","rounds":5,"complete":true}`))
	put("broken", metricsFile, []byte(`{`))
	put("newer <b>|", metricsFile, []byte(`{"schema":99}`))
	put("void", "notes.txt", nil)
	return dir
}

func TestIndexListsRuns(t *testing.T) {
	dir := publishedDir(t)
	stale := filepath.Join(dir, PictureDir, "history-gone.svg")
	if err := os.MkdirAll(filepath.Dir(stale), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stale, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Index(dir); err != nil {
		t.Fatal(err)
	}
	markdown, page := read(t, dir, IndexName+".md"), read(t, dir, IndexName+".html")
	for name, got := range map[string]string{"Markdown": markdown, "HTML": page} {
		newest, oldest := strings.Index(got, "20261125-c"), strings.Index(got, "20261123-a")
		if newest < 0 || oldest < newest {
			t.Errorf("%s: want the newest run first", name)
		}
		for _, want := range []string{"1 acknowledged records were lost", "unreadable", "has schema 99", "holds neither", "coordination operations; profile matched, 5 rounds", "Promises were broken"} {
			if !strings.Contains(unescape(got), want) {
				t.Errorf("the %s lacks %q", name, want)
			}
		}
		if strings.Contains(got, "<b>|") {
			t.Errorf("the %s does not escape a name", name)
		}
	}
	for got, want := range map[string]string{markdown: "(20261125-c/report.md)", page: `href="20261125-c/report.html"`} {
		if !strings.Contains(got, want) {
			t.Errorf("no link %s", want)
		}
	}
	if _, err := os.Stat(stale); !os.IsNotExist(err) {
		t.Errorf("an old picture is still there: %v", err)
	}
	checkPictures(t, "index", filepath.Join(dir, PictureDir))
	if err := Index(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("a directory that is not there has an index")
	}
}

func TestHistoryTellsBackendsAndMachinesApart(t *testing.T) {
	list, err := archivedRuns(publishedDir(t))
	if err != nil {
		t.Fatal(err)
	}
	var runs []archived
	for _, a := range list {
		if a.run != nil && len(a.run.Cells) > 0 {
			runs = append(runs, a)
		}
	}
	if len(runs) != 3 {
		t.Fatalf("%d runs with cells, want 3", len(runs))
	}
	graphs := historyGraphs("matched", runs)
	if len(graphs) == 0 {
		t.Fatal("no graph")
	}
	for _, g := range graphs {
		dash, seen := map[string]string{}, map[string]string{}
		for _, s := range g.series {
			n := BackendColour(s.backend)
			c := &canvas{}
			mark(c, 0, 0, n, true, "")
			shape := strings.ReplaceAll(c.String(), colour(n), "")
			if other := seen[shape]; other != "" {
				t.Errorf("%s and %s have the same mark", s.backend, other)
			}
			if other := dash[dashes[n]]; other != "" {
				t.Errorf("%s and %s have the same line", s.backend, other)
			}
			seen[shape], dash[dashes[n]] = s.backend, s.backend
			if len(s.points) != 3 {
				t.Errorf("%s, %s: %d points, want 3", g.title, s.backend, len(s.points))
			}
		}
	}
	c := historyFigure("matched", runs, graphs).body
	if got := strings.Count(c, "faultline"); got != len(graphs) {
		t.Errorf("%d borders between machines, want one in each of %d graphs", got, len(graphs))
	}
	one := historyFigure("matched", runs[:2], historyGraphs("matched", runs[:2])).body
	if joined, apart := strings.Count(one, "stroke-dasharray"), strings.Count(c, "stroke-dasharray"); joined != apart {
		t.Errorf("a run of another machine is joined: %d lines with it, %d without", apart, joined)
	}
}
