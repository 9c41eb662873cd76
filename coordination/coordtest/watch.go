package coordtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/regency-project/regency/coordination"
)

// view is a receiver of a watch that checks every promise about the order of events.
type view struct {
	e    *env
	gate chan struct{} // nil, or: each event waits for it to be closed
	mu   struct {
		sync.Mutex
		started bool
		resync  bool // the next must be a snapshot
		resyncs int
		last    coordination.Event
		records map[string][]byte
		deltas  []uint64
		changes []string // told by deltas: key=value, or key- for a deletion
		alive   int
		seen    []int32 // epochs, in order
		faults  []error
	}
}

// view watches for the rest of the test.
func (e *env) view(co coordination.Coordinator) *view {
	return e.gatedView(co, nil)
}

func (e *env) gatedView(co coordination.Coordinator, gate chan struct{}) *view {
	v := &view{e: e, gate: gate}
	ctx, cancel := context.WithCancel(e.ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := co.Watch(ctx, v.event); ctx.Err() == nil {
			e.Errorf("Watch() ended: %v", err)
		} else if !errors.Is(err, context.Canceled) {
			e.Errorf("Watch() = %v, want the context's error", err)
		}
	})
	e.Cleanup(func() { cancel(); wg.Wait() })
	return v
}

func (v *view) event(ev coordination.Event) {
	if v.gate != nil {
		v.mu.Lock()
		started := v.mu.started
		v.mu.Unlock()
		if started {
			select {
			case <-v.gate:
			case <-v.e.ctx.Done():
			}
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.applyLocked(ev); err != nil {
		v.mu.faults = append(v.mu.faults, err)
	}
	if ev.Kind != coordination.Resync {
		v.mu.last = ev
	}
}

func (v *view) applyLocked(ev coordination.Event) error {
	last := v.mu.last
	switch {
	case !v.mu.started && ev.Kind != coordination.Snapshot:
		return fmt.Errorf("the first event is a %v, want a snapshot", ev.Kind)
	case v.mu.started && (ev.Seq < last.Seq || ev.Epoch < last.Epoch):
		return fmt.Errorf("%v of seq %d, epoch %d after seq %d, epoch %d: went back", ev.Kind, ev.Seq, ev.Epoch, last.Seq, last.Epoch)
	case v.mu.started && ev.Lineage != last.Lineage:
		return fmt.Errorf("lineage %s after %s", ev.Lineage, last.Lineage)
	case v.mu.resync && ev.Kind != coordination.Snapshot:
		return fmt.Errorf("%v after resync, want a snapshot", ev.Kind)
	}
	if n := len(v.mu.seen); ev.Epoch != 0 && (n == 0 || v.mu.seen[n-1] != ev.Epoch) {
		v.mu.seen = append(v.mu.seen, ev.Epoch)
	}
	switch ev.Kind {
	case coordination.Snapshot:
		if v.mu.started && !v.mu.resync {
			return fmt.Errorf("a snapshot at %d without resync", ev.Seq)
		}
		v.mu.started, v.mu.resync = true, false
		v.mu.records = maps.Clone(ev.Records)
		if v.mu.records == nil {
			v.mu.records = map[string][]byte{}
		}
	case coordination.Delta:
		if ev.Seq != last.Seq+1 {
			return fmt.Errorf("delta %d after %d: a gap", ev.Seq, last.Seq)
		}
		v.mu.deltas = append(v.mu.deltas, ev.Seq)
		for _, m := range ev.Mutations {
			if m.Value == nil {
				delete(v.mu.records, m.Key)
				v.mu.changes = append(v.mu.changes, m.Key+"-")
			} else {
				v.mu.records[m.Key] = m.Value
				v.mu.changes = append(v.mu.changes, m.Key+"="+string(m.Value[:min(len(m.Value), 16)]))
			}
		}
	case coordination.Resync:
		v.mu.resync = true
		v.mu.resyncs++
	case coordination.Alive:
		v.mu.alive++
		if ev.Seq != last.Seq {
			return fmt.Errorf("alive at %d after %d", ev.Seq, last.Seq)
		}
	default:
		return fmt.Errorf("event of unknown kind %d", ev.Kind)
	}
	return nil
}

// wait until the view has reached seq.
func (v *view) wait(seq uint64, what string) {
	v.e.Helper()
	v.e.eventually(patience, what+" is watched", func() error {
		v.mu.Lock()
		defer v.mu.Unlock()
		if !v.mu.started || v.mu.resync || v.mu.last.Seq < seq {
			return fmt.Errorf("the watch is at %d (started %v), want %d", v.mu.last.Seq, v.mu.started, seq)
		}
		return nil
	})
}

// verify reports what was wrong with the stream so far.
func (v *view) verify() {
	v.e.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, err := range v.mu.faults {
		v.e.Errorf("watch: %v", err)
	}
}

func (v *view) epochs() []int32 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.mu.seen)
}

func (v *view) state() (seq uint64, records map[string][]byte, deltas []uint64, resyncs int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.mu.last.Seq, maps.Clone(v.mu.records), slices.Clone(v.mu.deltas), v.mu.resyncs
}

// told are the changes that deltas brought so far.
func (v *view) told() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.mu.changes)
}

func (v *view) alive() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.mu.alive
}

// snapshot is the first event of a watch begun now.
func (e *env) snapshot(co coordination.Coordinator) coordination.Event {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	var got coordination.Event
	err := co.Watch(ctx, func(ev coordination.Event) {
		if got.Kind == 0 {
			got = ev
			cancel()
		}
	})
	if got.Kind != coordination.Snapshot {
		e.Fatalf("Watch() told %v first and returned %v, want a snapshot", got.Kind, err)
	}
	return got
}

func testWatch(e *env) {
	const workers, each = 4, 40
	co, _, l := e.leader(1)
	views := []*view{e.view(co), e.view(e.coordinator()), e.view(e.coordinator())}
	first := l.Seq()
	for i, v := range views {
		v.wait(first, fmt.Sprintf("claim by watcher %d", i))
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				m := []coordination.Mutation{put(fmt.Sprintf("w%d/%d", w, i%7), fmt.Sprint(i)), put("shared", fmt.Sprintf("%d-%d", w, i))}
				if i%3 == 2 {
					m = append(m, remove(fmt.Sprintf("w%d/%d", w, (i+3)%7)))
				}
				if _, err := e.commitOnce(l, m...); err != nil {
					e.Errorf("Commit() = %v", err)
				}
			}
		})
	}
	wg.Wait()
	last := first + workers*each
	if st := e.status(co); st.Seq != last {
		e.Errorf("Status().Seq = %d after %d commits from %d on, want %d", st.Seq, workers*each, first, last)
	}
	want := e.snapshot(e.coordinator())
	for i, v := range views {
		v.wait(last, fmt.Sprintf("the last commit by watcher %d", i))
		v.verify()
		seq, records, deltas, resyncs := v.state()
		if seq != want.Seq || !equalRecords(records, want.Records) {
			e.Errorf("watcher %d at %d holds %d records, a snapshot at %d has %d: want the same", i, seq, len(records), want.Seq, len(want.Records))
		}
		// The stream checks order; with no resync every commit came exactly once.
		if resyncs == 0 && len(deltas) < workers*each {
			e.Errorf("watcher %d saw %d deltas, want %d", i, len(deltas), workers*each)
		}
	}
}

func equalRecords(a, b map[string][]byte) bool {
	return maps.EqualFunc(a, b, func(x, y []byte) bool { return slices.Equal(x, y) })
}

// testRingOverrun: a receiver that sleeps through more commits than any ring holds gets Resync and a Snapshot in which deletions show.
func testRingOverrun(e *env) {
	co, _, l := e.leader(1)
	e.commit(l, put("doomed", "1"), put("kept", "1"))
	gate := make(chan struct{})
	v := e.gatedView(e.coordinator(), gate)
	v.e.eventually(patience, "the sleeper starts", func() error {
		v.mu.Lock()
		defer v.mu.Unlock()
		if !v.mu.started {
			return errors.New("no snapshot yet")
		}
		return nil
	})
	e.commit(l, remove("doomed"))
	var last uint64
	for i := range 200 {
		// Large, so that no backend can have queued them all inside the stream.
		last = e.commit(l, put("counter", fmt.Sprint(i)), put("ballast", strings.Repeat("b", 32<<10)))
	}
	close(gate)
	v.wait(last, "the last commit by the sleeper")
	v.verify()
	want := e.snapshot(co)
	_, records, _, resyncs := v.state()
	if !equalRecords(records, want.Records) {
		e.Errorf("the sleeper holds %d records, want the same %d as a snapshot", len(records), len(want.Records))
	}
	if _, there := records["doomed"]; there {
		e.Errorf("the sleeper still holds a deleted record")
	}
	if resyncs == 0 {
		e.Errorf("the sleeper saw no resync over 200 commits, want one: the ring is bounded")
	}
}

func testIsolation(e *env) {
	if e.h.OtherURL == "" {
		e.Skip("the service has one cluster")
	}
	co, _, l := e.leader(1)
	e.commit(l, put("k", "here"))
	other := e.coordinatorAt(e.h.OtherURL)
	if st := e.status(other); st.Exists {
		e.Fatalf("Status() of another prefix = %+v, want an empty store", st)
	}
	s := e.session(other, coordination.SessionOptions{})
	st, err := s.Bootstrap(e.ctx)
	if err != nil {
		e.Fatalf("Bootstrap() of another prefix = %v", err)
	}
	if mine := e.status(co); st.Lineage == mine.Lineage {
		e.Errorf("two prefixes share the lineage %s", st.Lineage)
	}
	e.register(s, 1) // the same id: no duplicate in another cluster
	theirs := e.campaign(s)
	e.commit(theirs, put("k", "there"))
	if got := e.snapshot(co).Records["k"]; string(got) != "here" {
		e.Errorf("k = %q, want %q: another prefix's commit shows here", got, "here")
	}
	if got := e.present(co); len(got) != 1 {
		e.Errorf("registrations = %v, want our own only", got)
	}
}
