package probe

import (
	"context"
	"sync"
	"time"

	"github.com/regency-project/regency/bench/timeline"
)

// Answers count what a broker made of the probes of one partition.
type Answers struct {
	Accepted int
	Refused  int // with an error
	Closed   int // by ending the connection
}

// Direct sends probes of the given partitions to one broker alone, every interval until ctx ends, and counts what it makes of them: the question is
// whether a broker still accepts what it has no right to accept. Probes without an answer count as nothing.
func Direct(ctx context.Context, addr string, parts []Target, recs Records) []Answers {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	l := newLane(life, addr)
	answers := make([]Answers, len(parts))
	var mu sync.Mutex
	var pending sync.WaitGroup
	for n := 0; ctx.Err() == nil; n++ {
		t, into := parts[n%len(parts)], &answers[n%len(parts)]
		if l.connected() {
			value, seq := recs.Next(t.Topic, t.Partition, timeline.Now())
			a := produceAttempt(t.Topic, t.Partition, value, t.Deadline, func(offset int64) { recs.Acked(t.Topic, t.Partition, seq, offset) })
			answer := l.send(a.req)
			pending.Go(func() {
				r := <-answer
				resp, err := a.outcome(r)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					a.won(resp)
					into.Accepted++
				case r.err == nil:
					into.Refused++
				case life.Err() == nil && r.err != errBusy: // otherwise it was our end, or was not asked
					into.Closed++
				}
			})
		} else {
			l.mu.Lock()
			l.dialLocked()
			l.mu.Unlock()
		}
		timer := time.NewTimer(t.Interval)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	// What is in flight is answered by its deadline or not at all.
	settle := time.NewTimer(parts[0].Deadline)
	<-settle.C
	end()
	l.close()
	pending.Wait()
	return answers
}
