package chain

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

// tracker knows which record keys exist at a sequence number, kept by one running Watch of the process, so that a new leader need not list them; and the newest
// chain record with its version, so that a claim need not read it.
type tracker struct {
	mu struct {
		sync.Mutex
		owner   *watcher // nil: nobody is tracking
		seq     uint64   // 0: not loaded yet
		keys    map[string]struct{}
		head    head
		version uint64        // of head; 0: none is known
		changed chan struct{} // closed when seq moves or the owner goes

		told    backend.Entry // the chain record as the owner was told it last
		tellNo  uint64        // counts what owners were told
		telling chan struct{} // closed at the next one, or when the owner goes
	}
}

// acquire makes w the tracking watch unless there is one.
func (t *tracker) acquire(w *watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.owner == nil {
		t.mu.owner, t.mu.seq, t.mu.keys, t.mu.version = w, 0, map[string]struct{}{}, 0
	}
}

func (t *tracker) release(w *watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.owner == w {
		t.mu.owner = nil
		t.wakeLocked()
		t.heardLocked()
	}
}

// tell notes what the tracking watch was told, before its receiver hears of it.
func (t *tracker) tell(w *watcher, e backend.Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.owner == w {
		t.mu.told = e
		t.mu.tellNo++
		t.heardLocked()
	}
}

func (t *tracker) heardLocked() {
	if t.mu.telling != nil {
		close(t.mu.telling)
		t.mu.telling = nil
	}
}

// heard returns what the tracking watch was told last and its number; telling says when to ask again. tracking is false when there is no such watch.
func (t *tracker) heard() (e backend.Entry, no uint64, tracking bool, telling <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.telling == nil {
		t.mu.telling = make(chan struct{})
	}
	return t.mu.told, t.mu.tellNo, t.mu.owner != nil, t.mu.telling
}

// listen calls fn with what the tracking watch is told after number n until there is no such watch, or it was told nothing for quietLimit, or ctx ended. Several
// changes may be told as one. It returns the number of the last.
func (t *tracker) listen(ctx context.Context, n uint64, fn func(backend.Entry)) uint64 {
	quiet := time.NewTimer(quietLimit)
	defer quiet.Stop()
	for {
		e, no, tracking, telling := t.heard()
		switch {
		case !tracking:
			return n
		case no != n:
			n = no
			fn(e)
			quiet.Reset(quietLimit)
			continue
		}
		select {
		case <-telling:
		case <-quiet.C:
			return n
		case <-ctx.Done():
			return n
		}
	}
}

// await returns when a tracking watch was told something after number n, or ctx ended.
func (t *tracker) await(ctx context.Context, n uint64) {
	for {
		_, no, tracking, telling := t.heard()
		if tracking && no != n {
			return
		}
		select {
		case <-telling:
		case <-ctx.Done():
			return
		}
	}
}

// saw notes the chain record as the tracking watch was told it.
func (t *tracker) saw(w *watcher, h head, version uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.owner == w {
		h.mutations = nil
		t.mu.head, t.mu.version = h, version
	}
}

// newest is the chain record that the tracking watch saw last. It may be outdated: a transaction that is guarded on the version finds out.
func (t *tracker) newest() (h head, version uint64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.head, t.mu.version, t.mu.owner != nil && t.mu.version != 0
}

// load replaces the keys: a Snapshot.
func (t *tracker) load(w *watcher, seq uint64, records map[string][]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.owner != w {
		return
	}
	t.mu.seq, t.mu.keys = seq, make(map[string]struct{}, len(records))
	for k := range records {
		t.mu.keys[k] = struct{}{}
	}
	t.wakeLocked()
}

// advance applies a Delta.
func (t *tracker) advance(w *watcher, seq uint64, ms []coordination.Mutation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.owner != w {
		return
	}
	t.mu.seq = seq
	for _, m := range ms {
		if m.Value == nil {
			delete(t.mu.keys, m.Key)
		} else {
			t.mu.keys[m.Key] = struct{}{}
		}
	}
	t.wakeLocked()
}

func (t *tracker) wakeLocked() {
	if t.mu.changed != nil {
		close(t.mu.changed)
		t.mu.changed = nil
	}
}

// at returns a copy of the keys once the tracking watch has reached seq; until then changed tells when to ask again. tracking is false when no watch has loaded.
func (t *tracker) at(seq uint64) (keys map[string]struct{}, tracking bool, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.owner == nil || t.mu.seq == 0 {
		return nil, false, nil
	}
	if t.mu.seq >= seq {
		return maps.Clone(t.mu.keys), true, nil
	}
	if t.mu.changed == nil {
		t.mu.changed = make(chan struct{})
	}
	return nil, true, t.mu.changed
}
