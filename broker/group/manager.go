package group

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/regency-project/regency/broker/cluster"
)

// Config configures a Manager.
type Config struct {
	Current *cluster.Current
	Store   Store
	Rules   Rules
	Log     *slog.Logger
}

// Manager runs a shard for each partition of the internal topic that this broker leads.
type Manager struct {
	cfg    Config
	signal chan struct{} // capacity 1: full means that Run will look anyway
	mu     struct {
		sync.Mutex
		wanted map[int32]int32  // partition → leader epoch, as last told
		shards map[int32]*shard // what serves now
	}
}

// NewManager makes a manager.
func NewManager(c Config) *Manager {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Rules = c.Rules.withDefaults()
	m := &Manager{cfg: c, signal: make(chan struct{}, 1)}
	m.mu.wanted, m.mu.shards = map[int32]int32{}, map[int32]*shard{}
	return m
}

// Leadership tells that this broker began or ceased to lead a partition. Other topics than the internal one are ignored. It does not block: from its return on
// no request is taken under a leadership that is over.
func (m *Manager) Leadership(tp cluster.TopicPartition, leading bool, epoch int32) {
	if tp.Topic != Topic {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if leading {
		m.mu.wanted[tp.Partition] = epoch
	} else {
		delete(m.mu.wanted, tp.Partition)
	}
	if s := m.mu.shards[tp.Partition]; s != nil && (!leading || s.epoch != epoch) {
		delete(m.mu.shards, tp.Partition)
	}
	select {
	case m.signal <- struct{}{}:
	default:
	}
}

// Run starts and stops shards until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	running := map[int32]runningShard{}
	var all sync.WaitGroup
	defer all.Wait()
	for {
		for p, r := range running {
			if m.serving(p) != r.shard {
				r.cancel()
				delete(running, p)
			}
		}
		for p, epoch := range m.missing() {
			s, err := m.open(p, epoch)
			if err != nil {
				m.cfg.Log.Warn("groups not taken over", "topic", Topic, "partition", p, "epoch", epoch, "error", err)
				continue
			}
			sctx, cancel := context.WithCancel(ctx)
			running[p] = runningShard{s, cancel}
			all.Go(func() { s.run(sctx) })
		}
		select {
		case <-m.signal:
		case <-ctx.Done():
			for _, r := range running {
				r.cancel()
			}
			return nil
		}
	}
}

type runningShard struct {
	shard  *shard
	cancel context.CancelFunc
}

func (m *Manager) serving(p int32) *shard {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.shards[p]
}

// missing are the leaderships without a shard. Each is tried once: a leadership that cannot be opened is over, and the next is told.
func (m *Manager) missing() map[int32]int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[int32]int32{}
	for p, epoch := range m.mu.wanted {
		if m.mu.shards[p] == nil {
			out[p] = epoch
		}
	}
	return out
}

// open makes the shard of a leadership, unless that is over already.
func (m *Manager) open(p, epoch int32) (*shard, error) {
	l, err := m.cfg.Store.Open(p, epoch)
	if err != nil {
		return nil, err
	}
	s := newShard(p, epoch, l, m.cfg)
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.mu.wanted[p]; !ok || e != epoch {
		return nil, ErrNotCoordinator
	}
	m.mu.shards[p] = s
	return s, nil
}

// shard finds who coordinates a group here.
func (m *Manager) shard(group string) (*shard, error) {
	t := m.cfg.Current.View().Topics[Topic]
	if t == nil {
		return nil, ErrNotCoordinator
	}
	p := Partition(group, int32(len(t.Partitions)))
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.mu.shards[p]
	if s == nil {
		if _, ok := m.mu.wanted[p]; ok {
			return nil, ErrLoading
		}
		return nil, ErrNotCoordinator
	}
	if !s.loaded.Load() {
		return nil, ErrLoading
	}
	return s, nil
}

// Wait waits for the reply to a request: a value of the type named at the event, or an error.
type Wait func(ctx context.Context) (any, error)

// Step lets a group take a request, in the order of the calls, and returns how to wait for the reply. It does not wait for anything but the shard's turn.
func (m *Manager) Step(ctx context.Context, group string, e Requested) (Wait, error) {
	s, err := m.shard(group)
	if err != nil {
		return nil, err
	}
	reply := make(chan any, 1)
	err = s.call(ctx, func() {
		s.last++
		s.tickets[s.last] = reply
		s.step(group, e.WithTicket(s.last))
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (any, error) {
		select {
		case r := <-reply:
			if err, ok := r.(error); ok {
				return nil, err
			}
			return r, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}, nil
}

// Query calls fn with the group, nil if there is none, while nothing changes it.
func (m *Manager) Query(ctx context.Context, group string, fn func(*Group)) error {
	s, err := m.shard(group)
	if err != nil {
		return err
	}
	return s.query(ctx, func() { fn(s.groups[group]) })
}

// Each calls fn with every group coordinated here. It is ErrLoading if some are not known yet; fn was called with the others.
func (m *Manager) Each(ctx context.Context, fn func(*Group)) error {
	m.mu.Lock()
	shards := make([]*shard, 0, len(m.mu.shards))
	var loading error
	for _, s := range m.mu.shards {
		shards = append(shards, s)
	}
	if len(m.mu.shards) < len(m.mu.wanted) {
		loading = ErrLoading
	}
	m.mu.Unlock()
	for _, s := range shards {
		if !s.loaded.Load() {
			loading = ErrLoading
			continue
		}
		err := s.query(ctx, func() {
			for _, g := range s.groups {
				fn(g)
			}
		})
		if err != nil && ctx.Err() != nil {
			return err
		} // a shard that is over: its groups are another broker's
	}
	return loading
}

// call lets the owner of the groups run fn.
func (s *shard) call(ctx context.Context, fn func()) error {
	select {
	case s.calls <- fn:
		return nil
	case <-s.done:
		return ErrNotCoordinator
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// query is call, and waits until fn has run.
func (s *shard) query(ctx context.Context, fn func()) error {
	ran := make(chan struct{})
	if err := s.call(ctx, func() { defer close(ran); fn() }); err != nil {
		return err
	}
	<-ran // what the owner has taken it runs at once
	return nil
}

// NewMemberID makes the id of a new member as Kafka does: the client's own name, or its instance id, and something unique.
func NewMemberID(clientID string, instance *string) string {
	if instance != nil {
		clientID = *instance
	}
	return clientID + "-" + uuid.NewString()
}

// Millis converts Kafka's milliseconds.
func Millis(ms int32) time.Duration { return time.Duration(ms) * time.Millisecond }
