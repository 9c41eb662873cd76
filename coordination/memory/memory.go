// Package memory is coordination inside one process: the reference model of the contract, and what tests run on. Its state ends with the process, so
// it is refused for a cluster of more than one.
package memory

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/chain"
)

// Server is the service: one store that several coordinators of the process share.
type Server struct {
	timeout time.Duration
	mu      struct {
		sync.Mutex
		version  uint64
		session  uint64
		entries  map[string]entry
		sessions map[uint64]*session
		changed  chan struct{} // closed and replaced at every write
		down     bool
	}
}

type entry struct {
	value   []byte
	version uint64
	owner   uint64 // session of an ephemeral entry, 0 otherwise
}

// NewServer makes an empty store whose sessions last for timeout after their last renewal.
func NewServer(timeout time.Duration) *Server {
	s := &Server{timeout: timeout}
	s.mu.entries = map[string]entry{}
	s.mu.sessions = map[uint64]*session{}
	s.mu.changed = make(chan struct{})
	return s
}

// Open returns a coordinator on the server.
func (s *Server) Open(log *slog.Logger) coordination.Coordinator {
	return chain.New(s.Store(), chain.Options{Logger: log})
}

// Store returns the server as a backend.
func (s *Server) Store() backend.Store { return &store{s: s, closed: make(chan struct{})} }

// SetDown makes the service unreachable, or reachable again. Sessions do not expire while it is down, as with a real service that lost its quorum.
func (s *Server) SetDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.down = down
	for _, x := range s.mu.sessions {
		if down {
			x.timer.Stop()
		} else {
			x.prolongLocked()
		}
	}
	s.wakeLocked()
}

func (s *Server) wakeLocked() {
	close(s.mu.changed)
	s.mu.changed = make(chan struct{})
}

// expire is called by the session's timer. Between its firing and the lock the session may have been renewed.
func (s *Server) expire(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.mu.sessions[id]; x != nil && !s.mu.down && !time.Now().Before(x.until) {
		s.endLocked(id)
	}
}

func (s *Server) endLocked(id uint64) {
	x := s.mu.sessions[id]
	if x == nil {
		return
	}
	x.timer.Stop()
	delete(s.mu.sessions, id)
	for k, e := range s.mu.entries {
		if e.owner == id {
			delete(s.mu.entries, k)
		}
	}
	s.wakeLocked()
}

// The model has limits too, so that nothing comes to need a service without any.
const (
	maxCommitBytes, maxCommitMutations = 1 << 20, 1000
	// maxTxnBytes and maxTxnOps leave room for a commit's copy in the ring and the chain record.
	maxTxnBytes, maxTxnOps = 2*maxCommitBytes + 256<<10, maxCommitMutations + 8
)

type store struct {
	s      *Server
	closed chan struct{}
	once   sync.Once
}

var (
	_ backend.Store   = (*store)(nil)
	_ backend.Session = (*session)(nil)
)

func (*store) Capabilities() coordination.Capabilities {
	return coordination.Capabilities{
		Backend: "memory", MinTimeout: time.Millisecond, Granularity: time.Nanosecond, ProvableDeadline: true,
		MaxCommitBytes: maxCommitBytes, MaxCommitMutations: maxCommitMutations,
	}
}

func (st *store) Close() error {
	st.once.Do(func() { close(st.closed) })
	return nil
}

// usable says whether a call may begin.
func (st *store) usable(ctx context.Context) error {
	select {
	case <-st.closed:
		return coordination.ErrClosed
	default:
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (st *store) Get(ctx context.Context, key string) (backend.Entry, error) {
	es, err := st.GetMany(ctx, []string{key})
	if err != nil {
		return backend.Entry{}, err
	}
	return es[0], nil
}

func (st *store) GetMany(ctx context.Context, keys []string) ([]backend.Entry, error) {
	if err := st.usable(ctx); err != nil {
		return nil, err
	}
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	if st.s.mu.down {
		return nil, coordination.ErrUnavailable
	}
	es := make([]backend.Entry, len(keys))
	for i, k := range keys {
		es[i] = st.s.entryLocked(k)
	}
	return es, nil
}

func (s *Server) entryLocked(key string) backend.Entry {
	e := s.mu.entries[key]
	return backend.Entry{Key: key, Value: bytes.Clone(e.value), Version: e.version}
}

func (st *store) List(ctx context.Context, dir string) ([]backend.Entry, error) {
	if err := st.usable(ctx); err != nil {
		return nil, err
	}
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	if st.s.mu.down {
		return nil, coordination.ErrUnavailable
	}
	return st.s.listLocked(dir), nil
}

func (st *store) Load(ctx context.Context, key, dir string, begun func(backend.Entry)) (backend.Entry, []backend.Entry, error) {
	if err := st.usable(ctx); err != nil {
		return backend.Entry{}, nil, err
	}
	e, es, err := st.s.load(key, dir)
	if err == nil {
		begun(e)
	}
	return e, es, err
}

func (s *Server) load(key, dir string) (backend.Entry, []backend.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.down {
		return backend.Entry{}, nil, coordination.ErrUnavailable
	}
	return s.entryLocked(key), s.listLocked(dir), nil
}

func (s *Server) listLocked(dir string) []backend.Entry {
	var es []backend.Entry
	for k := range s.mu.entries {
		if strings.HasPrefix(k, dir+"/") {
			es = append(es, s.entryLocked(k))
		}
	}
	sort.Slice(es, func(i, j int) bool { return es[i].Key < es[j].Key })
	return es
}

func (st *store) Watch(ctx context.Context, key string, fn func(backend.Entry)) error {
	return st.watch(ctx, func() any { return st.s.entryLocked(key) }, func(v any) { fn(v.(backend.Entry)) })
}

func (st *store) WatchDir(ctx context.Context, dir string, fn func([]backend.Entry)) error {
	return st.watch(ctx, func() any { return st.s.listLocked(dir) }, func(v any) { fn(v.([]backend.Entry)) })
}

func (st *store) watch(ctx context.Context, readLocked func() any, fn func(any)) error {
	heartbeat := time.NewTicker(backend.HeartbeatInterval)
	defer heartbeat.Stop()
	for {
		if err := st.usable(ctx); err != nil {
			return err
		}
		st.s.mu.Lock()
		changed, down := st.s.mu.changed, st.s.mu.down
		v := readLocked()
		st.s.mu.Unlock()
		if !down {
			fn(v)
		}
		select {
		case <-changed:
		case <-heartbeat.C:
		case <-st.closed:
		case <-ctx.Done():
		}
	}
}

func (st *store) OpenSession(ctx context.Context) (backend.Session, error) {
	for {
		if err := st.usable(ctx); err != nil {
			return nil, fmt.Errorf("open session: %w", err)
		}
		if x := st.s.open(); x != nil {
			return x, nil
		}
		st.s.mu.Lock()
		changed := st.s.mu.changed
		st.s.mu.Unlock()
		select {
		case <-changed:
		case <-st.closed:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", coordination.ErrUnavailable, context.Cause(ctx))
		}
	}
}

func (s *Server) open() *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.down {
		return nil
	}
	s.mu.session++
	id := s.mu.session
	x := &session{s: s, id: id, until: time.Now().Add(s.timeout)}
	x.timer = time.AfterFunc(s.timeout, func() { s.expire(id) })
	s.mu.sessions[id] = x
	return x
}

type session struct {
	s     *Server
	id    uint64
	timer *time.Timer
	// under the server's lock
	until  time.Time // not over before
	closed bool      // by its own Close
}

func (x *session) prolongLocked() {
	x.until = time.Now().Add(x.s.timeout)
	x.timer.Reset(x.s.timeout)
}

// overLocked is why the session can do nothing any more.
func (x *session) overLocked() error {
	switch {
	case x.closed:
		return coordination.ErrClosed
	case x.s.mu.sessions[x.id] == nil:
		return coordination.ErrSessionLost
	}
	return nil
}

func (x *session) ID() string               { return strconv.FormatUint(x.id, 10) }
func (x *session) Timeout() time.Duration   { return x.s.timeout }
func (x *session) Expired() <-chan struct{} { return nil }

func (x *session) Renew(ctx context.Context) (time.Time, error) {
	if ctx.Err() != nil {
		return time.Time{}, fmt.Errorf("%w: %w", coordination.ErrUnavailable, context.Cause(ctx))
	}
	now := time.Now()
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	if x.s.mu.down {
		return time.Time{}, coordination.ErrUnavailable
	}
	if err := x.overLocked(); err != nil {
		return time.Time{}, err
	}
	x.prolongLocked()
	return now.Add(x.s.timeout * 9 / 10), nil
}

func (x *session) Txn(ctx context.Context, guards []backend.Guard, ops []backend.Op) ([]uint64, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w: %w", coordination.ErrUnavailable, context.Cause(ctx))
	}
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	if x.s.mu.down {
		return nil, coordination.ErrUnavailable
	}
	if err := x.overLocked(); err != nil {
		return nil, err
	}
	if size := sizeOf(ops); size > maxTxnBytes || len(ops) > maxTxnOps {
		return nil, fmt.Errorf("transaction of %d operations, %d bytes, the limits are %d and %d: %w", len(ops), size, maxTxnOps, maxTxnBytes, coordination.ErrTooLarge)
	}
	for i, g := range guards {
		if x.s.mu.entries[g.Key].version != g.Version {
			return nil, &coordination.ConflictError{Guard: i, Key: g.Key}
		}
	}
	versions := make([]uint64, len(ops))
	for i, op := range ops {
		if op.Kind == backend.Delete {
			delete(x.s.mu.entries, op.Key)
			continue
		}
		x.s.mu.version++
		e := entry{value: bytes.Clone(op.Value), version: x.s.mu.version}
		if op.Kind == backend.CreateEphemeral || op.Kind == backend.ReplaceEphemeral {
			e.owner = x.id
		}
		x.s.mu.entries[op.Key] = e
		versions[i] = e.version
	}
	x.s.wakeLocked()
	return versions, nil
}

func sizeOf(ops []backend.Op) (size int) {
	for _, op := range ops {
		size += len(op.Key) + len(op.Value)
	}
	return size
}

func (x *session) Close(context.Context) error {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	x.closed = true
	if x.s.mu.down {
		return coordination.ErrUnavailable
	}
	x.s.endLocked(x.id)
	return nil
}
