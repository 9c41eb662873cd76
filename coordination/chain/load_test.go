package chain_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/chain"
	"github.com/regency-project/regency/coordination/memory"
)

// longList is a store whose listing of the records takes as long as during, and shows the records that early selects as they were before it.
type longList struct {
	backend.Store
	during func()
	looks  atomic.Int64 // reads of the ring
	early  func(key string) bool
	atOnce bool // the listing is one instant, before during, but is told after it
}

func (s *longList) Load(ctx context.Context, key, dir string, begun func(backend.Entry)) (backend.Entry, []backend.Entry, error) {
	before, early, err := s.Store.Load(ctx, key, dir, begun)
	if err != nil {
		return backend.Entry{}, nil, err
	}
	s.during()
	if s.atOnce {
		return before, early, nil
	}
	after, late, err := s.Store.Load(ctx, key, dir, func(backend.Entry) {})
	if err != nil {
		return backend.Entry{}, nil, err
	}
	early = slices.DeleteFunc(early, func(e backend.Entry) bool { return !s.early(e.Key) })
	late = slices.DeleteFunc(late, func(e backend.Entry) bool { return s.early(e.Key) })
	return after, append(early, late...), nil
}

func (s *longList) GetMany(ctx context.Context, keys []string) ([]backend.Entry, error) {
	defer s.looks.Add(1)
	return s.Store.GetMany(ctx, keys)
}

// TestWatchBeginsUnderCommits: a watch begins, with a Snapshot and nothing before it, although the ring turns over several times while the records are listed; and
// the Snapshot is right at its number, whichever records the listing shows as they were at its beginning.
func TestWatchBeginsUnderCommits(t *testing.T) {
	for name, store := range map[string]*longList{
		"listed at the end":       {early: func(string) bool { return false }},
		"listed at the beginning": {early: func(string) bool { return true }},
		"listed in two parts":     {early: func(key string) bool { return key[len(key)-1]%2 == 0 }},
		"listed at one instant":   {atOnce: true},
	} {
		t.Run(name, func(t *testing.T) { testWatchBeginsUnderCommits(t, store) })
	}
}

func testWatchBeginsUnderCommits(t *testing.T, store *longList) {
	server := memory.NewServer(time.Minute)
	l := open(t, server, 1).lead(t)
	store.Store = server.Store()
	var last uint64
	store.during = func() {
		for i := range 5 * chain.RingSlots {
			before := store.looks.Load() // a look between the commit and the wait counts
			seq, err := l.Commit(t.Context(), append(set(fmt.Sprint(i%9), fmt.Sprint(i)), coordination.Mutation{Key: fmt.Sprint((i + 4) % 9)}))
			if err != nil {
				t.Errorf("Commit() = %v", err)
			}
			last = seq
			if i%(chain.RingSlots/4) != 0 {
				continue
			}
			for deadline := time.Now().Add(30 * time.Second); store.looks.Load() == before; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Error("nobody looks at the ring during the listing")
					return
				}
			}
		}
	}
	co := chain.New(store, chain.Options{})
	defer co.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var first coordination.Event
	_ = co.Watch(ctx, func(e coordination.Event) {
		if first.Kind == 0 {
			first = e
			cancel()
		}
	})
	if first.Kind != coordination.Snapshot || first.Seq != last {
		t.Fatalf("the first event is a %v at %d, want a snapshot at %d", first.Kind, first.Seq, last)
	}
	store.during, store.atOnce = func() {}, true
	want, _ := (&node{Coordinator: co}).snapshot(t)
	if fmt.Sprint(first.Records) != fmt.Sprint(want) {
		t.Errorf("the snapshot under commits holds %q, want %q", first.Records, want)
	}
}
