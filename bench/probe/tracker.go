package probe

import (
	"github.com/regency-project/regency/bench/timeline"
)

// tracker turns the outcomes of one target's probes, which come in any order, into runs in the order of their intended times, and knows whether the
// target is available now. One goroutine owns it.
type tracker struct {
	head  timeline.ProbeRun // trial, class, topic, partition: what every run begins with
	emit  func(timeline.ProbeRun)
	early map[int64]outcome // outcomes that wait for an earlier one
	next  int64             // number of the probe that is resolved next

	run    timeline.ProbeRun
	streak int  // consecutive successes
	failed bool // a probe has failed since the last reset
}

type outcome struct {
	intended, done int64
	err            error
}

func newTracker(head timeline.ProbeRun, emit func(timeline.ProbeRun)) *tracker {
	return &tracker{head: head, emit: emit, early: make(map[int64]outcome)}
}

// add takes the outcome of probe number n. The early ones are bounded by deadline ÷ interval, since each probe has an outcome by its deadline.
func (t *tracker) add(n int64, o outcome) {
	t.early[n] = o
	for {
		o, ok := t.early[t.next]
		if !ok {
			return
		}
		delete(t.early, t.next)
		t.next++
		t.resolve(o)
	}
}

func (t *tracker) resolve(o outcome) {
	ok := o.err == nil
	if t.run.N == 0 || t.run.OK != ok {
		t.flush()
		t.run = t.head
		t.run.OK, t.run.From, t.run.Done = ok, o.intended, o.done
		if !ok {
			t.run.Error = o.err.Error()
		}
	}
	t.run.To = o.intended
	t.run.N++
	if ok {
		t.streak++
	} else {
		t.streak = 0
		t.failed = true
	}
}

// flush emits the run so far and begins a new one.
func (t *tracker) flush() {
	if t.run.N > 0 {
		t.emit(t.run)
	}
	t.run = timeline.ProbeRun{}
}

// available tells whether the newest probes are enough successes in a row.
func (t *tracker) available() bool { return t.streak >= timeline.Successes }
