package chain_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/chain"
	"github.com/regency-project/regency/coordination/memory"
)

// cuttable is a store whose watches can be cut off from it.
type cuttable struct {
	backend.Store
	mu     sync.Mutex
	live   context.Context // watches run while it does
	cut    context.CancelFunc
	during func(context.Context) // of each listing of the records
}

func newCuttable(s backend.Store) *cuttable {
	c := &cuttable{Store: s, during: func(context.Context) {}}
	c.heal()
	return c
}

func (c *cuttable) heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live, c.cut = context.WithCancel(context.Background())
}

func (c *cuttable) Watch(ctx context.Context, key string, fn func(backend.Entry)) error {
	c.mu.Lock()
	live := c.live
	c.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(live, cancel)()
	return c.Store.Watch(ctx, key, func(e backend.Entry) {
		if live.Err() == nil {
			fn(e)
		}
	})
}

func (c *cuttable) Load(ctx context.Context, key, dir string, begun func(backend.Entry)) (backend.Entry, []backend.Entry, error) {
	e, err := c.Store.Get(ctx, key)
	if err != nil {
		return backend.Entry{}, nil, err
	}
	begun(e)
	c.during(ctx)
	return c.Store.Load(ctx, key, dir, func(backend.Entry) {})
}

// operator writes to the store around every fence.
type operator struct{ backend.Session }

func newOperator(t *testing.T, s *memory.Server) operator {
	t.Helper()
	x, err := s.Store().OpenSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return operator{x}
}

func (o operator) apply(t *testing.T, ops ...backend.Op) {
	t.Helper()
	if _, err := o.Txn(t.Context(), nil, ops); err != nil {
		t.Errorf("Txn() = %v", err)
	}
}

// rewrite makes the commits from st.Seq to the given one the newest of the chain: another history than the one that had them before.
func (o operator) rewrite(t *testing.T, st coordination.Status, to uint64) {
	t.Helper()
	for ; st.Seq <= to; st.Seq++ {
		_, ops, err := chain.Rewrite(st)
		if err != nil {
			t.Error(err)
			return
		}
		o.apply(t, ops...)
	}
}

func (n *node) status(t *testing.T) coordination.Status {
	t.Helper()
	st, err := n.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// TestWatchRefusesAStoreThatWasSetBackAndWentOn: past what the receiver has, by one commit and by several, under its own epoch and under a newer one.
func TestWatchRefusesAStoreThatWasSetBackAndWentOn(t *testing.T) {
	for name, c := range map[string]struct {
		past  uint64
		epoch int32
	}{"by one": {1, 0}, "by several": {20, 0}, "by one of a newer epoch": {1, 1}, "under an older epoch": {3, -1}} {
		t.Run(name, func(t *testing.T) {
			server := memory.NewServer(time.Hour)
			n := open(t, server, 1)
			l := n.lead(t)
			store := newCuttable(server.Store())
			co := chain.New(store, chain.Options{})
			defer co.Close()
			events, ended := make(chan coordination.Event, 256), make(chan error, 1)
			go func() { ended <- co.Watch(t.Context(), func(e coordination.Event) { events <- e }) }()
			await(t, events, "the snapshot")
			last := l.Seq()
			for range 10 {
				last, _ = l.Commit(t.Context(), set("k", "v"))
			}
			for e := await(t, events, "the delta"); e.Seq != last; {
				e = await(t, events, "the delta")
			}
			store.cut()
			st := n.status(t)
			st.Seq, st.Epoch = last-4, st.Epoch+c.epoch
			newOperator(t, server).rewrite(t, st, last+c.past)
			store.heal()
			err := await(t, ended, "the end of the watch")
			if !errors.Is(err, coordination.ErrLineage) {
				t.Errorf("Watch() = %v, want ErrLineage", err)
			}
			for len(events) > 0 {
				if e := <-events; e.Seq > last {
					t.Errorf("%v at %d came out of another history", e.Kind, e.Seq)
				}
			}
			if text := err.Error(); strings.Count(text, "request") < 2 {
				t.Errorf("Watch() = %q, want both commits named", text)
			}
		})
	}
}

// TestListingEndsWithTheLineage: a watch that still lists the records hears of a store that was set back; it does not wait for the listing.
func TestListingEndsWithTheLineage(t *testing.T) {
	server := memory.NewServer(time.Hour)
	n := open(t, server, 1)
	l := n.lead(t)
	store := newCuttable(server.Store())
	st := n.status(t)
	store.during = func(ctx context.Context) {
		other := st
		other.Lineage = uuid.NewString()
		newOperator(t, server).rewrite(t, other, other.Seq)
		<-ctx.Done()
	}
	co := chain.New(store, chain.Options{})
	defer co.Close()
	if _, err := co.Status(t.Context()); err != nil { // it has seen the chain
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- co.Watch(t.Context(), func(coordination.Event) {}) }()
	if err := await(t, ended, "the end of the watch"); !errors.Is(err, coordination.ErrLineage) {
		t.Errorf("Watch() = %v, want ErrLineage", err)
	}
	await(t, l.Done(), "the end of the term")
}

// TestSnapshotIsOfOneHistory: the chain is set back while a process that has seen nothing yet lists the records, so quickly that no look at the ring is made
// meanwhile. What was read before is of another history than what was read after.
func TestSnapshotIsOfOneHistory(t *testing.T) {
	server := memory.NewServer(time.Hour)
	n := open(t, server, 1)
	n.lead(t)
	st := n.status(t)
	store := newCuttable(server.Store())
	operator := newOperator(t, server)
	store.during = func(context.Context) { operator.rewrite(t, st, st.Seq) }
	co := chain.New(store, chain.Options{})
	defer co.Close()
	ended := make(chan error, 1)
	go func() {
		ended <- co.Watch(t.Context(), func(e coordination.Event) {
			if e.Kind == coordination.Snapshot {
				t.Errorf("a snapshot at %d of two histories", e.Seq)
			}
		})
	}()
	if err := await(t, ended, "the end of the watch"); !errors.Is(err, coordination.ErrLineage) {
		t.Errorf("Watch() = %v, want ErrLineage", err)
	}
}

// TestTermEndsWithTheLineage: a leader that commits nothing learns that the store is not the one that it leads.
func TestTermEndsWithTheLineage(t *testing.T) {
	for name, change := range map[string]func(*coordination.Status){
		"emptied":                    nil,
		"another":                    func(*coordination.Status) {},
		"another of a newer epoch":   func(st *coordination.Status) { st.Epoch, st.Seq = st.Epoch+5, st.Seq+5 },
		"another of a shorter chain": func(st *coordination.Status) { st.Epoch, st.Seq = 0, 0 },
	} {
		t.Run(name, func(t *testing.T) {
			server := memory.NewServer(time.Hour)
			n := open(t, server, 1)
			l := n.lead(t)
			o := newOperator(t, server)
			if change == nil {
				o.apply(t, backend.Op{Kind: backend.Delete, Key: "chain"})
			} else {
				st := n.status(t)
				st.Lineage = uuid.NewString()
				change(&st)
				o.rewrite(t, st, st.Seq)
			}
			await(t, l.Done(), "the end of the term")
			if err := l.Err(); !errors.Is(err, coordination.ErrLineage) || errors.Is(err, coordination.ErrFenced) {
				t.Errorf("Err() = %v, want ErrLineage alone", err)
			}
		})
	}
}
