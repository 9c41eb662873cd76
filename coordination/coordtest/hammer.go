package coordtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/chain"
)

// hammer commits without end, a few records made, changed and deleted, until stop is called, which returns the last commit's number.
func (e *env) hammer(l coordination.Leadership) (stop func() uint64) {
	ctx, cancel := context.WithCancel(e.ctx)
	var running sync.WaitGroup
	running.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			m := []coordination.Mutation{put(fmt.Sprintf("hammer/%d", i%7), fmt.Sprint(i)), remove(fmt.Sprintf("hammer/%d", (i+3)%7))}
			_, err := l.Commit(e.ctx, m)
			if err != nil && !errors.Is(err, coordination.ErrOutcomeUnknown) && !errors.Is(err, coordination.ErrUnavailable) {
				e.Errorf("Commit() = %v", err)
				return
			}
		}
	})
	var once sync.Once
	end := func() { once.Do(func() { cancel(); running.Wait() }) }
	e.Cleanup(end)
	return func() uint64 {
		end()
		return e.commit(l)
	}
}

// same wants the view to hold what a snapshot taken now holds, after a stream without a fault.
func (e *env) same(v *view, co coordination.Coordinator, who string) {
	e.Helper()
	v.verify()
	want := e.snapshot(co)
	seq, records, _, _ := v.state()
	if seq != want.Seq || !equalRecords(records, want.Records) {
		e.Errorf("%s at %d holds %d records, a snapshot at %d has %d: want the same", who, seq, len(records), want.Seq, len(want.Records))
	}
}

// testWatchesStart: watches begun while commits go on have no gap between their snapshot and the first delta, nor later.
func testWatchesStart(e *env) {
	const processes, rounds = 3, 4
	co, _, l := e.leader(1)
	stop := e.hammer(l)
	var views []*view
	for range processes {
		co := e.coordinator()
		for range rounds {
			v := e.view(co)
			views = append(views, v)
			// The next one begins once this one has met the stream's beginning.
			e.eventually(patience, "the first deltas after the snapshot", func() error {
				if _, _, deltas, resyncs := v.state(); len(deltas) < 3 && resyncs == 0 {
					return fmt.Errorf("%d deltas", len(deltas))
				}
				return nil
			})
		}
	}
	last := stop()
	for i, v := range views {
		v.wait(last, fmt.Sprintf("the last commit by watcher %d", i))
		e.same(v, co, fmt.Sprintf("watcher %d", i))
	}
}

// testSlowConsumer: a receiver that does not return holds up nobody else of its process, not even a claim, and nothing is piled up for it; in the end it has the
// right state.
func testSlowConsumer(e *env) {
	const commits, size = 400, 12 << 10 // small enough to travel in the chain record
	_, _, l := e.leader(1)
	value := strings.Repeat("s", size)
	for i := range chain.RingSlots + 8 { // fill what is bounded, so that what grows later is not
		e.commit(l, put("ballast", value), put("n", fmt.Sprint(i)))
	}
	slow, s := e.process()
	gate := make(chan struct{})
	wake := once(func() { close(gate) })
	sleeper := e.gatedView(slow, gate)
	e.Cleanup(wake)
	e.eventually(patience, "the sleeper starts", func() error {
		sleeper.mu.Lock()
		defer sleeper.mu.Unlock()
		if !sleeper.mu.started {
			return errors.New("no snapshot yet")
		}
		return nil
	})
	other := e.view(slow)
	e.register(s, 2)
	before := liveHeap()
	var last uint64
	for i := range commits {
		last = e.commit(l, put("ballast", value), put("n", fmt.Sprint(i)))
	}
	other.wait(last, "the last commit by the sleeper's neighbour")
	if grown := int64(liveHeap()) - int64(before); grown > commits*size/2 {
		e.Errorf("the heap grew by %d KiB while a receiver slept through %d KiB: want a bound", grown>>10, commits*size>>10)
	} else {
		e.Logf("the heap grew by %d KiB", grown>>10)
	}
	e.eventually(patience, "the session beside the sleeper is valid", func() error {
		if got := s.State(); got != coordination.Valid {
			return fmt.Errorf("it is %v", got)
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	next, err := s.Usurp(ctx, l.Epoch())
	if err != nil {
		e.Fatalf("Usurp() beside the sleeper = %v", err)
	}
	last = e.commit(next, remove("n"), put("after", "1"))
	other.wait(last, "the new leader's commit by the sleeper's neighbour")
	wake()
	sleeper.wait(last, "the last commit by the sleeper")
	e.same(sleeper, slow, "the sleeper")
	e.same(other, slow, "its neighbour")
}

func liveHeap() uint64 {
	runtime.GC()
	time.Sleep(10 * time.Millisecond) // what finalizers release
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
