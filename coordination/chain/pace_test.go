package chain_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/chain"
	"github.com/regency-project/regency/coordination/memory"
)

// These tests run on a clock of their own, which moves when nobody has anything to do.

// TestGapsArePausedFor: a watch that finds a gap after each listing lists again after pauses that grow.
func TestGapsArePausedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := memory.NewServer(time.Hour)
		n := open(t, server, 1)
		l := n.lead(t)
		store := newCuttable(server.Store())
		var listed []time.Time
		store.during = func(context.Context) {
			if listed = append(listed, time.Now()); len(listed) == 9 {
				return
			}
			for range chain.RingSlots + 1 {
				if _, err := l.Commit(t.Context(), set("k", "v")); err != nil {
					t.Errorf("Commit() = %v", err)
				}
			}
		}
		co := chain.New(store, chain.Options{})
		defer co.Close()
		ctx, cancel := context.WithCancel(t.Context())
		_ = co.Watch(ctx, func(coordination.Event) { cancel() })
		var pauses []int64
		for i := range listed[1:] {
			pauses = append(pauses, listed[i+1].Sub(listed[i]).Milliseconds())
		}
		if want := []int64{50, 100, 200, 400, 800, 1000, 1000, 1000}; !slices.Equal(pauses, want) {
			t.Errorf("pauses between listings of %v ms, want %v", pauses, want)
		}
	})
}

// TestListingGoesOnUnderAnyNumberOfCommits: what is kept until a listing is done does not grow with the commits, so no number of them ends it.
func TestListingGoesOnUnderAnyNumberOfCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := memory.NewServer(time.Hour)
		n := open(t, server, 1)
		l := n.lead(t)
		store := newCuttable(server.Store())
		var listings int
		var last uint64
		store.during = func(ctx context.Context) {
			listings++
			for i := range 100 * chain.RingSlots {
				if i%(chain.RingSlots/2) == 0 {
					time.Sleep(40 * time.Millisecond)
				}
				if ctx.Err() != nil {
					return
				}
				seq, err := l.Commit(t.Context(), set(fmt.Sprint(i%3), fmt.Sprint(i)))
				if err != nil {
					t.Errorf("Commit() = %v", err)
				}
				last = seq
			}
		}
		co := chain.New(store, chain.Options{})
		defer co.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var first coordination.Event
		_ = co.Watch(ctx, func(e coordination.Event) { first = e; cancel() })
		if listings != 1 || first.Kind != coordination.Snapshot || first.Seq != last {
			t.Errorf("%d listings, then a %v at %d, want one and a snapshot at %d", listings, first.Kind, first.Seq, last)
		}
	})
}

// refusing is a store whose transactions are refused, without saying by which guard, a number of times.
type refusing struct {
	backend.Store
	left int
	sent []time.Time
}

type refusingSession struct {
	backend.Session
	s *refusing
}

func (s *refusing) OpenSession(ctx context.Context) (backend.Session, error) {
	x, err := s.Store.OpenSession(ctx)
	return &refusingSession{x, s}, err
}

func (x *refusingSession) Txn(ctx context.Context, guards []backend.Guard, ops []backend.Op) ([]uint64, error) {
	x.s.sent = append(x.s.sent, time.Now())
	if x.s.left--; x.s.left >= 0 {
		return nil, &coordination.ConflictError{Guard: -1, Key: "controller"}
	}
	return x.Session.Txn(ctx, guards, ops)
}

// evictor is a session whose transactions are refused that often, and the registration of another.
func evictor(t *testing.T, left int) (*refusing, coordination.Session, coordination.Registered) {
	t.Helper()
	server := memory.NewServer(time.Hour)
	victim := open(t, server, 1)
	store := &refusing{Store: server.Store(), left: left}
	co := chain.New(store, chain.Options{})
	t.Cleanup(func() { _ = co.Close() })
	s, err := co.OpenSession(t.Context(), coordination.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return store, s, victim.registered(t, 1)
}

func TestEvictionPausesWhenRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, s, victim := evictor(t, 11)
		if err := s.Evict(t.Context(), victim); err != nil {
			t.Fatalf("Evict() = %v", err)
		}
		var pauses []int64
		for i := range store.sent[1:] {
			pauses = append(pauses, store.sent[i+1].Sub(store.sent[i]).Milliseconds())
		}
		if want := []int64{0, 0, 0, 10, 20, 40, 80, 160, 320, 500, 500}; !slices.Equal(pauses, want) {
			t.Errorf("pauses between tries of %v ms, want %v", pauses, want)
		}
	})
}

// An eviction that ran out of time is no conflict: that would say that the registration is gone.
func TestEvictionThatRanOutOfTimeIsNoConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, victim := evictor(t, 1<<30)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := s.Evict(ctx, victim); !errors.Is(err, coordination.ErrUnavailable) || errors.Is(err, coordination.ErrConflict) {
			t.Errorf("Evict() = %v, want ErrUnavailable and no conflict", err)
		}
	})
}

func TestCampaignBeforeRegisterFailsAtOnce(t *testing.T) {
	server := memory.NewServer(time.Hour)
	open(t, server, 1).lead(t)
	co := chain.New(server.Store(), chain.Options{})
	defer co.Close()
	s, err := co.OpenSession(t.Context(), coordination.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := s.Campaign(ctx); !errors.Is(err, coordination.ErrNotRegistered) {
		t.Errorf("Campaign() = %v, want ErrNotRegistered", err)
	}
}
