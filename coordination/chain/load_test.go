package chain_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/chain"
	"github.com/regency-project/regency/coordination/memory"
)

// longList is a store whose listing of the records takes as long as during.
type longList struct {
	backend.Store
	during func()
	looks  atomic.Int64 // reads of the ring
}

func (s *longList) List(ctx context.Context, dir string) ([]backend.Entry, error) {
	if dir == "records" {
		s.during()
	}
	return s.Store.List(ctx, dir)
}

func (s *longList) GetMany(ctx context.Context, keys []string) ([]backend.Entry, error) {
	defer s.looks.Add(1)
	return s.Store.GetMany(ctx, keys)
}

// TestWatchBeginsUnderCommits: a watch begins, with a Snapshot and nothing before it, although the ring turns over several times while the records are listed.
func TestWatchBeginsUnderCommits(t *testing.T) {
	server := memory.NewServer(time.Minute)
	l := open(t, server, 1).lead(t)
	store := &longList{Store: server.Store()}
	var last uint64
	store.during = func() {
		for i := range 5 * chain.RingSlots {
			seq, err := l.Commit(t.Context(), append(set(fmt.Sprint(i%9), fmt.Sprint(i)), coordination.Mutation{Key: fmt.Sprint((i + 4) % 9)}))
			if err != nil {
				t.Errorf("Commit() = %v", err)
			}
			last = seq
			if i%(chain.RingSlots/4) != 0 {
				continue
			}
			for before, deadline := store.looks.Load(), time.Now().Add(5*time.Second); store.looks.Load() == before; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Error("nobody looks at the ring during the listing")
					return
				}
			}
		}
	}
	co := chain.New(store, chain.Options{})
	defer co.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
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
	store.during = func() {}
	want, _ := (&node{Coordinator: co}).snapshot(t)
	if fmt.Sprint(first.Records) != fmt.Sprint(want) {
		t.Errorf("the snapshot under commits holds %q, want %q", first.Records, want)
	}
}
