package backendtest

import (
	"strconv"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/regency-project/regency/coordination/backend"
)

// loaded is what one Load told.
type loaded struct {
	before, after backend.Entry
	entries       []backend.Entry
}

func (e *env) load(store backend.Store) loaded {
	e.Helper()
	var l loaded
	var err error
	begun := 0
	l.after, l.entries, err = store.Load(e.ctx, "chain", "records", func(entry backend.Entry) {
		if begun++; begun == 1 {
			l.before = entry
		}
	})
	if err != nil || begun == 0 {
		e.Fatalf("Load(chain, records) = %v, after %d calls of begun", err, begun)
	}
	return l
}

// testLoadUnderWrites: a Load is no older than its call, and whatever else is written meanwhile, no entry is older than what begun was told nor newer than what was
// returned.
func testLoadUnderWrites(e *env) {
	const keys, loads = 20, 30
	s, _ := e.session()
	other := e.another(e.h.Open)
	var written atomic.Int64 // number of the newest write that is known to be applied
	write := func(kind backend.OpKind, n int64) error {
		ops := []backend.Op{op(kind, "chain", strconv.FormatInt(n, 10))}
		for i := range keys {
			ops = append(ops, op(kind, "records/k"+strconv.Itoa(i), strconv.FormatInt(n, 10)))
		}
		_, err := s.Txn(e.ctx, nil, ops)
		if err == nil {
			written.Store(n)
		}
		return err
	}
	if err := write(backend.Create, 1); err != nil {
		e.Fatalf("Txn() = %v", err)
	}
	var g errgroup.Group
	var stop atomic.Bool
	g.Go(func() error {
		for n := int64(2); !stop.Load(); n++ {
			if err := write(backend.Set, n); err != nil {
				return err
			}
		}
		return nil
	})
	defer func() {
		stop.Store(true)
		if err := g.Wait(); err != nil { // a loaded machine: what was loaded is right all the same
			e.Logf("Txn() = %v", err)
		}
	}()
	number := func(entry backend.Entry) int64 {
		n, err := strconv.ParseInt(string(entry.Value), 10, 64)
		if err != nil || entry.Version == 0 {
			e.Errorf("Load() told %s %q at %d, want a number", entry.Key, entry.Value, entry.Version)
		}
		return n
	}
	for range loads {
		known := written.Load()
		l := e.load(other)
		from, to := number(l.before), number(l.after)
		if from < known || to < from || len(l.entries) != keys {
			e.Fatalf("Load() went from %d to %d with %d entries; %d was written before, want %d entries", from, to, len(l.entries), known, keys)
		}
		for _, entry := range l.entries {
			if n := number(entry); n < from || n > to {
				e.Errorf("Load() from %d to %d has %s of %d", from, to, entry.Key, n)
			}
		}
	}
}
