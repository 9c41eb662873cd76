// Package zookeeper is the ZooKeeper backend of the coordination.
//
// # Layout
//
//	PREFIX/chain, ring/NN, records/KEY   persistent nodes
//	PREFIX/controller, brokers/ID        ephemeral nodes; data: 'E', the name of their guard node (32 hex digits), value
//	PREFIX/guards/NAME                   ephemeral, empty: lives exactly as long as the one creation of an ephemeral node that names it
//	PREFIX/sessions/SID                  ephemeral, empty: written by each renewal and each transaction of that session
//	PREFIX/barrier                       persistent, empty: written before a linearizable read
//
// # Versions
//
// The version of a persistent key is its node's mzxid, of an ephemeral key its czxid: both are unique in the life of the ensemble, which dataVersion is
// not (it restarts when a node is made again). A transaction of ZooKeeper can check only dataVersion and existence. So a guard on a
// persistent key is translated to the dataVersion that was seen together with that mzxid; this is exact for a key that is never deleted,
// as the chain record is. A guard on an ephemeral key, which is deleted and made again all the time and always has dataVersion 0, checks that
// its guard node exists: that name is never used twice.
//
// Every transaction ends with a write to its session's node. The answer to that write names the transaction's zxid, which is the version of all
// that it wrote (the answer to a create names none), and the node proves that the session is the one meant.
//
// # Reads
//
// Sync followed by a read is not linearizable: a deposed leader answers Sync until it notices, for up to syncLimit ticks. A read here
// follows a committed write of its own (PREFIX/barrier) on the same connection, and a connection never goes back in time, even to another server.
package zookeeper

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"
	"golang.org/x/sync/errgroup"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

const (
	// maxRequest keeps below the server's default jute.maxbuffer (1 MiB − 1), with room for what the leader adds to a proposal.
	maxRequest = 1_000_000
	// maxResponse bounds an answer; the list of 100 000 children must fit.
	maxResponse = 16 << 20
	// parallelReads bounds the reads of one List or GetMany that wait for their answers at the same time.
	parallelReads = 64
)

// Directories of our own beside backend.Directories.
const (
	guardDir   = "guards"
	sessionDir = "sessions"
	barrierKey = "barrier"
)

// Store implements backend.Store.
type Store struct {
	cfg    Config
	tls    *tls.Config
	acl    []zk.ACL
	logger *slog.Logger
	seen   *metaCache

	mu struct {
		sync.Mutex
		current *reader // remade when its session is over
		closed  bool
	}
}

// reader is the connection for reads and watches that belong to no session of the contract.
type reader struct {
	link *link
	hub  *hub
}

// NewStore checks the configuration and reads the files that it names; it connects at first use.
func NewStore(cfg Config, logger *slog.Logger) (backend.Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("zookeeper: %w", err)
	}
	cfg, tlsConfig, err := cfg.withDefaults().load()
	if err != nil {
		return nil, fmt.Errorf("zookeeper: %w", err)
	}
	s := &Store{cfg: cfg, tls: tlsConfig, acl: zk.WorldACL(zk.PermAll), logger: logger, seen: newMetaCache()}
	if cfg.User != "" {
		s.acl = zk.DigestACL(zk.PermAll, cfg.User, string(cfg.Password))
	}
	return s, nil
}

// Capabilities: the limits follow from jute.maxbuffer, each value being sent twice (record and ring). What the ensemble grants as a session
// is its configuration's secret until one is opened: without a tick of ours, the shipped one's limits are told.
func (s *Store) Capabilities() coordination.Capabilities {
	tick := s.cfg.Tick
	if tick == 0 {
		tick = 2 * time.Second
	}
	return coordination.Capabilities{
		Backend: "zookeeper", MinTimeout: 2 * tick, Granularity: tick,
		ProvableDeadline: true, CrossProcess: true, Persistent: true,
		MaxCommitBytes: 400 << 10, MaxCommitMutations: 500, // more would hold up a renewal behind them
	}
}

func (s *Store) reader() (*reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return nil, coordination.ErrClosed
	}
	if r := s.mu.current; r != nil {
		select {
		case <-r.link.over:
		default:
			if !r.link.shutOut() {
				return r, nil
			}
			r.link.end(false)
		}
	}
	h := newHub()
	l, err := newLink(s.cfg, s.tls, s.logger, false, h.event)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", coordination.ErrUnavailable, err)
	}
	s.mu.current = &reader{link: l, hub: h}
	return s.mu.current, nil
}

// authenticate gives the link our credentials, once; the library repeats them at every reconnection.
func (s *Store) authenticate(ctx context.Context, l *link) error {
	if s.cfg.User == "" {
		return nil
	}
	l.auth.Lock()
	defer l.auth.Unlock()
	if l.auth.done {
		return nil
	}
	_, err := call(ctx, l, func(c *zk.Conn) (struct{}, error) {
		return struct{}{}, c.AddAuth("digest", []byte(s.cfg.User+":"+string(s.cfg.Password)))
	})
	l.auth.done = err == nil
	return err
}

// barrier makes every later read on the link's connection at least as new as this call.
func (s *Store) barrier(ctx context.Context, l *link) error {
	if err := s.authenticate(ctx, l); err != nil {
		return err
	}
	_, err := call(ctx, l, func(c *zk.Conn) (*zk.Stat, error) { return c.Set(s.path(barrierKey), nil, -1) })
	if !errors.Is(err, zk.ErrNoNode) {
		return err
	}
	// Nobody has opened a session here yet, so there is nothing that a deposed leader could show in an older state but its absence.
	_, err = call(ctx, l, func(c *zk.Conn) (string, error) { return c.Sync(s.path(barrierKey)) })
	return err
}

// node is what one read of a key says.
type node struct {
	entry backend.Entry
	meta  meta
}

// decode turns a node's data and stat into an entry.
func decode(key string, data []byte, stat *zk.Stat) (node, error) {
	if stat.EphemeralOwner == 0 {
		return node{
			entry: backend.Entry{Key: key, Value: data, Version: uint64(stat.Mzxid)},
			meta:  meta{version: uint64(stat.Mzxid), dataVersion: stat.Version},
		}, nil
	}
	if len(data) < 1+guardNameLen || data[0] != 'E' {
		return node{}, fmt.Errorf("%w: node of %q is an ephemeral that is not ours", coordination.ErrUnavailable, key)
	}
	return node{
		entry: backend.Entry{Key: key, Value: data[1+guardNameLen:], Version: uint64(stat.Czxid)},
		meta:  meta{version: uint64(stat.Czxid), guard: string(data[1 : 1+guardNameLen])},
	}, nil
}

// read reads one key with the given call (Get, or GetW through the hub).
func (s *Store) read(ctx context.Context, l *link, key string) (node, error) {
	type answer struct {
		data []byte
		stat *zk.Stat
	}
	a, err := call(ctx, l, func(c *zk.Conn) (answer, error) {
		data, stat, err := c.Get(s.path(key))
		return answer{data, stat}, err
	})
	if errors.Is(err, zk.ErrNoNode) {
		return node{entry: backend.Entry{Key: key}}, nil
	}
	if err != nil {
		return node{}, err
	}
	return decode(key, a.data, a.stat)
}

// repeat runs a linearizable read: fn after a barrier. When nothing answers in time it is tried again, once for each server at most, since
// a silent server is left for the next one.
func (s *Store) repeat(ctx context.Context, verb string, fn func(*reader) error) error {
	var last error
	for range s.cfg.Hosts {
		r, err := s.reader()
		if err != nil {
			return err
		}
		if err = s.barrier(ctx, r.link); err == nil {
			err = fn(r)
		}
		if err == nil {
			return nil
		}
		last = translate(verb, err)
		if ctx.Err() != nil || !errors.Is(err, errNoAnswer) && !errors.Is(err, errNotSent) && !errors.Is(err, zk.ErrConnectionClosed) {
			break
		}
	}
	return last
}

// Get implements backend.Store.
func (s *Store) Get(ctx context.Context, key string) (backend.Entry, error) {
	n, err := s.getNode(ctx, key)
	return n.entry, err
}

func (s *Store) getNode(ctx context.Context, key string) (n node, err error) {
	err = s.repeat(ctx, "get "+key, func(r *reader) (err error) {
		n, err = s.read(ctx, r.link, key)
		return err
	})
	if err == nil {
		s.seen.put(key, n.meta)
	}
	return n, err
}

// exists says whether the service has a node, linearizable.
func (s *Store) exists(ctx context.Context, path string) (found bool, err error) {
	err = s.repeat(ctx, "exists "+path, func(r *reader) (err error) {
		found, err = call(ctx, r.link, func(c *zk.Conn) (bool, error) {
			found, _, err := c.Exists(path)
			return found, err
		})
		return err
	})
	return found, err
}

// GetMany implements backend.Store.
func (s *Store) GetMany(ctx context.Context, keys []string) ([]backend.Entry, error) {
	var nodes []node
	err := s.repeat(ctx, "get many", func(r *reader) (err error) {
		nodes, err = readAll(ctx, keys, func(ctx context.Context, key string) (node, error) { return s.read(ctx, r.link, key) })
		return err
	})
	if err != nil {
		return nil, err
	}
	for i, n := range nodes {
		// What a guard would not believe has no place in the cache, from which it would drive what one does.
		if n.meta.version == 0 || n.meta.ephemeral() || !deletable(keys[i]) {
			s.seen.put(keys[i], n.meta)
		}
	}
	return entriesOf(nodes), nil
}

// readAll pipelines the reads: as many as parallelReads wait for their answers at the same time.
func readAll(ctx context.Context, keys []string, read func(context.Context, string) (node, error)) ([]node, error) {
	nodes := make([]node, len(keys))
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range min(parallelReads, len(keys)) {
		g.Go(func() error {
			for i := next.Add(1) - 1; i < int64(len(keys)); i = next.Add(1) - 1 {
				n, err := read(ctx, keys[i])
				if err != nil {
					return err
				}
				nodes[i] = n
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return nodes, nil
}

func entriesOf(nodes []node) []backend.Entry {
	entries := make([]backend.Entry, len(nodes))
	for i, n := range nodes {
		entries[i] = n.entry
	}
	return entries
}

// List implements backend.Store.
func (s *Store) List(ctx context.Context, dir string) (entries []backend.Entry, err error) {
	err = s.repeat(ctx, "list "+dir, func(r *reader) (err error) {
		entries, err = s.listOnce(ctx, r.link, dir)
		return err
	})
	return entries, err
}

// Load implements backend.Store. All reads follow one barrier, on one connection, which never goes back.
func (s *Store) Load(ctx context.Context, key, dir string, begun func(backend.Entry)) (after backend.Entry, entries []backend.Entry, err error) {
	var n node
	err = s.repeat(ctx, "load "+dir, func(r *reader) (err error) {
		if n, err = s.read(ctx, r.link, key); err != nil {
			return err
		}
		begun(n.entry)
		if entries, err = s.listOnce(ctx, r.link, dir); err != nil {
			return err
		}
		n, err = s.read(ctx, r.link, key)
		return err
	})
	if err != nil {
		return backend.Entry{}, nil, err
	}
	s.seen.put(key, n.meta)
	return n.entry, entries, nil
}

func (s *Store) listOnce(ctx context.Context, l *link, dir string) ([]backend.Entry, error) {
	names, err := call(ctx, l, func(c *zk.Conn) ([]string, error) {
		names, _, err := c.Children(s.path(dir))
		return names, err
	})
	if errors.Is(err, zk.ErrNoNode) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	keys, err := childKeys(dir, names)
	if err != nil {
		return nil, err
	}
	nodes, err := readAll(ctx, keys, func(ctx context.Context, key string) (node, error) { return s.read(ctx, l, key) })
	return present(entriesOf(nodes)), err
}

func childKeys(dir string, names []string) ([]string, error) {
	keys := make([]string, len(names))
	for i, name := range names {
		base, err := unescape(name)
		if err != nil {
			return nil, err
		}
		keys[i] = dir + "/" + base
	}
	return keys, nil
}

// present drops the entries of keys that vanished between the listing and the reading.
func present(entries []backend.Entry) []backend.Entry {
	kept := entries[:0]
	for _, e := range entries {
		if e.Version != 0 {
			kept = append(kept, e)
		}
	}
	return kept
}

// makeDirectories creates what is missing of the prefix and of the directories below it, the sessions' last. Any number of processes may race.
func (s *Store) makeDirectories(ctx context.Context, l *link) error {
	create := func(path string, acl []zk.ACL) error {
		_, err := call(ctx, l, func(c *zk.Conn) (string, error) {
			// Asking first keeps a start from writing, and from needing the right to create in a parent that is not ours.
			if found, _, err := c.Exists(path); found || err != nil {
				return path, err
			}
			return c.Create(path, nil, 0, acl)
		})
		if errors.Is(err, zk.ErrNodeExists) {
			return nil
		}
		return err
	}
	parents := strings.Split(s.cfg.Prefix[1:], "/")
	for i := range parents[:len(parents)-1] {
		if err := create("/"+strings.Join(parents[:i+1], "/"), zk.WorldACL(zk.PermAll)); err != nil {
			return err
		}
	}
	if err := create(s.cfg.Prefix, s.acl); err != nil {
		return err
	}
	for _, dir := range slices.Concat([]string{guardDir, barrierKey}, backend.Directories, []string{sessionDir}) {
		if err := create(s.path(dir), s.acl); err != nil {
			return err
		}
	}
	return nil
}

// Close implements backend.Store. Sessions that were opened are not ended.
func (s *Store) Close() error {
	s.mu.Lock()
	r := s.mu.current
	s.mu.closed, s.mu.current = true, nil
	s.mu.Unlock()
	if r != nil {
		r.link.end(false)
	}
	return nil
}

// learn reads keys without a barrier, into known.
func (s *Session) learn(ctx context.Context, keys []string, known map[string]meta) error {
	nodes := make([]node, len(keys))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelReads)
	for i, key := range keys {
		g.Go(func() error {
			n, err := s.store.read(ctx, s.link, key)
			nodes[i] = n
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return translate("look up what is to be deleted", err)
	}
	for i, key := range keys {
		known[key] = nodes[i].meta
	}
	return nil
}
