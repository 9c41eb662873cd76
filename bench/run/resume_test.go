package run

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/bench/archive"
	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/timeline"
)

// hook is called with each line of progress, before the engine goes on.
type hook func(line string)

func (h hook) Write(p []byte) (int, error) { h(string(p)); return len(p), nil }

// interrupted runs two blocks with a broker program that ends at once, so that block 1 is given up, and hangs in block 2, where the run is interrupted.
// The program hangs no more when it returns.
func interrupted(t *testing.T, o Options) (Options, Result) {
	t.Helper()
	dir := t.TempDir()
	hang, pids := filepath.Join(dir, "hang"), filepath.Join(dir, "pids")
	o.BrokerBinary = script(t, "if [ -e "+hang+" ]; then echo $$ >>"+pids+"; exec sleep 600; fi; exit 3")
	o.Out, o.Backends, o.Scenarios, o.Trials, o.Seed = t.TempDir(), []string{"embedded"}, scenarios(t, "leader-kill"), 5, 9
	o.Progress = hook(func(line string) {
		if strings.Contains(line, "giving up on block 1") {
			touch(t, hang)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		defer cancel()
		for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			if _, err := os.Stat(pids); err == nil {
				return
			}
		}
	}()
	r, err := Run(ctx, o)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error = %v, want canceled", err)
	}
	if err := os.Remove(hang); err != nil {
		t.Fatal(err)
	}
	o.Progress = nil
	return o, r
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Error(err)
	}
}

func manifest(t *testing.T, dir string) metrics.Manifest {
	t.Helper()
	m, err := archive.OpenManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// started counts how often each block was started, as the timeline tells.
func started(t *testing.T, dir string) map[int]int {
	t.Helper()
	events, err := timeline.Read(filepath.Join(dir, archive.TimelineFile))
	if err != nil {
		t.Fatal(err)
	}
	n := map[int]int{}
	for _, e := range events {
		if e.Name == timeline.NameBlockStarted {
			var b timeline.BlockStarted
			if err := e.Decode(&b); err != nil {
				t.Fatal(err)
			}
			n[b.Block]++
		}
	}
	return n
}

func TestResumeGoesOnAfterTheLastFinishedBlock(t *testing.T) {
	o, r := interrupted(t, Options{Command: "bench --seed {seed}"})
	if r.Left != 1 {
		t.Errorf("%d blocks left, want 1", r.Left)
	}
	if n := started(t, r.Dir); n[1] != 2 || n[2] != 1 {
		t.Fatalf("blocks started before the resumption: %v, want both tries of 1, and 2", n)
	}
	var lines []string
	o.Progress = hook(func(line string) { lines = append(lines, line) })
	again, err := Resume(t.Context(), r.Dir, o)
	if !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), "7 trials") {
		t.Errorf("error = %v, want ErrIncomplete with the 5 trials and 2 warm-ups of both spells", err)
	}
	if again.Dir != r.Dir || again.Left != 0 {
		t.Errorf("resumed in %s with %d blocks left, want %s and 0", again.Dir, again.Left, r.Dir)
	}
	if n := started(t, r.Dir); n[1] != 2 || n[2] != 2 {
		t.Errorf("blocks started: %v, want 1 as before, and two tries of 2 without the half one", n)
	}
	m := manifest(t, r.Dir)
	if len(m.Parts) != 2 || !slices.Equal(m.Parts[0].Blocks, []int{1}) || !slices.Equal(m.Parts[1].Blocks, []int{2}) {
		t.Errorf("parts %+v, want block 1 and then block 2", m.Parts)
	}
	if m.DurationS < m.Parts[0].DurationS+m.Parts[1].DurationS-0.001 || m.Parts[0].DurationS == 0 {
		t.Errorf("took %v s, parts %+v", m.DurationS, m.Parts)
	}
	if text := strings.Join(lines, ""); strings.Contains(text, "block 1,") || !strings.Contains(text, "block 2,") {
		t.Errorf("the resumed run's progress:\n%s", text)
	}
	if _, err := Resume(t.Context(), r.Dir, o); err == nil || !strings.Contains(err.Error(), "complete") {
		t.Errorf("resume of a complete run = %v", err)
	}
}

func TestResumeAfterTheProcessWasKilled(t *testing.T) {
	o, r := interrupted(t, Options{})
	m := manifest(t, r.Dir)
	m.Parts, m.DurationS = nil, 0 // as the manifest is before the end
	if err := archive.WriteManifest(r.Dir, m); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(r.Dir, ".work", "block-2"), 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.Dir, archive.TimelineFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data[:len(data)-12], 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Resume(t.Context(), r.Dir, o); !errors.Is(err, ErrIncomplete) {
		t.Fatalf("error = %v, want ErrIncomplete", err)
	}
	if m = manifest(t, r.Dir); len(m.Parts) != 2 || !slices.Equal(m.Parts[0].Blocks, []int{1}) {
		t.Errorf("parts %+v, want block 1 in the first", m.Parts)
	}
}

func TestResumeRefusesAnythingElse(t *testing.T) {
	o, r := interrupted(t, Options{})
	good := manifest(t, r.Dir)
	for want, change := range map[string]func(*metrics.Manifest, *Options){
		"kernel: it was Old 1":      func(m *metrics.Manifest, _ *Options) { m.Environment.Kernel = "Old 1" },
		"host: it was 123":          func(m *metrics.Manifest, _ *Options) { m.HostID = "123" },
		"cores: it was 99":          func(m *metrics.Manifest, _ *Options) { m.Environment.Cores = 99 },
		"file system: it was odd":   func(m *metrics.Manifest, _ *Options) { m.Environment.Filesystem = "odd" },
		"plan: block 1 (":           func(m *metrics.Manifest, _ *Options) { m.Plan.Blocks[0].Items[0].Trial = "other" },
		"plan: it was begun with 1": func(m *metrics.Manifest, _ *Options) { m.Plan.Blocks = m.Plan.Blocks[:1] },
		"settings of embedded":      func(m *metrics.Manifest, _ *Options) { m.Backends[0].Settings[0].Bound.UpperMs++ },
		"program regency: it was":   func(_ *metrics.Manifest, o *Options) { o.BrokerBinary = script(t, "exit 4") },
		"merged of several":         func(m *metrics.Manifest, _ *Options) { m.Parts[0].Run = "other" },
		"schema 99":                 func(m *metrics.Manifest, _ *Options) { m.Schema = 99 },
	} {
		var m metrics.Manifest
		copyOf(t, good, &m)
		given := o
		change(&m, &given)
		if err := archive.WriteManifest(r.Dir, m); err != nil {
			t.Fatal(err)
		}
		_, err := Resume(t.Context(), r.Dir, given)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want %q", err, want)
		}
	}
	if n := started(t, r.Dir); n[2] != 1 {
		t.Errorf("a refused resumption changed the timeline: blocks started %v", n)
	}
	if _, err := Resume(t.Context(), t.TempDir(), o); err == nil {
		t.Error("an empty directory was resumed")
	}
}

func copyOf(t *testing.T, from metrics.Manifest, to *metrics.Manifest) {
	t.Helper()
	data, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(data, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestTwoProcessesDoNotWorkOnOneRun(t *testing.T) {
	o, r := interrupted(t, Options{})
	lock, err := lockDir(r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if _, err := Resume(t.Context(), r.Dir, o); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("error = %v, want that another process works on it", err)
	}
}

// A block's instants and victims depend on the seed and its number alone.
func TestBlocksDrawTheSameWhereverTheRunBegins(t *testing.T) {
	a, b := blockRand(7, 3), blockRand(7, 3)
	if x, y := a.Uint64(), b.Uint64(); x != y {
		t.Errorf("two draws of one block: %d and %d", x, y)
	}
	if blockRand(7, 3).Uint64() == blockRand(7, 4).Uint64() || blockRand(7, 3).Uint64() == blockRand(8, 3).Uint64() {
		t.Error("two blocks or seeds draw alike")
	}
}

// part runs one run whose brokers never come up: every block is finished at once, without a result.
func part(t *testing.T, o Options) Result {
	t.Helper()
	o.Backends, o.Scenarios, o.Trials = []string{"embedded"}, scenarios(t, "leader-kill"), 5
	r, err := Run(t.Context(), o)
	if !errors.Is(err, ErrIncomplete) {
		t.Fatalf("error = %v, want ErrIncomplete", err)
	}
	return r
}

func TestMergeShardsAndSeeds(t *testing.T) {
	o := Options{Out: t.TempDir(), BrokerBinary: script(t, "exit 3"), Seed: 9, Command: "bench SEED={seed}"}
	whole, err := (&Options{Backends: []string{"embedded"}, Profiles: []string{"matched", "tuned"}, Scenarios: scenarios(t, "leader-kill"), Trials: 5, Seed: 9}).makePlan()
	if err != nil {
		t.Fatal(err)
	}
	o.Profiles = []string{"matched", "tuned"}
	o.Shard = "1/2"
	first := part(t, o)
	o.Shard = "2/2"
	second := part(t, o)
	o.Shard, o.Seed = "", 10
	other := part(t, o)

	r, err := Merge(o.Out, second.Dir, first.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if m := manifest(t, r.Dir); !reflect.DeepEqual(m.Plan.Blocks, whole.Blocks) || m.Trials != 5 || len(m.Parts) != 2 {
		t.Errorf("the shards' plan is not the whole one: %d blocks, %d trials, %d parts", len(m.Plan.Blocks), m.Trials, len(m.Parts))
	}
	if r, err = Merge(o.Out, first.Dir, other.Dir, second.Dir); err != nil {
		t.Fatal(err)
	}
	m := manifest(t, r.Dir)
	if m.Trials != 10 || len(m.Plan.Blocks) != 8 || m.Command != "bench SEED=9 && bench SEED=10" {
		t.Errorf("%d trials, %d blocks, command %q", m.Trials, len(m.Plan.Blocks), m.Command)
	}
	seen := map[string]bool{}
	for i, b := range m.Plan.Blocks {
		if b.Number != i+1 {
			t.Errorf("block %d is numbered %d", i+1, b.Number)
		}
		for _, item := range b.Items {
			if seen[item.Trial] {
				t.Errorf("%s is there twice", item.Trial)
			}
			seen[item.Trial] = true
		}
	}
	if !seen["embedded/matched/leader-kill/1"] || !seen["embedded/matched/leader-kill/2.1"] {
		t.Errorf("trials %v", seen)
	}
	if n := started(t, r.Dir); len(n) != 8 || n[8] != 2 {
		t.Errorf("blocks started: %v, want 1 to 8 twice each", n)
	}

	for want, dirs := range map[string][]string{"is in both": {first.Dir, first.Dir}, "two runs or more": {first.Dir}} {
		if _, err := Merge(o.Out, dirs...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want %q", err, want)
		}
	}
	o.BrokerBinary, o.Seed = script(t, "exit 4"), 11
	if _, err := Merge(o.Out, first.Dir, part(t, o).Dir); !errors.Is(err, ErrDifferent) || !strings.Contains(err.Error(), "program regency") {
		t.Errorf("merge of two programs = %v", err)
	}
}
