package chain_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/chain"
	"github.com/regency-project/regency/coordination/memory"
)

// counted is a store that counts the watches of the chain record that run.
type counted struct {
	backend.Store
	watches atomic.Int64
}

func (c *counted) Watch(ctx context.Context, key string, fn func(backend.Entry)) error {
	if key == "chain" {
		c.watches.Add(1)
		defer c.watches.Add(-1)
	}
	return c.Store.Watch(ctx, key, fn)
}

// watchedLeader is a leader whose process watches the chain until ctx ends, each event by way of hold.
func watchedLeader(ctx context.Context, t *testing.T, server *memory.Server, hold func()) (*counted, coordination.Leadership) {
	t.Helper()
	store := &counted{Store: server.Store()}
	co := chain.New(store, chain.Options{})
	t.Cleanup(func() { _ = co.Close() })
	s, err := co.OpenSession(t.Context(), coordination.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	if _, err := s.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Register(t.Context(), coordination.Registration{ID: 1, DirectoryUUID: "d"}); err != nil {
		t.Fatal(err)
	}
	go func() { _ = co.Watch(ctx, func(coordination.Event) { hold() }) }()
	synctest.Wait()
	return store, (&node{Coordinator: co, session: s}).lead(t)
}

// usurp has another process take the leadership.
func usurp(t *testing.T, server *memory.Server, epoch int32) {
	t.Helper()
	n := open(t, server, 2)
	if _, err := n.session.Usurp(t.Context(), epoch); err != nil {
		t.Fatal(err)
	}
}

// TestTermHearsTheProcessesWatch: a term needs no watch of its own while the process's is told things, and hears of its successor at once all the same.
func TestTermHearsTheProcessesWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := memory.NewServer(time.Hour)
		store, l := watchedLeader(t.Context(), t, server, func() {})
		for range 20 {
			time.Sleep(time.Second)
			synctest.Wait()
			if n := store.watches.Load(); n != 1 {
				t.Fatalf("%d watches of the chain record, want the process's own", n)
			}
		}
		usurp(t, server, l.Epoch())
		began := time.Now()
		<-l.Done()
		if took := time.Since(began); took > 0 || !errors.Is(l.Err(), coordination.ErrFenced) {
			t.Errorf("Err() = %v after %v, want ErrFenced at once", l.Err(), took)
		}
	})
}

// TestTermHearsPastASlowReceiver: what the process's watch cannot deliver ends the term in time.
func TestTermHearsPastASlowReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := memory.NewServer(time.Hour)
		slow := make(chan struct{})
		defer close(slow)
		_, l := watchedLeader(t.Context(), t, server, func() { <-slow })
		time.Sleep(time.Minute)
		usurp(t, server, l.Epoch())
		began := time.Now()
		<-l.Done()
		if took := time.Since(began); took > 3*backend.HeartbeatInterval || !errors.Is(l.Err(), coordination.ErrFenced) {
			t.Errorf("Err() = %v after %v, want ErrFenced soon", l.Err(), took)
		}
	})
}

// TestTermOutlivesTheProcessesWatch: when that watch has ended the term hears of its successor by one of its own.
func TestTermOutlivesTheProcessesWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := memory.NewServer(time.Hour)
		ctx, end := context.WithCancel(t.Context())
		defer end()
		store, l := watchedLeader(ctx, t, server, func() {})
		end()
		time.Sleep(time.Second)
		synctest.Wait()
		if n := store.watches.Load(); n != 1 {
			t.Fatalf("%d watches of the chain record, want the term's own", n)
		}
		usurp(t, server, l.Epoch())
		began := time.Now()
		<-l.Done()
		if took := time.Since(began); took > 0 || !errors.Is(l.Err(), coordination.ErrFenced) {
			t.Errorf("Err() = %v after %v, want ErrFenced at once", l.Err(), took)
		}
	})
}
