package backendtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

// follower is a running watch that is called again when it ends early.
type follower struct {
	mu    sync.Mutex
	last  string
	calls int
}

func (f *follower) told(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = text
	f.calls++
}

func (f *follower) shows(text string) func() bool {
	return func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.calls > 0 && f.last == text
	}
}

func (f *follower) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

func (e *env) follow(watch func(ctx context.Context, f *follower) error) *follower {
	f := &follower{}
	ctx, cancel := context.WithCancel(e.ctx)
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			err := watch(ctx, f)
			if ctx.Err() == nil {
				e.Logf("watch ended: %v", err)
				time.Sleep(10 * time.Millisecond)
			}
		}
	})
	e.Cleanup(func() { cancel(); running.Wait() })
	return f
}

func testWatch(e *env) {
	var mu sync.Mutex
	newest := uint64(0)
	f := e.follow(func(ctx context.Context, f *follower) error {
		return e.store.Watch(ctx, "chain", func(entry backend.Entry) {
			mu.Lock()
			defer mu.Unlock()
			if entry.Version < newest {
				e.Errorf("watch went back from version %d to %d", newest, entry.Version)
			}
			newest = entry.Version
			f.told(string(entry.Value))
		})
	})
	e.eventually("the watch tells of an absent key", f.shows(""))
	s, _ := e.session()
	v := e.txn(s, nil, op(backend.Create, "chain", "0"))[0]
	e.eventually("the creation is told", f.shows("0"))
	for i := range 50 {
		v = e.txn(s, guards(at("chain", v)), op(backend.Set, "chain", fmt.Sprint(i+1)))[0]
	}
	e.eventually("the newest value is told", f.shows("50"))
	before, began := f.count(), time.Now()
	e.eventually("heartbeats", func() bool { return f.count() >= before+3 })
	if took := time.Since(began); took > 3*backend.HeartbeatInterval+3*time.Second {
		e.Errorf("three heartbeats took %v", took)
	}
	mu.Lock()
	defer mu.Unlock()
	newest = 0 // absence has version 0
	e.txnUnlocked(&mu, s, op(backend.Delete, "chain", ""))
	e.eventuallyUnlocked(&mu, "the deletion is told", f.shows(""))
}

func (e *env) txnUnlocked(mu *sync.Mutex, s backend.Session, ops ...backend.Op) {
	mu.Unlock()
	defer mu.Lock()
	e.txn(s, nil, ops...)
}

func (e *env) eventuallyUnlocked(mu *sync.Mutex, what string, f func() bool) {
	mu.Unlock()
	defer mu.Lock()
	e.eventually(what, f)
}

func testWatchDir(e *env) {
	f := e.follow(func(ctx context.Context, f *follower) error {
		return e.store.WatchDir(ctx, "brokers", func(entries []backend.Entry) {
			all := map[string]string{}
			for _, entry := range entries {
				all[entry.Key] = string(entry.Value)
			}
			var list []string
			for _, key := range slices.Sorted(maps.Keys(all)) {
				list = append(list, key+"="+all[key])
			}
			f.told(strings.Join(list, " "))
		})
	})
	e.eventually("an empty directory is told", f.shows(""))
	a, _ := e.session()
	b, _ := e.session()
	first := e.txn(a, nil, op(backend.CreateEphemeral, "brokers/1", "a"))[0]
	e.eventually("the first is told", f.shows("brokers/1=a"))
	e.txn(b, nil, op(backend.CreateEphemeral, "brokers/2", "b"))
	e.eventually("both are told", f.shows("brokers/1=a brokers/2=b"))
	e.txn(b, guards(at("brokers/1", first)), op(backend.ReplaceEphemeral, "brokers/1", "b"))
	e.eventually("the replacement is told", f.shows("brokers/1=b brokers/2=b"))
	before := f.count()
	e.eventually("heartbeats", func() bool { return f.count() >= before+2 })
	if err := b.Close(e.ctx); err != nil {
		e.Fatalf("Close() = %v", err)
	}
	e.eventually("the end of the session is told", f.shows(""))
}

func testClose(e *env) {
	s, stop := e.session()
	e.txn(s, nil, op(backend.CreateEphemeral, "brokers/1", "a"), op(backend.CreateEphemeral, "controller", "a"), op(backend.Create, "records/a", "a"))
	stop()
	if err := s.Close(e.ctx); err != nil {
		e.Fatalf("Close() = %v", err)
	}
	e.holds("brokers/1", "", 0)
	e.holds("controller", "", 0)
	if e.get("records/a").Version == 0 {
		e.Error("a persistent key went with the session")
	}
	if _, err := s.Txn(e.ctx, nil, []backend.Op{op(backend.Create, "records/b", "b")}); err == nil {
		e.Error("Txn after Close succeeded")
	}
	if _, err := s.Renew(e.ctx); err == nil {
		e.Error("Renew after Close succeeded")
	}
}

func testRenewal(e *env) {
	s, stop := e.session()
	stop()
	v := e.txn(s, nil, op(backend.CreateEphemeral, "controller", "a"))[0]
	proven := 0
	for end := time.Now().Add(3 * s.Timeout()); time.Now().Before(end); {
		sent := time.Now()
		deadline, err := s.Renew(e.ctx)
		if errors.Is(err, coordination.ErrSessionLost) {
			e.Fatalf("Renew() = %v", err)
		}
		if err == nil && !deadline.IsZero() {
			if deadline.After(sent.Add(s.Timeout())) {
				e.Errorf("Renew() proves %v from its sending, the timeout is %v", deadline.Sub(sent), s.Timeout())
			}
			if deadline.After(sent) {
				proven++
			}
		}
		time.Sleep(s.Timeout() / 5)
	}
	e.holds("controller", "a", v)
	if want := 5; e.store.Capabilities().ProvableDeadline && proven < want {
		e.Errorf("%d renewals proved anything, want at least %d", proven, want)
	}
}

// testWatchBegins: what a watch tells first is at least as new as its call: an entry that was written or removed by another process before is seen so.
func testWatchBegins(e *env) {
	s, _ := e.session()
	others := []backend.Store{e.another(e.h.Open), e.another(e.h.Open), e.another(e.h.Open)}
	first := func(store backend.Store) (present bool) {
		e.Helper()
		ctx, cancel := context.WithTimeout(e.ctx, patience)
		defer cancel()
		for told := false; ; { // a watch may fail; until it has told anything that is no answer
			err := store.WatchDir(ctx, "brokers", func(entries []backend.Entry) {
				if !told {
					told, present = true, len(entries) > 0
					cancel()
				}
			})
			if told {
				return present
			}
			if ctx.Err() != nil {
				e.Fatalf("WatchDir() = %v, and told nothing", err)
			}
		}
	}
	for i := range 12 {
		store := others[i%len(others)]
		e.txn(s, nil, op(backend.CreateEphemeral, "brokers/1", "a"))
		if !first(store) {
			e.Errorf("round %d: a watch began with an older state: an entry made before is missing", i)
		}
		e.txn(s, nil, op(backend.Delete, "brokers/1", ""))
		if first(store) {
			e.Errorf("round %d: a watch began with an older state: an entry removed before is there", i)
		}
	}
}

// testIsolation: a cluster sees nothing of another one whose name begins with its own.
func testIsolation(e *env) {
	if e.h.OpenNeighbour == nil {
		e.Skip("the service has one cluster")
	}
	f := e.follow(func(ctx context.Context, f *follower) error {
		return e.store.WatchDir(ctx, "records", func(entries []backend.Entry) { f.told(fmt.Sprint(len(entries))) })
	})
	e.eventually("an empty directory is told", f.shows("0"))
	neighbour := e.another(e.h.OpenNeighbour)
	theirs, _ := e.sessionOf(neighbour)
	mine, _ := e.session()
	v := e.txn(theirs, guards(at("chain", 0)), op(backend.Create, "chain", "theirs"), op(backend.Create, "records/a", "theirs"),
		op(backend.CreateEphemeral, "brokers/1", "theirs"))
	e.holds("chain", "", 0)
	e.holds("records/a", "", 0)
	for _, dir := range []string{"records", "brokers"} {
		if got, err := e.store.List(e.ctx, dir); err != nil || len(got) != 0 {
			e.Errorf("List(%s) = %v, %v, want nothing: it is the neighbour's", dir, got, err)
		}
	}
	// The same names are free here; what happens to them is not seen there.
	e.txn(mine, guards(at("chain", 0), at("brokers/1", 0)), op(backend.Create, "chain", "mine"), op(backend.CreateEphemeral, "brokers/1", "mine"))
	e.eventually("heartbeats", func(before int) func() bool { return func() bool { return f.count() > before } }(f.count()))
	if !f.shows("0")() {
		e.Errorf("the watch told of records, all are the neighbour's")
	}
	e.txn(mine, nil, op(backend.Delete, "chain", ""), op(backend.Delete, "brokers/1", ""))
	if got, err := neighbour.Get(e.ctx, "brokers/1"); err != nil || got.Version != v[2] {
		e.Errorf("the neighbour's brokers/1 = version %d, %v, want %d", got.Version, err, v[2])
	}
}
