package partition

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/event"
	"golang.org/x/sync/errgroup"
)

// Config of a Set. Logs and Control are required.
type Config struct {
	Logs    Logs
	Control Controller
	Events  *event.Log
	Log     *slog.Logger
	// ReplicaLagMax is how long a follower may be behind before the leader proposes to take it out of the ISR; 0 is 10 s.
	ReplicaLagMax time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time

	// Damage, if not nil, tells that the logs that are damaged may be others than before.
	Damage <-chan struct{}

	// ClusterID and MinSeq are what the data directory remembers: the cluster it belongs to, and the newest View that it was used under. A log that was there
	// before this process is deleted only when a View of that cluster, not older than that, lacks its topic. Without a ClusterID such logs are kept.
	ClusterID string
	MinSeq    uint64
	// Remember is called before the first logs of a View's new topics are made: it must make MinSeq at least seq on disk, so that a later process does not take an
	// older View for the deletion of those topics. May be nil.
	Remember func(seq uint64) error
}

// Self is what this broker is in the cluster.
type Self struct {
	ID            int32
	Epoch         int64 // own broker epoch; no broker's epoch before it is admitted
	DirectoryUUID string
	// Leading is false once the session is Lost: then this broker leads nothing.
	Leading bool
	// Lost, if not nil, is closed when this is not so any more. From then on no leadership begins by it, and StepDown ends those that did.
	Lost <-chan struct{}
}

func (s Self) lost() bool {
	select {
	case <-s.Lost:
		return true
	default:
		return false
	}
}

// Set holds the partitions of which this broker is a replica. Apply and Run are called once it is configured; the other methods from any goroutine.
type Set struct {
	cfg      Config
	identity atomic.Pointer[Self]
	view     atomic.Pointer[cluster.View]
	listener func(cluster.TopicPartition, bool, int32)

	applying struct {
		sync.Mutex
		incomplete bool              // a replica could not take its role: look at all topics next time
		strays     map[logKey]origin // logs on disk that no hosted partition has
	}
	mu struct {
		sync.RWMutex
		partitions map[cluster.TopicPartition]*Partition
		following  Following
		proposing  map[*Partition]struct{}
		deleting   map[logKey]string
	}

	unflushed chan unflushed // full: appenders wait for the disk
	propose   chan struct{}
	remove    chan struct{}
	stopped   chan struct{} // closed when Run has ended: nothing becomes durable any more
}

type unflushed struct {
	p       *Partition
	durable Durable
	end     int64
	start   int64 // of the log, if it was moved
	cut     int
}

// maxUnflushed bounds the appends between log and disk.
const maxUnflushed = 4096

// Followed is a partition that this broker replicates, in a leader epoch.
type Followed struct {
	*Partition
	Epoch int32
}

// Following is what this broker replicates, by the broker id of the leader; ordered by topic and partition.
type Following struct {
	ByLeader map[int32][]Followed
	Changed  <-chan struct{} // closed when there is a newer one

	changed chan struct{}
}

// NewSet makes an empty set.
func NewSet(cfg Config) *Set {
	if cfg.ReplicaLagMax == 0 {
		cfg.ReplicaLagMax = 10 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Set{
		cfg: cfg, unflushed: make(chan unflushed, maxUnflushed),
		propose: make(chan struct{}, 1), remove: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	s.identity.Store(&Self{ID: -1, Epoch: -1})
	s.view.Store(cluster.Empty())
	s.mu.partitions = map[cluster.TopicPartition]*Partition{}
	s.mu.proposing, s.mu.deleting = map[*Partition]struct{}{}, map[logKey]string{}
	s.mu.following = newFollowing(nil)
	s.applying.strays = inherited(cfg.Logs)
	return s
}

func newFollowing(by map[int32][]Followed) Following {
	changed := make(chan struct{})
	return Following{ByLeader: by, Changed: changed, changed: changed}
}

// OnLeadership registers fn to be told, in order and from Apply, when this broker begins (leading) and stops to lead a partition. It is called before the first
// Apply, and fn must not block.
func (s *Set) OnLeadership(fn func(tp cluster.TopicPartition, leading bool, epoch int32)) {
	s.listener = fn
}

// Get returns the partition if this broker is a replica of it.
func (s *Set) Get(tp cluster.TopicPartition) (*Partition, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.mu.partitions[tp]
	return p, ok
}

// View is the newest one applied.
func (s *Set) View() *cluster.View { return s.view.Load() }

// Self is what was last applied.
func (s *Set) Self() Self { return *s.identity.Load() }

func (s *Set) self() int32 { return s.identity.Load().ID }

// Following says what this broker replicates from whom.
func (s *Set) Following() Following {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.mu.following
}

// Run does what the partitions need in the background, until ctx ends: it waits for the disk, talks to the controller, watches for followers that fall behind,
// deletes logs, and rebuilds damaged ones. Without it nothing is acknowledged; when it has ended, what still waits fails.
func (s *Set) Run(ctx context.Context) error {
	defer s.stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.runFlusher(ctx) })
	g.Go(func() error { return s.runProposer(ctx) })
	g.Go(func() error { return s.runLag(ctx) })
	g.Go(func() error { return s.runDeleter(ctx) })
	g.Go(func() error { return s.runRepairer(ctx) })
	return g.Wait()
}

// stop waits for what was on its way to disk, so that the store can be closed, and ends all leaderships.
func (s *Set) stop() {
	close(s.stopped)
	for _, p := range s.hosted() {
		p.mu.Lock()
		t := target{role: idle}
		t.Leader, t.LeaderEpoch = p.mu.leader, p.mu.epoch
		p.mu.Unlock()
		p.release(t)
	}
	for {
		select {
		case u := <-s.unflushed:
			s.wait(u)
		default:
			return
		}
	}
}

func (s *Set) hosted() []*Partition {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ps := make([]*Partition, 0, len(s.mu.partitions))
	for _, p := range s.mu.partitions {
		ps = append(ps, p)
	}
	return ps
}

// flush queues an append that must become durable. If Run has ended it is waited for here.
func (s *Set) flush(u unflushed) {
	select {
	case s.unflushed <- u:
	case <-s.stopped:
		s.wait(u)
	}
}

// runFlusher waits for appends in their order. One goroutine is enough: the logs share the store's write-ahead log, so the appends become durable in about
// the order in which they were made, and many with one flush.
func (s *Set) runFlusher(ctx context.Context) error {
	for {
		select {
		case u := <-s.unflushed:
			s.wait(u)
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Set) wait(u unflushed) {
	if err := u.durable.Wait(); err != nil {
		u.p.fail(err)
		return
	}
	u.p.flushed(u.end, u.start, u.cut)
}

// runLag looks for followers that fall behind, often enough to be within a quarter of the limit.
func (s *Set) runLag(ctx context.Context) error {
	tick := time.NewTicker(max(s.cfg.ReplicaLagMax/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		for _, p := range s.hosted() {
			p.shrink(s.cfg.ReplicaLagMax, s.cfg.Now())
		}
	}
}
