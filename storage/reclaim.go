package storage

import (
	"context"
	"errors"
	"sync"
	"time"
)

// reclaimer gives the space of deleted ranges back to the file system. A range
// deletion takes no time but frees nothing: with values apart from keys, Pebble
// learns that a blob is garbage when it compacts the keys that pointed into it.
type reclaimer struct {
	wake chan struct{} // capacity 1: one wake-up stands for all that is pending
	mu   struct {
		sync.Mutex
		pending map[string]span // by first key, so that one log's spans merge
	}
}

type span struct{ from, to []byte }

func newReclaimer() *reclaimer {
	r := &reclaimer{wake: make(chan struct{}, 1)}
	r.mu.pending = make(map[string]span)
	return r
}

// add asks for [from, to). It does not block.
func (r *reclaimer) add(from, to []byte) {
	r.mu.Lock()
	if old, ok := r.mu.pending[string(from)]; !ok || string(old.to) < string(to) {
		r.mu.pending[string(from)] = span{from, to}
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reclaimer) take() map[string]span {
	r.mu.Lock()
	defer r.mu.Unlock()
	spans := r.mu.pending
	r.mu.pending = make(map[string]span)
	return spans
}

func (r *reclaimer) run(ctx context.Context, s *Store) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		spans, began := r.take(), time.Now()
		for _, sp := range spans {
			if ctx.Err() != nil || s.failure.get() != nil {
				return
			}
			// run ends before db is closed, so that the gate is not needed, and a long
			// compaction does not keep Close from being called.
			if err := s.db.Compact(ctx, sp.from, sp.to, false); err != nil && !errors.Is(err, context.Canceled) {
				s.log.Warn("compaction of deleted data failed, its space stays in use", "error", err)
			}
		}
		s.log.Debug("space of deleted data reclaimed", "ranges", len(spans), "took", time.Since(began))
	}
}
