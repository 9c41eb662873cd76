package workload

import (
	"context"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/regency-project/regency/bench/timeline"
)

// latenessEvery is how often a timer is due beside a load that has no timers of its own.
const latenessEvery = 5 * time.Millisecond

// lateness measures how late this process's timers fire: a harness that gets no processor time measures itself. One goroutine owns it.
type lateness struct {
	due   int64
	delay *hdrhistogram.Histogram // microseconds
}

func newLateness(now int64) *lateness {
	return &lateness{due: now + latenessEvery.Nanoseconds(), delay: newHistogram()}
}

// fired records every instant that was due by now, also those that one late timer passed over.
func (l *lateness) fired(now int64) {
	for l.due <= now {
		record(l.delay, now-l.due)
		l.due += latenessEvery.Nanoseconds()
	}
}

// run measures until ctx ends.
func (l *lateness) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(time.Duration(l.due - timeline.Now()))
		select {
		case <-timer.C:
			l.fired(timeline.Now())
		case <-ctx.Done():
			l.fired(timeline.Now()) // a timer that never fired was late as well
			return
		}
	}
}

// told is what was measured.
func (l *lateness) told(trial, source string) timeline.Delay {
	return timeline.Delay{Trial: trial, Source: source, P99: milliseconds(l.delay.ValueAtQuantile(99)), Max: milliseconds(l.delay.Max())}
}
