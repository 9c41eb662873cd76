// Package membership keeps a broker registered: it checks that the data directory and the coordination store belong together, opens a session, registers, and
// does so again, on purpose and under a new identity, when a session is Lost.
package membership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/event"
	"github.com/regency-project/regency/broker/metafile"
	"github.com/regency-project/regency/coordination"
)

const (
	retryPause = 100 * time.Millisecond
	// waitingEvery is how often a broker that waits for the coordination service says so.
	waitingEvery = 5 * time.Second
	// closeTimeout bounds the end of a session at the service; after it the service ends it by itself.
	closeTimeout = 3 * time.Second
)

// Config of a Member. Healthy, Registered and Events may be nil.
type Config struct {
	ID            int32
	DataDir       string
	DirectoryUUID string
	Attributes    cluster.Attributes
	Coordinator   coordination.Coordinator
	Healthy       func() error
	// Registered is told each registration that was made, before anything is done with it. It must not block.
	Registered func(coordination.Registered)
	Events     *event.Log
	Log        *slog.Logger
}

// Member is this broker as a member of the cluster.
type Member struct {
	cfg     Config
	remade  bool       // the log store is another than at the last start
	writing sync.Mutex // held while meta.json is written
	mu      struct {
		sync.Mutex
		meta        metafile.Meta
		incarnation string        // of the session that holds; empty: none
		changed     chan struct{} // closed and replaced when incarnation changes
	}
}

// New reads meta.json, and refuses the data directory of another broker.
func New(cfg Config) (*Member, error) {
	m := &Member{cfg: cfg}
	meta, ok, err := metafile.Read(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	if !ok {
		meta = metafile.Meta{Broker: cfg.ID}
	}
	if err := meta.CheckBroker(cfg.DataDir, cfg.ID); err != nil {
		return nil, err
	}
	m.remade = ok && meta.Directory != cfg.DirectoryUUID
	if m.remade {
		cfg.Log.Warn("the log store was remade: this broker is in no ISR until it has copied everything again",
			"was", meta.Directory, "is", cfg.DirectoryUUID)
	}
	meta.Directory = cfg.DirectoryUUID
	m.mu.meta, m.mu.changed = meta, make(chan struct{})
	return m, nil
}

// Run keeps the broker registered until ctx ends, and runs serve for each session for as long as it holds; serve returns when its context ends. It returns
// ctx's error after the session has been closed at the service, or what makes it pointless to go on: a refused data directory, a duplicate id.
func (m *Member) Run(ctx context.Context, serve func(ctx context.Context, s coordination.Session) error) error {
	if err := m.check(ctx); err != nil {
		return err
	}
	for {
		if err := m.healthy(ctx); err != nil {
			return err
		}
		err := m.hold(ctx, serve)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !errors.Is(err, coordination.ErrSessionLost) {
			return err
		}
		m.cfg.Log.Warn("session lost; registering again", "broker", m.cfg.ID, "error", err)
		if !pause(ctx) { // two processes with one data directory take the id from each other: not as fast as they can
			return context.Cause(ctx)
		}
	}
}

// healthy waits until the broker is fit to register: one whose disk hangs would be elected, serve nothing, and lapse again.
func (m *Member) healthy(ctx context.Context) error {
	if m.cfg.Healthy == nil {
		return nil
	}
	var told time.Time
	for {
		err := m.cfg.Healthy()
		if err == nil {
			return nil
		}
		if time.Since(told) >= waitingEvery {
			m.cfg.Log.Warn("not registering while the broker is not healthy", "broker", m.cfg.ID, "error", err)
			told = time.Now()
		}
		if !pause(ctx) {
			return context.Cause(ctx)
		}
	}
}

func pause(ctx context.Context) bool {
	t := time.NewTimer(retryPause)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// check waits for the service and refuses a store that is not the directory's own. A broker whose directory has no cluster yet may make a new one.
func (m *Member) check(ctx context.Context) error {
	st, err := m.status(ctx)
	if err != nil {
		return err
	}
	return m.Meta().CheckCluster(m.cfg.DataDir, m.cfg.Coordinator.Capabilities().Backend, st)
}

func (m *Member) status(ctx context.Context) (coordination.Status, error) {
	told := time.Now()
	for {
		sctx, cancel := context.WithTimeout(ctx, waitingEvery)
		st, err := m.cfg.Coordinator.Status(sctx)
		cancel()
		if err == nil {
			return st, nil
		}
		if ctx.Err() == nil && !errors.Is(err, coordination.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
			return st, fmt.Errorf("read the cluster's status: %w", err)
		}
		if time.Since(told) >= waitingEvery {
			m.cfg.Log.Warn("waiting for the coordination service", "backend", m.cfg.Coordinator.Capabilities().Backend, "error", err)
			told = time.Now()
		}
		if !pause(ctx) {
			return st, context.Cause(ctx)
		}
	}
}

// hold opens one session, registers, and serves for as long as it holds.
func (m *Member) hold(ctx context.Context, serve func(context.Context, coordination.Session) error) (err error) {
	s, err := m.cfg.Coordinator.OpenSession(ctx, coordination.SessionOptions{Healthy: m.cfg.Healthy})
	if err != nil {
		return err
	}
	defer func() {
		m.leave()
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		if cerr := s.Close(cctx); cerr != nil && !errors.Is(cerr, coordination.ErrSessionLost) {
			m.cfg.Log.Warn("session not closed; it will expire", "error", cerr)
		}
	}()
	m.cfg.Events.Emit("session.opened", "session", s.ID(), "timeout_ms", s.Timeout().Milliseconds())
	if err := m.join(ctx, s); err != nil {
		return err
	}
	var watching sync.WaitGroup
	defer watching.Wait()
	sctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watching.Go(func() {
		s.Watch(sctx, m.follow)
		if s.State() == coordination.Lost {
			cancel(s.Err())
		}
	})
	err = serve(sctx, s)
	if sctx.Err() != nil {
		return context.Cause(sctx)
	}
	return err
}

// join enters the cluster: the store is checked again on this session, made if it is new, and the broker registered.
func (m *Member) join(ctx context.Context, s coordination.Session) error {
	backend := m.cfg.Coordinator.Capabilities().Backend
	if m.Meta().Cluster == "" {
		st, err := s.Bootstrap(ctx)
		if err != nil {
			return err
		}
		err = m.update(func(meta *metafile.Meta) bool {
			meta.Cluster, meta.Epoch, meta.Seq = st.Lineage, st.Epoch, st.Seq
			return true
		})
		if err != nil {
			return err
		}
		m.cfg.Log.Info("joined the cluster for the first time", "cluster", st.Lineage, "backend", backend)
	} else if err := m.check(ctx); err != nil { // the store may have been exchanged while we had no session
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	r := coordination.Registration{
		ID: m.cfg.ID, DirectoryUUID: m.cfg.DirectoryUUID, Incarnation: uuid.NewString(), Attributes: m.cfg.Attributes.Encode(), Host: host, PID: os.Getpid(),
	}
	registered, err := m.register(ctx, s, r)
	if err != nil {
		return err
	}
	if m.cfg.Registered != nil {
		m.cfg.Registered(registered)
	}
	m.cfg.Log.Info("registered", "broker", m.cfg.ID, "session", s.ID(), "timeout", s.Timeout())
	m.enter(r.Incarnation)
	return nil
}

// register refuses to take an id from a broker with another log store. If ours was remade, that may be our own predecessor, whose session has yet to expire.
func (m *Member) register(ctx context.Context, s coordination.Session, r coordination.Registration) (coordination.Registered, error) {
	until := time.Now().Add(2 * s.Timeout())
	for {
		registered, err := s.Register(ctx, r)
		if !m.remade || !errors.Is(err, coordination.ErrDuplicateID) || time.Now().After(until) {
			return registered, err
		}
		if !pause(ctx) {
			return registered, context.Cause(ctx)
		}
	}
}

func (m *Member) enter(incarnation string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.incarnation = incarnation
	close(m.mu.changed)
	m.mu.changed = make(chan struct{})
}

func (m *Member) leave() { m.enter("") }

// follow tells each state of the session; Lost takes the identity away at once, before anything else is done about it.
func (m *Member) follow(state coordination.State) {
	if state == coordination.Lost {
		m.leave()
	}
	m.cfg.Events.Emit("session." + state.String())
}

// Identity is the incarnation under which this broker is registered, empty while it is not, and a channel that is closed when that changes.
func (m *Member) Identity() (incarnation string, changed <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.incarnation, m.mu.changed
}

// Admitted is this broker in the view, if it is admitted there under its present registration and not fenced.
func (m *Member) Admitted(v *cluster.View) (cluster.Broker, bool) {
	incarnation, _ := m.Identity()
	b, ok := v.Brokers[m.cfg.ID]
	return b, ok && incarnation != "" && b.Incarnation == incarnation && !b.Fenced
}

// Meta is what meta.json says, or is about to.
func (m *Member) Meta() metafile.Meta {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.meta
}

// update changes meta.json, if change says that it must.
func (m *Member) update(change func(*metafile.Meta) bool) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	meta := m.Meta()
	if !change(&meta) {
		return nil
	}
	if err := metafile.Write(m.cfg.DataDir, meta); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.meta = meta
	return nil
}

// seqStep is how many commits pass between updates of meta.json within one controller epoch.
const seqStep = 1000

// Remember keeps meta.json up to date with the views until ctx ends: at each new controller epoch, and every now and then between.
func (m *Member) Remember(ctx context.Context, current *cluster.Current) error {
	for {
		v, changed := current.Next()
		err := m.update(func(meta *metafile.Meta) bool {
			if v.ClusterID != meta.Cluster || v.Epoch <= meta.Epoch && v.Seq < meta.Seq+seqStep {
				return false
			}
			meta.Epoch, meta.Seq = max(v.Epoch, meta.Epoch), max(v.Seq, meta.Seq)
			return true
		})
		if err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// RememberSeq has meta.json say at least seq when it returns nil.
func (m *Member) RememberSeq(seq uint64) error {
	return m.update(func(meta *metafile.Meta) bool {
		if seq <= meta.Seq {
			return false
		}
		meta.Seq = seq
		return true
	})
}
