package partition

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// waiter waits for an offset to be passed.
type waiter struct {
	need int64
	done chan error // cap 1: told once, by whoever takes it out of the list
}

// waiters are ordered by need. They are bounded by the requests that the connections have in flight.
type waiters struct{ list []*waiter }

func (ws *waiters) add(need int64) *waiter {
	w := &waiter{need: need, done: make(chan error, 1)}
	// Almost always at the end; a producer's retry waits for an earlier offset.
	i, _ := slices.BinarySearchFunc(ws.list, need+1, func(w *waiter, need int64) int { return cmp.Compare(w.need, need) })
	ws.list = slices.Insert(ws.list, i, w)
	return w
}

// drop takes w out and tells it err, unless it was told before.
func (ws *waiters) drop(w *waiter, err error) {
	if i := slices.Index(ws.list, w); i >= 0 {
		ws.list = slices.Delete(ws.list, i, i+1)
		w.done <- err
	}
}

// reached tells the waiters that need no more than offset.
func (ws *waiters) reached(offset int64) {
	n := 0
	for n < len(ws.list) && ws.list[n].need <= offset {
		ws.list[n].done <- nil
		n++
	}
	ws.list = slices.Delete(ws.list, 0, n)
}

// fail tells all of them why it will not happen.
func (ws *waiters) fail(err error) {
	for _, w := range ws.list {
		w.done <- err
	}
	ws.list = nil
}

// Pending is an append that is not acknowledged yet.
type Pending struct {
	BaseOffset int64 // of the first record; of the original ones if they were a duplicate
	LastOffset int64
	LogStart   int64

	p  *Partition
	ws *waiters // where w is
	w  *waiter  // nil: nothing to wait for
}

// Wait returns when the append is acknowledged as it was asked to be (acks=1: it is on the leader's disk; acks=all: it is committed), or with an error:
// then the outcome is unknown. It is called once.
func (d *Pending) Wait(ctx context.Context) error {
	if d.w == nil {
		return nil
	}
	select {
	case err := <-d.w.done:
		return err
	case <-ctx.Done():
	}
	d.p.mu.Lock()
	d.ws.drop(d.w, fmt.Errorf("%s: %w: %w", d.p, ErrTimedOut, context.Cause(ctx)))
	d.p.mu.Unlock()
	return <-d.w.done
}
