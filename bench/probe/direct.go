package probe

import (
	"context"
	"sync"
	"time"

	"github.com/regency-project/regency/bench/timeline"
)

// Direct sends probes of the given partitions to one broker alone, every interval until ctx ends, and counts what it makes of them: the question is
// whether a broker still accepts what it has no right to accept. Probes without an answer count as neither.
func Direct(ctx context.Context, addr string, parts []Target, recs Records) (accepted, refused int) {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	l := newLane(life, addr)
	var mu sync.Mutex
	var pending sync.WaitGroup
	for n := 0; ctx.Err() == nil; n++ {
		t := parts[n%len(parts)]
		value, seq := recs.Next(t.Topic, t.Partition, timeline.Now())
		a := produceAttempt(t.Topic, t.Partition, value, t.Deadline, func(offset int64) { recs.Acked(t.Topic, t.Partition, seq, offset) })
		if l.connected() {
			answer := l.send(a.req)
			pending.Go(func() {
				r := <-answer
				resp, err := a.outcome(r)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					a.won(resp)
					accepted++
				case r.err == nil:
					refused++
				}
			})
		} else {
			l.send(a.req) // dials
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
	return accepted, refused
}
