package coordtest

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

const (
	// defaultCrowd is the number of sessions that are lost at once unless the harness says another.
	defaultCrowd = 1000
	// crowdSession is long enough for a loaded machine to open the whole crowd and to keep it.
	crowdSession = 10 * time.Second
	// crowdFirst is the first broker id of the crowd.
	crowdFirst = 1000
	// crowdEach is what the end of each session may add to the time in which all end: services end them one by one, with a write each.
	crowdEach = 10 * time.Millisecond
)

// testCrowd: a thousand sessions end at once. All of their registrations are gone within the bound, and nobody else is harmed.
func testCrowd(e *env) {
	if e.h.OpenStore == nil {
		e.Skip("the harness opens no store")
	}
	own := e.granted(e.coordinator())
	e.withSession(crowdSession)
	var observer coordination.Coordinator
	var others []coordination.Session
	kept := map[int32]uint64{}
	for id := range int32(3) {
		co, s := e.process()
		observer, others = co, append(others, s)
		kept[id] = e.register(s, id).Revision
	}
	c := e.crowd(own)
	c.open()
	granted := c.sessions[0].Timeout()
	bound := time.Duration(float64(e.bound(own))*float64(granted)/float64(own)) + time.Duration(len(c.sessions))*crowdEach
	if got := c.count(); got != len(c.sessions)+len(kept) {
		e.Fatalf("%d registrations, want %d and %d others", got, len(c.sessions), len(kept))
	}

	c.abandon()
	began := time.Now()
	var first time.Duration
	for {
		left := c.count() - len(kept)
		took := time.Since(began)
		if left < len(c.sessions) && first == 0 {
			first = took
		}
		if left <= 0 {
			e.Logf("%d sessions of %v were gone between %v and %v after renewals ended, bound %v", len(c.sessions), granted,
				first.Round(time.Millisecond), took.Round(time.Millisecond), bound.Round(time.Millisecond))
			break
		}
		if took > bound+slack {
			e.Fatalf("%d of %d registrations are left %v after renewals ended, bound %v", left, len(c.sessions), took, bound)
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, r := range e.present(observer) {
		if kept[r.ID] != r.Revision {
			e.Errorf("registration %d has revision %d, want %d as before", r.ID, r.Revision, kept[r.ID])
		}
		delete(kept, r.ID)
	}
	if len(kept) != 0 {
		e.Errorf("registrations (id to revision) %v are gone, though their sessions were renewed", kept)
	}
	for id, other := range others {
		if err := other.Err(); err != nil {
			e.Errorf("session of broker %d, which was renewed, ended: %v", id, err)
		}
	}
	c.parallel(func(i int) {
		if err := c.renew(i); !errors.Is(err, coordination.ErrSessionLost) {
			e.Errorf("Renew() of session %d of the crowd after its end = %v, want ErrSessionLost", i, err)
		}
	})
}

// crowd is many sessions of one store, each with a registration and nothing else of what a process has: no watch, no loop.
type crowd struct {
	e        *env
	store    backend.Store
	mu       sync.Mutex
	sessions []backend.Session // nil until opened; under mu while they are
	stop     context.CancelFunc
	renewing sync.WaitGroup
}

// crowd makes one. Its sessions have the timeout that is the harness's own unless the harness could give the test a longer one.
func (e *env) crowd(timeout time.Duration) *crowd {
	e.Helper()
	if e.h.WithSession != nil {
		timeout = crowdSession
	}
	store, err := e.h.OpenStore(e.ctx, e.h.URL, e.logger)
	if err != nil {
		e.Fatalf("OpenStore(%s) = %v", e.h.URL, err)
	}
	size := e.h.Crowd
	if size == 0 {
		size = defaultCrowd
	}
	ctx, stop := context.WithCancel(e.ctx)
	c := &crowd{e: e, store: store, sessions: make([]backend.Session, size), stop: stop}
	e.Cleanup(func() {
		c.abandon()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		c.parallel(func(i int) {
			if s := c.sessions[i]; s != nil {
				_ = s.Close(ctx)
			}
		})
		if err := store.Close(); err != nil {
			e.Errorf("Store.Close() = %v", err)
		}
	})
	c.renewing.Go(func() { c.keep(ctx, timeout/4) })
	return c
}

// open opens and registers them all.
func (c *crowd) open() {
	c.e.Helper()
	began := time.Now()
	c.parallel(func(i int) {
		s, err := c.store.OpenSession(c.e.ctx)
		if err != nil {
			c.e.Errorf("OpenSession() of member %d = %v", i, err)
			return
		}
		c.mu.Lock()
		c.sessions[i] = s
		c.mu.Unlock()
		id := crowdFirst + i
		value, err := json.Marshal(registration(int32(id)))
		if err != nil {
			c.e.Error(err)
			return
		}
		key := "brokers/" + strconv.Itoa(id)
		err = c.e.insistFor(2*time.Minute, func(ctx context.Context) error {
			_, err := s.Txn(ctx, []backend.Guard{{Key: key}}, []backend.Op{{Kind: backend.CreateEphemeral, Key: key, Value: value}})
			return err
		})
		if err != nil && !errors.Is(err, coordination.ErrConflict) { // a conflict with an own try whose answer was lost
			c.e.Errorf("register %d: %v", id, err)
		}
	})
	if c.e.Failed() {
		c.e.FailNow()
	}
	c.e.Logf("%d sessions opened and registered in %v", len(c.sessions), time.Since(began).Round(time.Millisecond))
}

// keep renews every session in each interval.
func (c *crowd) keep(ctx context.Context, every time.Duration) {
	for ctx.Err() == nil {
		round := time.After(every)
		c.parallel(func(i int) {
			if ctx.Err() == nil {
				_ = c.renew(i)
			}
		})
		select {
		case <-round:
		case <-ctx.Done():
		}
	}
}

// renew tries until the service says something about the session.
func (c *crowd) renew(i int) error {
	c.mu.Lock()
	s := c.sessions[i]
	c.mu.Unlock()
	if s == nil {
		return nil
	}
	return c.e.insist(func(ctx context.Context) error {
		_, err := s.Renew(ctx)
		return err
	})
}

// abandon ends the renewals.
func (c *crowd) abandon() {
	c.stop()
	c.renewing.Wait()
}

// count is the number of registrations.
func (c *crowd) count() int {
	c.e.Helper()
	var entries []backend.Entry
	err := c.e.insist(func(ctx context.Context) (err error) {
		entries, err = c.store.List(ctx, "brokers")
		return err
	})
	if err != nil {
		c.e.Fatalf("List(brokers) = %v", err)
	}
	return len(entries)
}

// parallel calls f for each member, a few at a time.
func (c *crowd) parallel(f func(i int)) {
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			for i := worker; i < len(c.sessions); i += 16 {
				f(i)
			}
		})
	}
	wg.Wait()
}
