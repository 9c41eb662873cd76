package storage

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// wantNoKeys looks for what a deleted log has left.
func wantNoKeys(t *testing.T, s *Store, id uint64) {
	t.Helper()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefixKey(id, 0), UpperBound: logEnd(id)})
	if err != nil {
		t.Fatal(err)
	}
	for it.First(); it.Valid(); it.Next() {
		t.Errorf("key %x of a deleted log", it.Key())
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestDeleteLogDropsDamage holds DeleteLog in its commit and lets readers find damage
// that they came upon before, during and after it: nobody is to rebuild that log.
func TestDeleteLogDropsDamage(t *testing.T) {
	fs := &gateFS{FS: vfs.NewMem()}
	o := memOptions(fs)
	reports := make(chan *DamageError, 9)
	o.OnDamage = func(d *DamageError) { reports <- d }
	s := mustOpen(t, o)
	defer mustClose(t, s)
	l := mustLog(t, s, 0)
	mustAppend(t, l, 0, batchOf(1, 10, 0))
	var readers sync.WaitGroup
	var ended atomic.Int32
	reader := func(began chan<- struct{}, until <-chan struct{}) {
		readers.Go(func() {
			err := l.view("test", func() error {
				close(began)
				<-until
				return at(0, ErrCorrupt)
			})
			ended.Add(1)
			if !errors.Is(err, ErrLogDeleted) && !errors.Is(err, errOvertaken) {
				t.Errorf("view = %v, want ErrLogDeleted or errOvertaken", err)
			}
		})
	}
	early, before, during := make(chan struct{}), make(chan struct{}), make(chan struct{})
	committing, after := make(chan struct{}), make(chan struct{})
	reader(early, committing)
	reader(before, after)
	<-early
	<-before
	fs.gate.Lock()
	syncs := fs.syncs.Load()
	deleted := make(chan error, 1)
	go func() { deleted <- s.DeleteLog(topicA, 0) }()
	until(t, "DeleteLog has the log", func() bool {
		if l.write.TryLock() {
			l.write.Unlock()
			return false
		}
		return fs.syncs.Load() > syncs
	})
	close(committing)
	until(t, "a reader finds damage", func() bool { return ended.Load() > 0 || l.Damage() != nil })
	reader(during, after)
	<-during
	fs.gate.Unlock()
	if err := <-deleted; err != nil {
		t.Fatal(err)
	}
	close(after)
	readers.Wait()
	wantNoKeys(t, s, l.id)
	if d := s.Damaged(); len(d) > 0 || len(reports) > 0 {
		t.Errorf("Damaged = %v, %d reports; want none", d, len(reports))
	}
	if fresh := mustLog(t, s, 0); fresh == l || fresh.Damage() != nil || fresh.End() != 0 {
		t.Errorf("the log made anew: end %d, damage %v", fresh.End(), fresh.Damage())
	}
}

// TestDeleteLogBeforeTheMark finds damage, and deletes the log before the mark is stored.
func TestDeleteLogBeforeTheMark(t *testing.T) {
	s := mustOpen(t, memOptions(vfs.NewMem()))
	defer mustClose(t, s)
	l := mustLog(t, s, 0)
	mustAppend(t, l, 0, batchOf(1, 10, 0))
	first, err := l.noteDamage(l.generation(), at(0, ErrCorrupt))
	if first == nil || !errors.Is(err, ErrCorrupt) {
		t.Fatalf("noteDamage = %v, %v; want the damage", first, err)
	}
	if err := s.DeleteLog(topicA, 0); err != nil {
		t.Fatal(err)
	}
	l.write.Lock()
	l.persistDamage(first)
	l.write.Unlock()
	wantNoKeys(t, s, l.id)
	if d := s.Damaged(); len(d) > 0 {
		t.Errorf("Damaged = %v, want none", d)
	}
}

// TestDeleteLogBesideDamage deletes logs that are found damaged at the same time: the
// mark of a log that is gone must not stay, nor be written afterwards.
func TestDeleteLogBesideDamage(t *testing.T) {
	files := vfs.NewMem()
	s := mustOpen(t, memOptions(files))
	for range 200 {
		l := mustLog(t, s, 0)
		mustAppend(t, l, 0, batchOf(1, 10, 0))
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { _ = l.view("test", func() error { return at(0, ErrCorrupt) }) })
		}
		wg.Go(func() {
			if err := s.DeleteLog(topicA, 0); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		wantNoKeys(t, s, l.id)
		if t.Failed() {
			break
		}
	}
	if d := s.Damaged(); len(d) > 0 {
		t.Errorf("Damaged = %v, want none", d)
	}
	mustClose(t, s)
	if found, _ := faults(t, files); len(found) > 0 {
		t.Errorf("faults: %v", found)
	}
}
