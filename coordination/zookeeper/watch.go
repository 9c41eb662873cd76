package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

// heartbeat is how often a watch proves that it is live. It leaves a request limit's time to backend.HeartbeatInterval.
const heartbeat = time.Second

var errNotWatching = errors.New("the connection's session is over")

// hub hands the events of one link to its watches. Watches of ZooKeeper fire once and are told to the library's connection, which drops none of the
// callbacks (its event channel drops what does not fit in six places).
type hub struct {
	mu struct {
		sync.Mutex
		paths map[string]*watched
	}
}

// watched is a path that somebody follows.
type watched struct {
	fired uint64 // events so far
	armed bool   // the service will tell of the next change
	wakes map[chan struct{}]struct{}
}

func newHub() *hub {
	h := &hub{}
	h.mu.paths = map[string]*watched{}
	return h
}

// event is called by the library and does not block.
func (h *hub) event(e zk.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.mu.paths[e.Path]
	if w == nil {
		return
	}
	w.fired++
	w.armed = false
	for wake := range w.wakes {
		select {
		case wake <- struct{}{}:
		default: // it was woken and has not looked yet
		}
	}
}

// follow wakes the receiver at events of the path until unfollow.
func (h *hub) follow(path string, wake chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.mu.paths[path]
	if w == nil {
		w = &watched{wakes: map[chan struct{}]struct{}{}}
		h.mu.paths[path] = w
	}
	w.wakes[wake] = struct{}{}
}

// unfollow keeps what is known of an armed path: arming it again would pile up channels in the library.
func (h *hub) unfollow(path string, wake chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w := h.mu.paths[path]; w != nil {
		delete(w.wakes, wake)
		if len(w.wakes) == 0 && !w.armed {
			delete(h.mu.paths, path)
		}
	}
}

// arm runs a read of a followed path: with a watch unless one is armed. An event that comes before the read returns belongs to its
// watch, which is then not armed any more.
func arm[T any](h *hub, path string, read func(watch bool) (T, error)) (T, error) {
	h.mu.Lock()
	w := h.mu.paths[path]
	fired, armed := w.fired, w.armed
	h.mu.Unlock()
	v, err := read(!armed)
	if err == nil && !armed {
		h.mu.Lock()
		w.armed = w.fired == fired
		h.mu.Unlock()
	}
	return v, err
}

// disarm makes the next read set a watch: the armed one is not to be trusted.
func (h *hub) disarm(path string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w := h.mu.paths[path]; w != nil {
		w.armed = false
	}
}

// Watch implements backend.Store. It begins with a barrier, so that a remade connection shows nothing older than what was told before; from there on
// the connection never goes back, and an event costs one read and no Sync.
func (s *Store) Watch(ctx context.Context, key string, fn func(backend.Entry)) error {
	verb := "watch " + key
	r, err := s.reader()
	if err != nil {
		return err
	}
	path := s.path(key)
	wake := make(chan struct{}, 1)
	r.hub.follow(path, wake)
	defer r.hub.unfollow(path, wake)
	var last backend.Entry
	return s.pump(ctx, verb, r, wake, func(proof bool) error {
		n, err := s.watchedRead(ctx, r, key)
		if err != nil {
			return err
		}
		s.seen.put(key, n.meta)
		if n.entry.Version != last.Version || proof {
			if proof && n.entry.Version != last.Version {
				r.hub.disarm(path) // the event was lost, or is on its way
			}
			last = n.entry
			fn(n.entry)
		}
		return nil
	})
}

// pump calls look at once, at every wake, and, with proof set, at every heartbeat after the service has proven to be in touch.
func (s *Store) pump(ctx context.Context, verb string, r *reader, wake <-chan struct{}, look func(proof bool) error) error {
	fail := func(err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return translate(verb, err)
	}
	if err := s.barrier(ctx, r.link); err != nil {
		return fail(err)
	}
	if err := look(true); err != nil {
		return fail(err)
	}
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	// Beside the loop: an event must not wait for the proof.
	var proving sync.WaitGroup
	defer proving.Wait()
	pctx, cancel := context.WithCancel(ctx)
	defer cancel()
	proven, busy := make(chan error, 1), false
	for {
		proof := false
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.link.over:
			return fail(errNotWatching)
		case <-wake:
		case <-ticker.C:
			if !busy {
				busy = true
				proving.Go(func() {
					// A follower that is cut off answers reads, but not this.
					_, err := call(pctx, r.link, func(c *zk.Conn) (string, error) { return c.Sync(s.cfg.Prefix) })
					proven <- err
				})
			}
			continue
		case err := <-proven:
			if busy = false; err != nil {
				return fail(err)
			}
			proof = true
		}
		if err := look(proof); err != nil {
			return fail(err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// watchedRead reads a followed key and sees to it that its next change is told.
func (s *Store) watchedRead(ctx context.Context, r *reader, key string) (node, error) {
	path := s.path(key)
	return arm(r.hub, path, func(watch bool) (node, error) {
		for {
			if !watch {
				return s.read(ctx, r.link, key)
			}
			type answer struct {
				data []byte
				stat *zk.Stat
			}
			a, err := call(ctx, r.link, func(c *zk.Conn) (answer, error) {
				data, stat, _, err := c.GetW(path)
				return answer{data, stat}, err
			})
			if err == nil {
				return decode(key, a.data, a.stat)
			}
			if !errors.Is(err, zk.ErrNoNode) {
				return node{}, err
			}
			found, err := call(ctx, r.link, func(c *zk.Conn) (bool, error) {
				found, _, _, err := c.ExistsW(path)
				return found, err
			})
			if err != nil {
				return node{}, err
			}
			if !found {
				return node{entry: backend.Entry{Key: key}}, nil
			}
			// It appeared in between, and its watch is set: read it.
			watch = false
		}
	})
}

// WatchDir implements backend.Store: a watch on the list of children, and one on each child.
func (s *Store) WatchDir(ctx context.Context, dir string, fn func([]backend.Entry)) error {
	verb := "watch directory " + dir
	r, err := s.reader()
	if err != nil {
		return err
	}
	path := s.path(dir)
	wake := make(chan struct{}, 1)
	r.hub.follow(path, wake)
	followed := map[string]bool{}
	defer func() {
		r.hub.unfollow(path, wake)
		for key := range followed {
			r.hub.unfollow(s.path(key), wake)
		}
	}()
	var last []backend.Entry
	return s.pump(ctx, verb, r, wake, func(proof bool) error {
		entries, err := s.watchedList(ctx, r, dir, wake, followed)
		if err != nil {
			return err
		}
		changed := !sameVersions(entries, last)
		if changed && proof {
			r.hub.disarm(path)
			for key := range followed {
				r.hub.disarm(s.path(key))
			}
		}
		if changed || proof {
			last = entries
			fn(entries)
		}
		return nil
	})
}

// watchedList reads a followed directory, follows its children and forgets those that are gone.
func (s *Store) watchedList(ctx context.Context, r *reader, dir string, wake chan struct{}, followed map[string]bool) ([]backend.Entry, error) {
	path := s.path(dir)
	names, err := arm(r.hub, path, func(watch bool) ([]string, error) {
		return call(ctx, r.link, func(c *zk.Conn) (names []string, err error) {
			if watch {
				names, _, _, err = c.ChildrenW(path)
			} else {
				names, _, err = c.Children(path)
			}
			return names, err
		})
	})
	if errors.Is(err, zk.ErrNoNode) {
		// Nobody has opened a session yet. A watch cannot be set on the children of nothing: the heartbeat will find them.
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	keys, err := childKeys(dir, names)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", coordination.ErrUnavailable, err)
	}
	gone := map[string]bool{}
	for key := range followed {
		gone[key] = true
	}
	for _, key := range keys {
		if !followed[key] {
			followed[key] = true
			r.hub.follow(s.path(key), wake)
		}
		delete(gone, key)
	}
	nodes, err := readAll(ctx, keys, func(ctx context.Context, key string) (node, error) { return s.watchedRead(ctx, r, key) })
	if err != nil {
		return nil, err
	}
	for key := range gone {
		delete(followed, key)
		r.hub.unfollow(s.path(key), wake)
	}
	return present(entriesOf(nodes)), nil
}

// sameVersions compares two lists regardless of order.
func sameVersions(a, b []backend.Entry) bool {
	if len(a) != len(b) {
		return false
	}
	versions := make(map[string]uint64, len(a))
	for _, e := range a {
		versions[e.Key] = e.Version
	}
	for _, e := range b {
		if v, ok := versions[e.Key]; !ok || v != e.Version {
			return false
		}
	}
	return true
}
