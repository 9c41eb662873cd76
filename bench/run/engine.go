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

	"github.com/regency-project/regency/bench/archive"
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
	lock     *os.File // of dir: held as long as the engine works on it
	work     string   // the clusters' data, on the same disk as the results; removed at the end
	manifest metrics.Manifest
	timeline *timeline.Writer
	rng      *rand.Rand // the fault's instants and the choice of victims, of the current block
	estimate estimator
	progress *progress
	began    time.Time
	earlier  []metrics.Part // spells before this one
	finished []int          // blocks of this spell
	missing  int            // planned trials without a valid result
	// costKnown: what probing costs was measured, which is done once a run.
	costKnown bool
}

// newEngine begins a run in a directory of its own.
func newEngine(o Options, s setup) (*engine, error) {
	began := time.Now()
	id := fmt.Sprintf("%s-%06x", began.UTC().Format("20060102-150405"), o.Seed&0xffffff)
	if o.Shard != "" {
		id += "-" + strings.ReplaceAll(o.Shard, "/", "of")
	}
	e := &engine{o: o, plan: s.plan, dir: filepath.Join(o.Out, id), began: began, estimate: s.estimate}
	if err := e.open(); err != nil {
		return nil, err
	}
	var err error
	if e.timeline, err = timeline.Create(filepath.Join(e.dir, archive.TimelineFile)); err != nil {
		return nil, errors.Join(err, e.release())
	}
	e.manifest = s.manifest
	e.manifest.ID, e.manifest.Started = id, began.UTC().Truncate(time.Second)
	if err = measureDisk(&e.manifest, e.work); err != nil {
		return nil, errors.Join(err, e.timeline.Close(), e.release())
	}
	e.progress = newProgress(o.Progress, e.estimate)
	e.progress.expect(s.plan.Blocks)
	return e, e.writeManifest()
}

// open makes the directories and takes the lock.
func (e *engine) open() error {
	e.work = filepath.Join(e.dir, workDir)
	for _, what := range removeStale(filepath.Dir(e.dir)) {
		e.o.Logger.Warn("removed", "what", what)
	}
	if err := os.MkdirAll(e.dir, 0o755); err != nil {
		return err
	}
	var err error
	if e.lock, err = lockDir(e.dir); err != nil {
		return err
	}
	err = errors.Join(os.RemoveAll(e.work), os.Mkdir(e.work, 0o755)) // an interrupted run may have left its clusters' data
	if err == nil {
		e.work, err = filepath.Abs(e.work)
	}
	if err != nil {
		return errors.Join(err, e.release())
	}
	return nil
}

// release gives the directory free.
func (e *engine) release() error { return errors.Join(os.RemoveAll(e.work), e.lock.Close()) }

func (e *engine) writeManifest() error {
	return archive.WriteManifest(e.dir, e.manifest)
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

func (e *engine) scenario(name string) scenario.Scenario { return e.estimate.scenarios[name] }

func (e *engine) run(ctx context.Context) error {
	e.progress.header(e.manifest)
	for _, p := range e.o.Profiles {
		for _, b := range e.o.Backends {
			if absent(b, p) {
				e.progress.note("%s has no settings under profile %s: left out", b, p)
			}
		}
	}
	done := e.done()
	for next := 0; ; {
		for ; next < len(e.plan.Blocks); next++ {
			if b := e.plan.Blocks[next]; !slices.Contains(done, b.Number) {
				if err := e.take(ctx, b); err != nil {
					return err
				}
			}
		}
		more, err := e.extend()
		if err != nil || !more {
			return err
		}
	}
}

// done lists the blocks of earlier spells.
func (e *engine) done() []int {
	var blocks []int
	for _, p := range e.earlier {
		blocks = append(blocks, p.Blocks...)
	}
	return blocks
}

// take runs a block of the plan, or leaves it out.
func (e *engine) take(ctx context.Context, b plan.Block) error {
	defer e.progress.close(b)
	if !e.runnable(b.Backend) {
		return nil
	}
	missing := e.missing
	if err := e.block(ctx, b); err != nil {
		e.missing = missing // the whole block is still to do
		return err
	}
	e.timeline.Emit(timeline.BlockFinished{Block: b.Number, Missing: e.missing - missing})
	e.finished = append(e.finished, b.Number)
	return e.timeline.Cut()
}

// blockRand draws what is random in a block: a function of the seed and the block alone, so that a block is the same whether or not the run was
// interrupted before it.
func blockRand(seed uint64, block int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, 0x66617574+uint64(block)<<32))
}

// block runs a block; one whose cluster broke down is tried once more with what was left of it.
func (e *engine) block(ctx context.Context, planned plan.Block) error {
	items := slices.Clone(planned.Items)
	e.rng = blockRand(e.o.Seed, planned.Number)
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
	e.account()
	err := errors.Join(e.timeline.Close(), e.release(), e.writeManifest())
	result := Result{Dir: e.dir, Left: e.left()}
	if err != nil {
		return result, err
	}
	if result.Metrics, err = archive.Renew(e.dir); err != nil {
		return result, err
	}
	result.Advice = advice(e.manifest, result.Metrics)
	return result, errors.Join(e.verdicts(result.Metrics)...)
}

// account writes down this spell.
func (e *engine) account() {
	took := time.Since(e.began).Seconds()
	e.manifest.DurationS = took
	for _, p := range e.earlier {
		e.manifest.DurationS += p.DurationS
	}
	this := metrics.Part{Run: e.manifest.ID, Seed: e.o.Seed, Started: e.began.UTC().Truncate(time.Second), DurationS: took, Blocks: append([]int{}, e.finished...)}
	e.manifest.Parts = append(slices.Clone(e.earlier), this)
}

// left counts the blocks that are still to run.
func (e *engine) left() int {
	left := 0
	done := append(e.done(), e.finished...)
	for _, b := range e.plan.Blocks {
		if e.runnable(b.Backend) && !slices.Contains(done, b.Number) {
			left++
		}
	}
	return left
}

func (e *engine) verdicts(m metrics.Run) []error {
	var errs []error
	if n := len(m.Verdict.Violations); n > 0 {
		errs = append(errs, fmt.Errorf("%w: %d violations, the first: %s: %s", ErrViolation, n, m.Verdict.Violations[0].Check, m.Verdict.Violations[0].Detail))
	}
	if e.missing > 0 {
		errs = append(errs, fmt.Errorf("%w: %d trials have no valid result; logs are in %s", ErrIncomplete, e.missing, filepath.Join(e.dir, archive.LogsDir)))
	}
	return errs
}
