package fault

import (
	"context"
	"fmt"
)

// rolling stops and starts all victims in turn.
type rolling struct {
	victims []Victim
	now     Fault // the stop of the one that is down
	next    int
	healthy func(context.Context) error
}

// Rolling stops each victim by SIGTERM and starts it again, and waits for the cluster to be healthy before the next. Its effect is the first one's stop.
func Rolling(healthy func(context.Context) error, victims ...Victim) Fault {
	return &rolling{victims: victims, healthy: healthy}
}

func (f *rolling) SetUp(ctx context.Context) error {
	f.now = Stop(f.victims[f.next])
	f.next++
	return f.now.SetUp(ctx)
}

func (f *rolling) Inject(ctx context.Context) error            { return f.now.Inject(ctx) }
func (f *rolling) Observe(ctx context.Context) (Effect, error) { return f.now.Observe(ctx) }

// Recover starts the first victim again and goes on with the others.
func (f *rolling) Recover(ctx context.Context) error {
	for {
		if err := f.now.Recover(ctx); err != nil {
			return err
		}
		if err := f.AwaitRecovered(ctx); err != nil {
			return fmt.Errorf("rolling restart, broker %d of %d: %w", f.next, len(f.victims), err)
		}
		if err := f.now.CleanUp(); err != nil || f.next == len(f.victims) {
			return err
		}
		if err := f.SetUp(ctx); err != nil {
			return err
		}
		if _, err := Begin(ctx, f.now); err != nil {
			return err
		}
	}
}

func (f *rolling) AwaitRecovered(ctx context.Context) error { return f.healthy(ctx) }

func (f *rolling) CleanUp() error {
	if f.now == nil {
		return nil
	}
	return f.now.CleanUp()
}
