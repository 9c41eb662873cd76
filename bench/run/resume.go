package run

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/regency-project/regency/bench/archive"
	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/plan"
	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/bench/timeline"
)

// ErrDifferent is wrapped when a run cannot go on, or runs cannot be merged, because what they measured is not the same. The message names every difference.
var ErrDifferent = errors.New("not the same")

// OptionsOf returns the options that a run was begun with, as far as its plan goes. Where its programs are and where to write is not in a manifest.
func OptionsOf(m metrics.Manifest) Options {
	o := Options{
		Suite: m.Suite, Scenarios: m.Scenarios, Trials: m.Trials, ScenarioTrials: m.ScenarioTrials, ProfileTrials: m.ProfileTrials, Until: m.Until,
		Shard: m.Shard, Seed: m.Seed, Flush: m.Flush, Command: m.Command,
	}
	for _, b := range m.Backends {
		o.Backends = append(o.Backends, b.Name)
	}
	for _, p := range m.Profiles {
		o.Profiles = append(o.Profiles, p.Name)
	}
	return o
}

// Resume goes on with an interrupted run at its first block that is not finished: half a block is measured again, and what was recorded of it is dropped.
// Of o, only what a manifest does not hold is taken: programs, output, logger, Strict. It refuses, with ErrDifferent, another program, server, machine or
// plan than the run was begun with. A run that is complete is not touched.
func Resume(ctx context.Context, dir string, o Options) (Result, error) {
	e, err := resume(dir, o)
	if err != nil {
		return Result{}, fmt.Errorf("resume %s: %w", dir, err)
	}
	return e.runToEnd(ctx)
}

func resume(dir string, given Options) (*engine, error) {
	m, err := archive.OpenManifest(dir)
	if err != nil {
		return nil, err
	}
	if len(m.Parts) > 0 && slices.ContainsFunc(m.Parts, func(p metrics.Part) bool { return p.Run != m.ID }) {
		return nil, errors.New("it was merged of several runs: resume these, and merge again")
	}
	o := OptionsOf(m)
	o.Out = filepath.Dir(filepath.Clean(dir))
	o.BrokerBinary, o.ServersDir, o.Progress, o.Logger = given.BrokerBinary, given.ServersDir, given.Progress, given.Logger
	o.Version, o.Strict = given.Version, given.Strict
	s, err := prepare(&o)
	if err != nil {
		return nil, err
	}
	s.manifest.Environment.Filesystem = filesystem(absolute(dir))
	diff := append(comparePlans(m.Plan, s.plan), compareHosts(m, s.manifest)...)
	if diff = append(diff, compareBinaries(m, s.manifest)...); len(diff) > 0 {
		return nil, errors.Join(append([]error{fmt.Errorf("%w: measure anew, or go back to what it was begun with", ErrDifferent)}, diff...)...)
	}
	return reopen(dir, m, o, s)
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// reopen takes over what is finished of a run.
func reopen(dir string, m metrics.Manifest, o Options, s setup) (*engine, error) {
	e := &engine{o: o, plan: m.Plan, dir: filepath.Clean(dir), began: time.Now(), estimate: s.estimate, manifest: m}
	if err := e.open(); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, archive.TimelineFile)
	blocks, lines, err := timeline.Finished(path)
	if err != nil {
		return nil, errors.Join(err, e.release())
	}
	var done []int
	for _, b := range blocks {
		done = append(done, b.Block)
		e.missing += b.Missing
	}
	e.earlier = earlierParts(m, done)
	if e.left() == 0 && m.Until == nil {
		return nil, errors.Join(errors.New("it is complete: nothing is left to run (`regency bench report` writes its report again)"), e.release())
	}
	e.costKnown = measuredCost(m.Plan, done)
	if e.timeline, err = timeline.Resume(path, lines); err != nil {
		return nil, errors.Join(err, e.release())
	}
	e.timeline.Emit(timeline.Part{Run: m.ID, Seed: m.Seed})
	e.manifest.Warnings = union(m.Warnings, s.manifest.Warnings)
	e.progress = newProgress(o.Progress, e.estimate)
	for _, b := range e.plan.Blocks {
		e.progress.expect([]plan.Block{b})
		if slices.Contains(done, b.Number) {
			e.progress.skipped(b)
		}
	}
	return e, e.writeManifest()
}

// measuredCost tells whether one of the blocks had a failover: the first one measures what probing costs.
func measuredCost(p plan.Plan, done []int) bool {
	return slices.ContainsFunc(p.Blocks, func(b plan.Block) bool {
		return slices.Contains(done, b.Number) && slices.ContainsFunc(b.Items, func(i plan.Item) bool { return !i.Counted })
	})
}

// earlierParts are the spells before this one. Blocks that no part tells of are of a spell whose process was killed before it could write it down; how long
// it took is taken to be unknown, 0.
func earlierParts(m metrics.Manifest, done []int) []metrics.Part {
	parts := slices.Clone(m.Parts)
	var told []int
	for _, p := range parts {
		told = append(told, p.Blocks...)
	}
	rest := slices.DeleteFunc(slices.Clone(done), func(b int) bool { return slices.Contains(told, b) })
	if len(rest) > 0 {
		parts = append(parts, metrics.Part{Run: m.ID, Seed: m.Seed, Started: m.Started, Blocks: rest})
	}
	return parts
}

func union(a, b []string) []string {
	all := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// comparePlans: a run's plan begins with the one that its options give, and rounds may have been appended.
func comparePlans(was, is plan.Plan) []error {
	if len(was.Blocks) < len(is.Blocks) {
		return []error{fmt.Errorf("plan: it was begun with %d blocks, this program plans %d", len(was.Blocks), len(is.Blocks))}
	}
	for i := range is.Blocks {
		a, errA := json.Marshal(was.Blocks[i])
		b, errB := json.Marshal(is.Blocks[i])
		if err := errors.Join(errA, errB); err != nil {
			return []error{err}
		}
		if !bytes.Equal(a, b) {
			return []error{fmt.Errorf("plan: block %d (%s, %s) is planned otherwise by this program", i+1, was.Blocks[i].Backend, was.Blocks[i].Profile)}
		}
	}
	return nil
}

func differs[T comparable](what string, was, is T) []error {
	if was == is {
		return nil
	}
	return []error{fmt.Errorf("%s: it was %v, it is %v", what, was, is)}
}

func compareHosts(was, is metrics.Manifest) []error {
	a, b := was.Environment, is.Environment
	diff := differs("host", cmp.Or(was.HostID, "unknown"), is.HostID)
	diff = append(diff, differs("system", a.Host, b.Host)...)
	diff = append(diff, differs("kernel", a.Kernel, b.Kernel)...)
	diff = append(diff, differs("processor", a.CPU, b.CPU)...)
	diff = append(diff, differs("cores", a.Cores, b.Cores)...)
	diff = append(diff, differs("memory", a.MemoryB, b.MemoryB)...)
	return append(diff, differs("file system", a.Filesystem, b.Filesystem)...)
}

func compareBinaries(was, is metrics.Manifest) []error {
	var diff []error
	now := make(map[string]metrics.Binary)
	for _, b := range is.Environment.Binaries {
		now[b.Name] = b
	}
	for _, a := range was.Environment.Binaries {
		switch b, ok := now[a.Name]; {
		case !ok:
			diff = append(diff, fmt.Errorf("program %s: it was version %s and is not there any more", a.Name, a.Version))
		case a.SHA256 != b.SHA256:
			diff = append(diff, fmt.Errorf("program %s: it was version %s (%.12s), it is %s (%.12s)", a.Name, a.Version, a.SHA256, b.Version, b.SHA256))
		}
	}
	return append(diff, compareSettings(was, is)...)
}

// compareSettings compares the exact configuration of servers and the scenarios.
func compareSettings(was, is metrics.Manifest) []error {
	var diff []error
	same := func(what string, a, b any) {
		x, errX := json.Marshal(a)
		y, errY := json.Marshal(b)
		if err := errors.Join(errX, errY); err != nil {
			diff = append(diff, err)
		} else if !bytes.Equal(x, y) {
			diff = append(diff, fmt.Errorf("%s: not as it was", what))
		}
	}
	for _, a := range was.Backends {
		for _, b := range is.Backends {
			if a.Name == b.Name {
				same("settings of "+a.Name, a.Settings, b.Settings)
			}
		}
	}
	for _, a := range was.Scenarios {
		i := slices.IndexFunc(is.Scenarios, func(s scenario.Scenario) bool { return s.Name == a.Name })
		if i >= 0 {
			same("scenario "+a.Name, a, is.Scenarios[i])
		}
	}
	return diff
}
