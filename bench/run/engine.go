package run

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/plan"
	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/bench/timeline"
)

// engine runs one plan. One goroutine uses it.
type engine struct {
	o        Options
	plan     plan.Plan
	dir      string
	work     string // the clusters' data, on the same disk as the results; removed at the end
	manifest metrics.Manifest
	timeline *timeline.Writer
	rng      *rand.Rand // the fault's instants and the choice of victims
	progress *progress
	began    time.Time
	missing  int // planned trials without a valid result
	// costKnown: what probing costs was measured, which is done once a run.
	costKnown bool
}

func newEngine(o Options, p plan.Plan) (*engine, error) {
	began := time.Now()
	id := fmt.Sprintf("%s-%06x", began.UTC().Format("20060102-150405"), o.Seed&0xffffff)
	e := &engine{o: o, plan: p, dir: filepath.Join(o.Out, id), began: began, rng: rand.New(rand.NewPCG(o.Seed, 0x66617574))}
	e.work = filepath.Join(e.dir, ".work")
	if err := os.MkdirAll(e.work, 0o755); err != nil {
		return nil, err
	}
	var err error
	if e.work, err = filepath.Abs(e.work); err != nil {
		return nil, err
	}
	if e.timeline, err = timeline.Create(filepath.Join(e.dir, TimelineFile)); err != nil {
		return nil, err
	}
	if e.manifest, err = describe(o, p, id, began, e.work); err != nil {
		return nil, errors.Join(err, e.timeline.Close(), os.RemoveAll(e.work))
	}
	e.progress = newProgress(o.Progress, e.manifest, p)
	return e, writeJSON(filepath.Join(e.dir, ManifestFile), e.manifest)
}

// runnable tells whether the backend's server is there.
func (e *engine) runnable(backend string) bool {
	for _, b := range e.manifest.Backends {
		if b.Name == backend {
			return b.Status == metrics.StatusOK
		}
	}
	return false
}

func (e *engine) scenario(name string) scenario.Scenario {
	for _, s := range e.o.Scenarios {
		if s.Name == name {
			return s
		}
	}
	return scenario.Scenario{} // the plan is made of these scenarios: it cannot be
}

func (e *engine) run(ctx context.Context) error {
	e.progress.header()
	for _, p := range e.o.Profiles {
		for _, b := range e.o.Backends {
			if absent(b, p) {
				e.progress.note("%s has no settings under profile %s: left out", b, p)
			}
		}
	}
	for _, b := range e.plan.Blocks {
		if !e.runnable(b.Backend) {
			e.progress.skip(b)
			continue
		}
		if err := e.block(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// block runs a block; one whose cluster broke down is tried once more with what was left of it.
func (e *engine) block(ctx context.Context, planned plan.Block) error {
	items := slices.Clone(planned.Items)
	var last error
	for try := range 2 {
		b := &block{engine: e, plan: planned, items: items, name: fmt.Sprintf("block-%d", planned.Number)}
		if try > 0 {
			b.name += "b"
			e.progress.note("the cluster broke down (%s); starting another one for the %d trials that are left", firstLine(last), len(items))
		}
		last = b.run(ctx)
		items = b.items
		if err := e.timeline.Cut(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if last == nil && len(items) == 0 {
			return nil
		}
	}
	e.missing += len(items)
	e.progress.note("giving up on block %d, %d trials missing: %v", planned.Number, len(items), last)
	e.progress.drop(items)
	return nil
}

func firstLine(err error) string {
	if err == nil {
		return "unknown reason"
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// finish writes the metrics of what was measured and says what the run lacks.
func (e *engine) finish() (Result, error) {
	e.progress.end()
	e.manifest.DurationS = time.Since(e.began).Seconds()
	err := errors.Join(e.timeline.Close(), os.RemoveAll(e.work), writeJSON(filepath.Join(e.dir, ManifestFile), e.manifest))
	if err != nil {
		return Result{Dir: e.dir}, err
	}
	m, err := Recompute(e.dir)
	if err != nil {
		return Result{Dir: e.dir}, err
	}
	return Result{Dir: e.dir, Metrics: m}, errors.Join(e.verdicts(m)...)
}

func (e *engine) verdicts(m metrics.Run) []error {
	var errs []error
	if n := len(m.Verdict.Violations); n > 0 {
		errs = append(errs, fmt.Errorf("%w: %d violations, the first: %s: %s", ErrViolation, n, m.Verdict.Violations[0].Check, m.Verdict.Violations[0].Detail))
	}
	if e.missing > 0 {
		errs = append(errs, fmt.Errorf("%w: %d trials have no valid result; logs are in %s", ErrIncomplete, e.missing, filepath.Join(e.dir, LogsDir)))
	}
	for _, b := range m.Backends {
		if b.Status != metrics.StatusOK && e.o.Strict {
			errs = append(errs, fmt.Errorf("%w: %s: %s", ErrNotRun, b.Name, b.Reason))
		}
	}
	return errs
}
