package storage

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// flusher makes appends durable, those of all logs together. Appends go to Pebble
// without a sync; whoever waits first then syncs for all that were appended before,
// on its own goroutine, while those who come later gather for the next sync. Pebble
// alone would sync for the first append of a burst and leave the rest to the next
// sync, and wake up to write a piece of its log for every append.
type flusher struct {
	store    *Store
	appended atomic.Int64  // number of the last append
	enough   atomic.Int64  // number of the append that ends a leader's wait
	full     chan struct{} // capacity 1: that append is there

	mu struct {
		sync.Mutex
		synced        int64 // number of the last append that is durable
		running, next *flush
		sizes         [2]int64 // of the last groups
		took          time.Duration
	}
}

// flush is one sync.
type flush struct {
	upTo int64 // number of the last append that it makes durable; set when it begins
	err  error // set when done is closed
	done chan struct{}
}

// A leader waits until its group is as large as the last ones were, but at most
// this part of what a sync takes, and this long.
const (
	gatherPart = 4
	gatherMax  = 500 * time.Microsecond
)

func newFlusher(s *Store) *flusher { return &flusher{store: s, full: make(chan struct{}, 1)} }

// add numbers an append that Pebble has taken.
func (f *flusher) add() int64 {
	n := f.appended.Add(1)
	if n == f.enough.Load() {
		select {
		case f.full <- struct{}{}:
		default:
		}
	}
	return n
}

// wait returns when append n is durable, or why it is not known to be.
func (f *flusher) wait(n int64) error {
	f.mu.Lock()
	running := f.mu.running
	switch {
	case n <= f.mu.synced:
		f.mu.Unlock()
		return f.store.failure.get()
	case running != nil && n <= running.upTo:
		f.mu.Unlock()
		<-running.done
		return running.err
	case f.mu.next != nil:
		next := f.mu.next
		f.mu.Unlock()
		<-next.done
		return next.err
	}
	g := &flush{done: make(chan struct{})}
	f.mu.next = g
	f.mu.Unlock()
	if running != nil {
		<-running.done
	}
	f.gather()
	f.lead(g)
	return g.err
}

// gather waits for the group to grow.
func (f *flusher) gather() {
	f.mu.Lock()
	want := f.mu.synced + max(f.mu.sizes[0], f.mu.sizes[1])
	limit := min(f.mu.took/gatherPart, gatherMax)
	f.mu.Unlock()
	select {
	case <-f.full: // of an earlier group
	default:
	}
	f.enough.Store(want)
	if f.appended.Load() >= want {
		return
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-f.full:
	case <-t.C:
	}
}

// lead syncs for what was appended so far.
func (f *flusher) lead(g *flush) {
	f.mu.Lock()
	g.upTo = f.appended.Load()
	f.mu.running, f.mu.next = g, nil
	f.mu.Unlock()
	began := time.Now()
	g.err = f.sync()
	f.mu.Lock()
	f.mu.running = nil
	if g.upTo <= f.mu.synced { // Close was faster
		g.err = f.store.failure.get()
	} else if g.err == nil {
		f.mu.sizes[0], f.mu.sizes[1] = g.upTo-f.mu.synced, f.mu.sizes[0]
		f.mu.synced, f.mu.took = g.upTo, time.Since(began)
	}
	f.mu.Unlock()
	close(g.done)
}

// settle is called when all that was appended is durable and nothing more will be.
func (f *flusher) settle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.synced = f.appended.Load()
}

// sync returns when all that Pebble has taken is durable. A failed write of the log
// is hidden from Pebble (walFS), so failure is where it is seen: it was recorded
// before the sync could end.
func (f *flusher) sync() error {
	if err := f.store.enter(); err != nil {
		return err
	}
	defer f.store.leave()
	if err := f.store.db.LogData(nil, pebble.Sync); err != nil {
		f.store.failure.set(err)
	}
	return f.store.failure.get()
}
