package coordtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/regency-project/regency/coordination"
)

// testLeaks: a thousand sessions that came and went leave no goroutine and no descriptor behind, nor do whole coordinators. A service that is slow makes it
// fewer, unless in the long run.
func testLeaks(e *env) {
	const cycles, workers, coordinators, limit = 1000, 32, 10, 8 * time.Second
	co, s := e.process() // stays, and whatever is made once is made, a pool's connections for so many at once among it
	e.cycleCoordinator(100)
	e.churn(co, workers, 2*workers, limit)
	before := countResources()
	const (
		pooled = 2 * workers // a connection of a pool has two goroutines, and each worker may come to need one
		few    = 16
	)

	began := time.Now()
	what := fmt.Sprintf("%d closed sessions", e.churn(co, workers, cycles, limit))
	e.Logf("%s in %v", what, time.Since(began).Round(time.Millisecond))
	e.noMoreThan(before, pooled, what)

	before = countResources()

	for i := range coordinators {
		e.cycleCoordinator(int32(200 + i%2))
	}
	e.noMoreThan(before, few, fmt.Sprintf("%d closed coordinators", coordinators))
	if got := s.State(); got == coordination.Lost {
		e.Errorf("the session that stayed is lost: %v", s.Err())
	}
}

// churn opens and closes n sessions, so many at once, and returns how many it could within the limit.
func (e *env) churn(co coordination.Coordinator, workers, n int32, limit time.Duration) int32 {
	var wg sync.WaitGroup
	var done atomic.Int32
	began := time.Now()
	for w := range workers {
		wg.Go(func() {
			for (soak() || time.Since(began) < limit) && done.Add(1) <= n {
				if err := e.cycleSession(co, w); err != nil {
					e.Errorf("a session's cycle: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	return min(done.Load(), n)
}

// cycleSession opens a session, registers under an id of its own, and closes it.
func (e *env) cycleSession(co coordination.Coordinator, id int32) error {
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	s, err := co.OpenSession(ctx, coordination.SessionOptions{})
	if err != nil {
		return fmt.Errorf("OpenSession() = %w", err)
	}
	if _, err := s.Register(ctx, registration(id)); err != nil {
		return fmt.Errorf("Register() = %w", err)
	}
	// A service that is slow to answer may leave the session to expire; what it cost us must be free all the same.
	if err := s.Close(ctx); err != nil && !errors.Is(err, coordination.ErrUnavailable) && !errors.Is(err, coordination.ErrOutcomeUnknown) {
		return fmt.Errorf("Session.Close() = %w", err)
	}
	return nil
}

// cycleCoordinator does with a coordinator of its own what a broker does in its life.
func (e *env) cycleCoordinator(id int32) {
	e.Helper()
	co, err := e.h.Open(e.ctx, e.h.URL, e.logger)
	if err != nil {
		e.Fatalf("Open() = %v", err)
	}
	s, err := co.OpenSession(e.ctx, coordination.SessionOptions{})
	if err != nil {
		e.Fatalf("OpenSession() = %v", err)
	}
	if _, err := s.Bootstrap(e.ctx); err != nil {
		e.Fatalf("Bootstrap() = %v", err)
	}
	e.register(s, id)
	e.resign(e.campaign(s))
	e.snapshot(co)
	if err := s.Close(e.ctx); err != nil {
		e.Fatalf("Session.Close() = %v", err)
	}
	if err := co.Close(); err != nil {
		e.Fatalf("Coordinator.Close() = %v", err)
	}
}

// resources that leak.
type resources struct {
	goroutines, descriptors int
}

// countResources counts no descriptors where the system does not list them.
func countResources() resources {
	r := resources{goroutines: runtime.NumGoroutine()}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		r.descriptors = len(open)
	}
	return r
}

// noMoreThan waits for the counts to be what they were: a pool of connections may have grown by that many, not with the number of cycles.
func (e *env) noMoreThan(before resources, grown int, what string) {
	e.Helper()
	e.eventually(patience, "nothing is left of "+what, func() error {
		now := countResources()
		if now.goroutines > before.goroutines+grown {
			buf := make([]byte, 1<<16)
			return fmt.Errorf("%d goroutines, %d before: %s", now.goroutines, before.goroutines, buf[:runtime.Stack(buf, true)])
		}
		if now.descriptors > before.descriptors+grown {
			return fmt.Errorf("%d descriptors, %d before", now.descriptors, before.descriptors)
		}
		return nil
	})
}
