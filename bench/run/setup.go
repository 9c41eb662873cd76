package run

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/plan"
)

// setup is a run that is checked and has not begun.
type setup struct {
	plan     plan.Plan
	estimate estimator
	manifest metrics.Manifest // without what only the run's own directory gives
}

// prepare checks everything that can be checked before anything is started or written.
func prepare(o *Options) (setup, error) {
	if err := o.complete(); err != nil {
		return setup{}, err
	}
	p, err := o.makePlan()
	if err != nil {
		return setup{}, err
	}
	s := setup{plan: p, estimate: newEstimator(o.Scenarios)}
	if s.manifest, err = describe(*o, p); err != nil {
		return setup{}, err
	}
	if s.manifest.Warnings, err = thisMachine(o.Out).check(s.estimate, runnableOnly(p, s.manifest)); err != nil && !o.planOnly {
		return setup{}, err
	}
	return s, o.checkServers(s.manifest)
}

// makePlan is a pure function of the options.
func (o *Options) makePlan() (plan.Plan, error) {
	p, err := plan.Make(o.planOptions())
	if err != nil || o.Shard == "" {
		return p, err
	}
	part, of, err := parseShard(o.Shard)
	if err != nil {
		return p, err
	}
	return p.Shard(part, of)
}

func (o *Options) planOptions() plan.Options {
	return plan.Options{
		Backends: o.Backends, Profiles: o.Profiles, Scenarios: o.Scenarios, Trials: o.Trials, Seed: o.Seed, Absent: absent,
		ScenarioTrials: o.ScenarioTrials, ProfileTrials: o.ProfileTrials,
	}
}

func parseShard(text string) (part, of int, err error) {
	a, b, ok := strings.Cut(text, "/")
	part, errA := strconv.Atoi(a)
	of, errB := strconv.Atoi(b)
	if !ok || errA != nil || errB != nil {
		return 0, 0, fmt.Errorf("shard %q: write 1/3 for the first of three", text)
	}
	return part, of, nil
}

// checkServers refuses, with Strict, a run on backends whose server is missing.
func (o *Options) checkServers(m metrics.Manifest) error {
	if !o.Strict || o.planOnly {
		return nil
	}
	var errs []error
	for _, b := range m.Backends {
		if b.Status != metrics.StatusOK {
			errs = append(errs, fmt.Errorf("%w: %s: %s", ErrNotRun, b.Name, b.Reason))
		}
	}
	return errors.Join(errs...)
}

// runnableOnly leaves out the blocks of backends that cannot run: they need nothing.
func runnableOnly(p plan.Plan, m metrics.Manifest) plan.Plan {
	ok := make(map[string]bool)
	for _, b := range m.Backends {
		ok[b.Name] = b.Status == metrics.StatusOK
	}
	q := plan.Plan{Seed: p.Seed}
	for _, b := range p.Blocks {
		if ok[b.Backend] {
			q.Blocks = append(q.Blocks, b)
		}
	}
	return q
}

// lockDir keeps two processes from working on one run. The lock ends with the process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another process is working on %s: wait for its end, or interrupt it", dir), f.Close())
	}
	return f, nil
}

// Preview is what a run would do.
type Preview struct {
	Manifest metrics.Manifest // the plan is in it
	Duration time.Duration    // of the whole, estimated
	Blocks   []time.Duration  // of each block of the plan
	Disk     int64            // bytes at the peak
	Files    int              // descriptors of one process
	Problem  error            // wraps ErrMachine when the run would be refused here
}

// Plan says what Run would do with the same options, and starts and writes nothing. Give a seed: else it draws one, and Run another.
func Plan(o Options) (Preview, error) {
	o.planOnly = true
	s, err := prepare(&o)
	if err != nil {
		return Preview{}, fmt.Errorf("bench: %w", err)
	}
	p := runnableOnly(s.plan, s.manifest)
	v := Preview{Manifest: s.manifest, Duration: s.estimate.plan(p), Disk: s.estimate.disk(p), Files: s.estimate.files(p)}
	for _, b := range s.plan.Blocks {
		v.Blocks = append(v.Blocks, s.estimate.block(b))
	}
	_, v.Problem = thisMachine(o.Out).check(s.estimate, p)
	return v, nil
}

// Expected is how long a run with these options takes where every backend is installed. It looks at nothing on this machine.
func Expected(o Options) (time.Duration, error) {
	if err := o.choose(); err != nil {
		return 0, fmt.Errorf("bench: %w", err)
	}
	p, err := o.makePlan()
	if err != nil {
		return 0, fmt.Errorf("bench: %w", err)
	}
	return newEstimator(o.Scenarios).plan(p), nil
}
