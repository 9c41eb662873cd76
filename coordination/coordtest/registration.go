package coordtest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/regency-project/regency/coordination"
)

func testEmptyStore(e *env) {
	co := e.coordinator()
	if st := e.status(co); st.Exists || st.Holder != -1 {
		e.Errorf("Status() of an empty store = %+v, want Exists false, Holder -1", st)
	}
	if got := e.present(co); len(got) != 0 {
		e.Errorf("registrations of an empty store = %v, want none", got)
	}
	// A watch waits for the bootstrap and then delivers.
	v := e.view(co)
	_, s := e.process()
	v.wait(0, "a watch begun before bootstrap")
	if st := e.status(co); !st.Exists || st.Seq != 0 || st.Epoch != 0 || st.Holder != -1 || uuid.Validate(st.Lineage) != nil {
		e.Errorf("Status() after bootstrap = %+v, want a lineage, seq 0, epoch 0, holder -1", st)
	}
	if got := s.State(); got != coordination.Valid {
		e.Errorf("State() of a new session = %v, want valid", got)
	}
	if s.Timeout() < co.Capabilities().MinTimeout {
		e.Errorf("Timeout() = %v, below MinTimeout %v", s.Timeout(), co.Capabilities().MinTimeout)
	}
}

func testBootstrapRace(e *env) {
	const racers = 5
	var wg sync.WaitGroup
	var got [racers]coordination.Status
	for i := range racers {
		s := e.session(e.coordinator(), coordination.SessionOptions{})
		wg.Go(func() {
			st, err := s.Bootstrap(e.ctx)
			if err != nil {
				e.Errorf("Bootstrap() = %v", err)
			}
			got[i] = st
		})
	}
	wg.Wait()
	for _, st := range got {
		if !st.Exists || st.Lineage != got[0].Lineage {
			e.Errorf("Bootstrap() = %+v, another process got %+v: want one lineage", st, got[0])
		}
	}
}

// present is the complete set of registrations, by a watch begun now.
func (e *env) present(co coordination.Coordinator) []coordination.Registered {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	var got []coordination.Registered
	first := true
	err := co.WatchRegistrations(ctx, func(r []coordination.Registered) {
		if first {
			got, first = r, false
			cancel()
		}
	})
	if first {
		e.Fatalf("WatchRegistrations() told nothing and returned %v", err)
	}
	return got
}

// registrations follows the registered brokers for the rest of the test.
type registrations struct {
	e  *env
	mu struct {
		sync.Mutex
		ids   map[int32]uint64
		order setOrder
	}
}

func (e *env) registrations(co coordination.Coordinator) *registrations {
	r := &registrations{e: e}
	ctx, cancel := context.WithCancel(e.ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		err := co.WatchRegistrations(ctx, func(now []coordination.Registered) {
			ids := make(map[int32]uint64, len(now))
			for _, b := range now {
				ids[b.ID] = b.Revision
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.mu.ids = ids
			r.mu.order.add(ids)
		})
		if ctx.Err() == nil {
			e.Errorf("WatchRegistrations() ended: %v", err)
		}
	})
	e.Cleanup(func() { cancel(); wg.Wait() })
	return r
}

// revision is 0 for an absent broker.
func (r *registrations) revision(id int32) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.ids[id]
}

func (r *registrations) waitPresent(id int32) {
	r.e.Helper()
	r.e.eventually(patience, fmt.Sprintf("registration of %d is told", id), func() error {
		if r.revision(id) == 0 {
			return errors.New("absent")
		}
		return nil
	})
}

func (r *registrations) waitAbsent(id int32, d time.Duration) {
	r.e.Helper()
	r.e.eventually(d, fmt.Sprintf("end of registration %d is told", id), func() error {
		if rev := r.revision(id); rev != 0 {
			return fmt.Errorf("present with revision %d", rev)
		}
		return nil
	})
}

func testRegistrationVisible(e *env) {
	_, a := e.process()
	co, b := e.process()
	seen := e.registrations(co)
	want := []coordination.Registered{e.register(a, 1), e.register(b, 2)}
	seen.waitPresent(1)
	seen.waitPresent(2)
	got := e.present(co)
	if len(got) == 2 && got[0].ID > got[1].ID {
		got[0], got[1] = got[1], got[0]
	}
	if !reflect.DeepEqual(got, want) {
		e.Errorf("registrations = %+v, want what Register returned: %+v", got, want)
	}
	for _, r := range got {
		if r.Revision == 0 || r.Incarnation == "" {
			e.Errorf("registration %d has revision %d, incarnation %q: want both set", r.ID, r.Revision, r.Incarnation)
		}
	}
}

func testRegistrationEndsWithSession(e *env) {
	_, a := e.process()
	co, _ := e.process()
	seen := e.registrations(co)
	first := e.register(a, 1)
	seen.waitPresent(1)
	if err := a.Close(e.ctx); err != nil {
		e.Fatalf("Close() = %v", err)
	}
	if got := e.present(co); len(got) != 0 {
		e.Errorf("registrations after Session.Close returned = %v, want none", got)
	}
	seen.waitAbsent(1, slack)
	e.closed(a.Done(), slack, "Done of a closed session")
	if !errors.Is(a.Err(), coordination.ErrClosed) {
		e.Errorf("Err() of a closed session = %v, want ErrClosed", a.Err())
	}
	_, again := e.process()
	if second := e.register(again, 1); second.Revision == first.Revision {
		e.Errorf("Register() twice under one id: revision %d both times, want two", first.Revision)
	}
}

// testCloseReconnects: a session whose connections broke a moment ago is closed like any other.
func testCloseReconnects(e *env) {
	ls, _, s := e.linked()
	observer := e.coordinator()
	e.register(s, 1)
	ls.reset()
	began := time.Now()
	if err := s.Close(e.ctx); err != nil {
		e.Fatalf("Close() after all connections broke = %v", err)
	}
	e.Logf("closed in %v", time.Since(began).Round(time.Millisecond))
	if got := e.present(observer); len(got) != 0 {
		e.Errorf("registrations after Session.Close returned = %v, want none", got)
	}
}

func testDuplicateID(e *env) {
	_, a := e.process()
	co, b := e.process()
	first := e.register(a, 1)
	other := registration(1)
	other.DirectoryUUID, other.Host = uuid.NewString(), "host-b"
	_, err := b.Register(e.ctx, other)
	if !errors.Is(err, coordination.ErrDuplicateID) {
		e.Fatalf("Register() of a taken id = %v, want ErrDuplicateID", err)
	}
	if !strings.Contains(err.Error(), first.Host) {
		e.Errorf("Register() of a taken id = %q, want the holder's host %q named", err, first.Host)
	}
	if got := e.present(co); len(got) != 1 || got[0].Revision != first.Revision {
		e.Errorf("registrations = %v, want only %v, untouched", got, first)
	}
	if got := a.State(); got != coordination.Valid {
		e.Errorf("State() of the holder = %v, want valid", got)
	}
}

func testReplaceOwn(e *env) {
	_, old := e.process()
	co, restarted := e.process()
	first := e.register(old, 1)
	second := e.register(restarted, 1)
	if first.Revision == second.Revision {
		e.Errorf("Register() after a restart: revision %d both times, want another", first.Revision)
	}
	e.closed(old.Done(), patience, "Done of the replaced session")
	if !errors.Is(old.Err(), coordination.ErrSessionLost) {
		e.Errorf("Err() of the replaced session = %v, want ErrSessionLost", old.Err())
	}
	// The old session's end at the service must not take the new registration with it.
	if err := old.Close(e.ctx); err != nil {
		e.Errorf("Close() of the replaced session = %v", err)
	}
	if got := e.present(co); len(got) != 1 || got[0].Revision != second.Revision {
		e.Errorf("registrations = %v, want only revision %d", got, second.Revision)
	}
	if got := restarted.State(); got != coordination.Valid {
		e.Errorf("State() of the new session = %v, want valid", got)
	}
}

// evictNothing tries what must not apply.
func (e *env) evictNothing(s coordination.Session, r coordination.Registered) error {
	return e.insist(func(ctx context.Context) error { return s.Evict(ctx, r) })
}

// testEvict: an eviction takes exactly the incarnation that is meant, its controllership with it, and nobody else's.
func testEvict(e *env) {
	_, victim := e.process()
	co, s := e.process()
	seen := e.registrations(co)
	r := e.register(victim, 1)
	seen.waitPresent(1)
	term := e.campaign(victim)
	stale := r
	stale.Revision--
	if err := e.evictNothing(s, stale); !errors.Is(err, coordination.ErrConflict) {
		e.Errorf("Evict() of another revision = %v, want ErrConflict", err)
	}
	states := e.states(victim)
	if err := e.evict(s, r); err != nil {
		e.Fatalf("Evict() = %v", err)
	}
	seen.waitAbsent(1, patience)
	e.closed(victim.Done(), patience, "Done of the evicted session")
	if !errors.Is(victim.Err(), coordination.ErrSessionLost) {
		e.Errorf("Err() of the evicted session = %v, want ErrSessionLost", victim.Err())
	}
	if got := victim.State(); got != coordination.Lost {
		e.Errorf("State() of the evicted session = %v, want lost", got)
	}
	if got := <-states; len(got) == 0 || got[len(got)-1] != coordination.Lost {
		e.Errorf("Session.Watch() told %v, want lost at last", got)
	}
	if err := e.evictNothing(s, r); !errors.Is(err, coordination.ErrConflict) {
		e.Errorf("Evict() of an absent registration = %v, want ErrConflict", err)
	}
	e.vacant()
	e.register(s, 2)
	next := e.campaign(s)
	if next.Epoch() != term.Epoch()+1 {
		e.Errorf("epoch after the eviction = %d, want %d", next.Epoch(), term.Epoch()+1)
	}
	if _, err := term.Commit(e.ctx, []coordination.Mutation{put("a", "1")}); err == nil {
		e.Errorf("Commit() of the evicted leader succeeded")
	}
	_, follower := e.process()
	if err := e.evict(s, e.register(follower, 3)); err != nil {
		e.Errorf("Evict() of one that does not lead = %v", err)
	}
	e.commit(next, put("a", "2"))
}

// vacant: nobody holds the controller key. It cannot be told from outside, where an eviction that leaves the key shows only as a long wait.
func (e *env) vacant() {
	if e.h.OpenStore == nil {
		return
	}
	store, err := e.h.OpenStore(e.ctx, e.h.URL, e.logger)
	if err != nil {
		e.Fatalf("OpenStore() = %v", err)
	}
	defer store.Close()
	e.eventually(patience, "the controller key is read", func() error {
		holder, err := store.Get(e.ctx, "controller")
		if err == nil && holder.Version != 0 {
			e.Errorf("controller key after the eviction = %q, want none", holder.Value)
		}
		return err
	})
}

// states delivers what Session.Watch told, once it returned.
func (e *env) states(s coordination.Session) <-chan []coordination.State {
	told := make(chan []coordination.State, 1)
	go func() {
		var all []coordination.State
		s.Watch(e.ctx, func(st coordination.State) { all = append(all, st) })
		told <- all
	}()
	return told
}

func testUnhealthy(e *env) {
	co := e.coordinator()
	var mu sync.Mutex
	var sick error
	s := e.session(co, coordination.SessionOptions{Healthy: func() error {
		mu.Lock()
		defer mu.Unlock()
		return sick
	}})
	if _, err := s.Bootstrap(e.ctx); err != nil {
		e.Fatalf("Bootstrap() = %v", err)
	}
	seen := e.registrations(co)
	e.register(s, 1)
	seen.waitPresent(1)
	mu.Lock()
	sick = errors.New("the log disk makes no progress")
	mu.Unlock()
	seen.waitAbsent(1, e.bound(s.Timeout())+slack)
	e.closed(s.Done(), patience, "Done of the lapsed session")
	if !errors.Is(s.Err(), coordination.ErrSessionLost) {
		e.Errorf("Err() of the lapsed session = %v, want ErrSessionLost", s.Err())
	}
}
