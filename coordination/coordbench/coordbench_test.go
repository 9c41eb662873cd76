package coordbench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/coordbench"
	"github.com/regency-project/regency/coordination/ensemble"
	"github.com/regency-project/regency/coordination/profile"
)

const memberArg = "run-one-member"

// TestMain lets the test binary be the process of an embedded member.
func TestMain(m *testing.M) {
	if len(os.Args) == 5 && os.Args[1] == memberArg {
		id, err := strconv.Atoi(os.Args[2])
		if err == nil {
			err = coordbench.RunMember(context.Background(), int32(id), os.Args[3], os.Args[4], slog.New(slog.NewTextHandler(os.Stderr, nil)))
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// installed are the backends whose servers this machine has; in CI all must be there.
func installed(t *testing.T) []profile.Backend {
	t.Helper()
	list := []profile.Backend{profile.Embedded}
	for _, b := range profile.Backends()[1:] {
		if _, err := ensemble.Locate("", b); err == nil || os.Getenv("CI") == "true" {
			list = append(list, b)
		}
	}
	return list
}

// small is every operation, on few records.
func small() []coordbench.Cell {
	var cells []coordbench.Cell
	for _, o := range coordbench.Operations() {
		c := coordbench.Cell{Operation: o.Name, Records: 200, Clients: 1}
		switch o.Name {
		case "watch":
			c.Watchers = 1
		case "fanout":
			c.Watchers = 5
		case "commit":
			cells = append(cells, coordbench.Cell{Operation: "commit", Records: 200, Clients: 3})
		}
		cells = append(cells, c)
	}
	return cells
}

// TestEveryOperationOnEveryBackend runs the real thing, for a moment: no operation may fail on either side, and both must have figures.
func TestEveryOperationOnEveryBackend(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var progress bytes.Buffer
	o := coordbench.Options{
		Backends: installed(t), Cells: small(), Rounds: 1, Budget: 20 * time.Millisecond, Seed: 7, Member: []string{self, memberArg}, Progress: &progress,
		Environment: json.RawMessage(`{}`),
	}
	r, samples, err := coordbench.Run(t.Context(), o)
	if err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	if !r.Complete || len(r.Cells) != len(o.Cells)*len(o.Backends) {
		t.Errorf("complete %v, %d figures, want all %d", r.Complete, len(r.Cells), len(o.Cells)*len(o.Backends))
	}
	for _, f := range r.Cells {
		if f.Status != coordbench.StatusOK || f.Layer.Errors+f.Raw.Errors != 0 || f.Layer.P50Ms <= 0 || f.Raw.P50Ms <= 0 || f.Ratio.Value <= 0 {
			t.Errorf("%s on %s: %s (%s), layer %+v, raw %+v", f.Cell, f.Backend, f.Status, f.Reason, f.Layer, f.Raw)
		}
	}
	if len(samples) < 2*3*len(r.Cells) {
		t.Errorf("%d samples, want at least three pairs of each of %d figures", len(samples), len(r.Cells))
	}
	if n := strings.Count(progress.String(), " left\n"); n != len(r.Cells) {
		t.Errorf("%d lines of progress, want %d:\n%s", n, len(r.Cells), progress.String())
	}
	var csv strings.Builder
	if err := coordbench.WriteFigures(&csv, r); err != nil || strings.Count(csv.String(), "\n") != 1+2*len(r.Cells) {
		t.Errorf("WriteFigures = %v, %d lines, want a head and two for each of %d figures", err, strings.Count(csv.String(), "\n"), len(r.Cells))
	}
	if _, err := json.Marshal(r); err != nil {
		t.Errorf("result as JSON: %v", err)
	}
}

// TestInterrupted: what was finished is reported, and the error says that the rest is missing.
func TestInterrupted(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stop := writer(func(p []byte) {
		if bytes.Contains(p, []byte("[1/2]")) {
			cancel()
		}
	})
	r, samples, err := coordbench.Run(ctx, coordbench.Options{
		Backends: []profile.Backend{profile.Embedded}, Rounds: 2, Budget: 20 * time.Millisecond, Progress: stop, Member: []string{self, memberArg},
		Cells: []coordbench.Cell{{Operation: "commit", Records: 100, Clients: 1}},
	})
	if !errors.Is(err, context.Canceled) || r.Complete || r.Rounds != 1 {
		t.Errorf("Run = %v, complete %v after %d rounds, want it cancelled after one", err, r.Complete, r.Rounds)
	}
	if len(r.Cells) != 1 || r.Cells[0].Layer == nil || len(samples) == 0 {
		t.Errorf("figures %+v, %d samples: want those of the finished round", r.Cells, len(samples))
	}
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }
