// Package fault disturbs a running cluster and says when a disturbance took effect, from evidence and not from having asked: a process that was killed is gone,
// or the connections to it are closed; one that was paused has all its threads stopped; on a link that was cut no connection is left, and on one that was
// black-holed no byte has passed when it is opened again; a process that is to take the CPU has been given some.
//
// Every fault lives in the same six steps: SetUp, Inject, Observe, Recover, AwaitRecovered, CleanUp.
package fault

import (
	"context"
	"time"

	"github.com/regency-project/regency/bench/timeline"
)

// Fault is one disturbance. Its steps are called once and in this order by one goroutine, except CleanUp: that may come after any of them, more than once.
type Fault interface {
	// SetUp makes ready what Inject and Observe need. Nothing is disturbed yet.
	SetUp(ctx context.Context) error
	// Inject disturbs.
	Inject(ctx context.Context) error
	// Observe returns when there is evidence that the disturbance is there.
	Observe(ctx context.Context) (Effect, error)
	// Recover takes the disturbance back, and fails if it was not there all the time.
	Recover(ctx context.Context) error
	// AwaitRecovered returns when there is evidence that it is gone.
	AwaitRecovered(ctx context.Context) error
	// CleanUp leaves nothing of the fault behind but what it has made of the cluster's processes: those that it stopped are for the cluster's owner to start.
	CleanUp() error
}

// Effect is when a fault was asked for and what was seen of it, CLOCK_MONOTONIC nanoseconds.
type Effect struct {
	Asked  int64
	Closed int64 // a connection to the process broke; 0: not seen
	Effect int64 // the earliest evidence; of several victims, that of the last
}

// limit bounds the wait for a signal to take effect: microseconds on an idle machine, a scheduling delay on a busy one.
const limit = 10 * time.Second

// poll is between two looks for evidence.
const poll = 2 * time.Millisecond

// await repeats look until it says yes or ctx ends.
func await(ctx context.Context, look func() bool) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for !look() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Begin runs the steps from Inject to the evidence.
func Begin(ctx context.Context, f Fault) (Effect, error) {
	if err := f.Inject(ctx); err != nil {
		return Effect{}, err
	}
	return f.Observe(ctx)
}

// End runs the steps from Recover to the evidence, and returns when the fault was taken back.
func End(ctx context.Context, f Fault) (int64, error) {
	at := timeline.Now()
	if err := f.Recover(ctx); err != nil {
		return 0, err
	}
	return at, f.AwaitRecovered(ctx)
}
