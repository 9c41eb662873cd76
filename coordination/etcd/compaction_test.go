package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/chain"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/link"
	"github.com/regency-project/regency/coordination/profile"
)

// TestCompactedWhileCut: the service forgets what a watch missed while it was cut off. The watch goes on with the commits that our ring holds, or, past those, with
// Resync and a Snapshot in which deletions show.
func TestCompactedWhileCut(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real ensemble")
	}
	e := ensembletest.Start(t, profile.Etcd, profile.Tuned)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	raw, err := clientv3.New(clientv3.Config{Endpoints: e.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	var links []*link.Link
	var addresses []string
	for _, target := range e.Endpoints() {
		l, err := link.Listen(target, link.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		links, addresses = append(links, l), append(addresses, l.Addr())
	}
	for name, commits := range map[string]int{"within the ring": 5, "past the ring": chain.RingSlots + 5} {
		url := ensembletest.URL(t, e, fmt.Sprintf("compacted-%d", commits))
		l, end := lead(ctx, t, url)
		defer end()
		commit := func(m ...coordination.Mutation) uint64 {
			t.Helper()
			seq, err := l.Commit(ctx, m)
			for errors.Is(err, coordination.ErrUnavailable) && ctx.Err() == nil { // suspect on a loaded machine
				seq, err = l.Commit(ctx, m)
			}
			if err != nil {
				t.Fatalf("Commit() = %v", err)
			}
			return seq
		}
		w := follow(ctx, t, ensembletest.Via(url, addresses))
		w.await(t, commit(coordination.Mutation{Key: "doomed", Value: []byte("1")}))
		for _, l := range links {
			l.Cut()
		}
		last := commit(coordination.Mutation{Key: "doomed"})
		for i := range commits {
			last = commit(coordination.Mutation{Key: "n", Value: fmt.Append(nil, i)})
		}
		head, err := raw.Get(ctx, "x")
		if err == nil {
			_, err = raw.Compact(ctx, head.Header.Revision, clientv3.WithCompactPhysical())
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range links {
			l.Heal()
		}
		w.await(t, last)
		records, resyncs := w.state()
		if want := map[string]string{"n": fmt.Sprint(commits - 1)}; !maps.Equal(records, want) {
			t.Errorf("%s: the watch holds %v, want %v", name, records, want)
		}
		if want := commits / chain.RingSlots; resyncs != want {
			t.Errorf("%s: %d resyncs, want %d", name, resyncs, want)
		}
	}
}

// lead is a process that leads the cluster until end is called.
func lead(ctx context.Context, t *testing.T, url string) (l coordination.Leadership, end func()) {
	t.Helper()
	co, err := open(ctx, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := co.OpenSession(ctx, coordination.SessionOptions{})
	if err == nil {
		_, err = s.Bootstrap(ctx)
	}
	if err == nil {
		_, err = s.Register(ctx, coordination.Registration{ID: 1, DirectoryUUID: "d"})
	}
	if err == nil {
		l, err = s.Campaign(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l, func() { _ = s.Close(ctx); _ = co.Close() }
}

// follower holds what a watch has told.
type follower struct {
	mu      sync.Mutex
	seq     uint64
	resyncs int
	records map[string]string
}

func follow(ctx context.Context, t *testing.T, url string) *follower {
	t.Helper()
	co, err := open(ctx, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{records: map[string]string{}}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = co.Watch(ctx, f.event) })
	t.Cleanup(func() { cancel(); running.Wait(); _ = co.Close() })
	return f
}

func (f *follower) event(e coordination.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.Kind == coordination.Resync {
		f.resyncs++
		return
	}
	f.seq = e.Seq
	if e.Kind == coordination.Snapshot {
		f.records = map[string]string{}
		for k, v := range e.Records {
			f.records[k] = string(v)
		}
	}
	for _, m := range e.Mutations {
		if m.Value == nil {
			delete(f.records, m.Key)
		} else {
			f.records[m.Key] = string(m.Value)
		}
	}
}

func (f *follower) await(t *testing.T, seq uint64) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		f.mu.Lock()
		at := f.seq
		f.mu.Unlock()
		if at >= seq {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the watch is at %d, want %d", at, seq)
		}
	}
}

func (f *follower) state() (map[string]string, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.records), f.resyncs
}
