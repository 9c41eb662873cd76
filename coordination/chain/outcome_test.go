package chain_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/chain"
	"github.com/regency-project/regency/coordination/faulty"
	"github.com/regency-project/regency/coordination/memory"
)

// unread is a store that answers no read of a key while failing is set.
type unread struct {
	backend.Store
	failing atomic.Pointer[func()] // called at each such read
}

func (s *unread) Get(ctx context.Context, key string) (backend.Entry, error) {
	if failing := s.failing.Load(); failing != nil {
		(*failing)()
		return backend.Entry{}, coordination.ErrUnavailable
	}
	return s.Store.Get(ctx, key)
}

// TestUnknownOutcomeIsNoOtherOutcome: the read that was to settle it was not answered, which says nothing of the commit.
func TestUnknownOutcomeIsNoOtherOutcome(t *testing.T) {
	store := &unread{Store: memory.NewServer(time.Hour).Store()}
	f := faulty.Wrap(store)
	co := chain.New(f, chain.Options{})
	defer co.Close()
	s, err := co.OpenSession(t.Context(), coordination.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Register(t.Context(), coordination.Registration{ID: 1, DirectoryUUID: "d"}); err != nil {
		t.Fatal(err)
	}
	l := (&node{Coordinator: co, session: s}).lead(t)
	if _, err := l.Commit(t.Context(), set("first", "0")); err != nil { // a term's first commit reads which records exist
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stop := func() { cancel() }
	f.BeforeNext(func() { store.failing.Store(&stop) })
	f.Next(faulty.Delay)
	_, err = l.Commit(ctx, set("a", "1"))
	if !errors.Is(err, coordination.ErrOutcomeUnknown) || errors.Is(err, coordination.ErrUnavailable) || errors.Is(err, coordination.ErrConflict) {
		t.Errorf("Commit() = %v, want ErrOutcomeUnknown alone", err)
	}
}
