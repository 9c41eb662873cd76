package replication

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/regency-project/regency/broker/partition"
	"github.com/regency-project/regency/broker/peer"
	"golang.org/x/sync/errgroup"
)

// Config of the fetch loops. Set and Peers are required, zero values take the defaults.
type Config struct {
	Set   *partition.Set
	Peers *peer.Pool
	Log   *slog.Logger
	// MaxWait is how long the leader may wait for data; 500 ms.
	MaxWait time.Duration
	// Backoff follows an error; for a single partition it grows up to it; 50 ms.
	Backoff time.Duration
	// MaxBytes bounds an answer, 10 MiB; PartitionMaxBytes what it has of one partition, 1 MiB. One batch may always pass.
	MaxBytes, PartitionMaxBytes int32
}

// Fetchers are the fetch loops of this broker.
type Fetchers struct{ cfg Config }

// New makes the loops; Run runs them.
func New(cfg Config) *Fetchers {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxWait == 0 {
		cfg.MaxWait = 500 * time.Millisecond
	}
	if cfg.Backoff == 0 {
		cfg.Backoff = 50 * time.Millisecond
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 10 << 20
	}
	if cfg.PartitionMaxBytes == 0 {
		cfg.PartitionMaxBytes = 1 << 20
	}
	return &Fetchers{cfg}
}

// Run follows what the Set says until ctx ends.
func (fs *Fetchers) Run(ctx context.Context) error {
	var g errgroup.Group
	loops := map[int32]*loop{}
	for {
		following := fs.cfg.Set.Following()
		brokers := fs.cfg.Set.View().Brokers
		for leader, l := range loops {
			if len(following.ByLeader[leader]) == 0 {
				l.cancel()
				delete(loops, leader)
			}
		}
		for leader, parts := range following.ByLeader {
			e := brokers[leader].Peer
			j := job{addr: net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port))), parts: parts}
			if l := loops[leader]; l != nil {
				l.assign(j)
				continue
			}
			f := &fetcher{cfg: fs.cfg, leader: leader, log: fs.cfg.Log.With("leader", leader), backoff: map[*partition.Partition]backoff{}}
			l := newLoop(j)
			var running context.Context
			running, l.cancel = context.WithCancel(ctx)
			loops[leader] = l
			g.Go(func() error {
				f.run(running, l)
				return nil
			})
		}
		select {
		case <-following.Changed:
		case <-ctx.Done():
			for _, l := range loops {
				l.cancel()
			}
			return g.Wait()
		}
	}
}

// job is what one loop fetches, and where.
type job struct {
	addr  string
	parts []partition.Followed
}

// adds says that j asks for something that old did not: a fetch under way has to make room for it.
func (j job) adds(old job) bool {
	if j.addr != old.addr {
		return true
	}
	had := make(map[partition.Followed]bool, len(old.parts))
	for _, p := range old.parts {
		had[p] = true
	}
	for _, p := range j.parts {
		if !had[p] {
			return true
		}
	}
	return false
}

// loop is the handle of a fetcher: what it is to do.
type loop struct {
	cancel context.CancelFunc
	mu     struct {
		sync.Mutex
		job     job
		changed chan struct{} // closed when there is more to do
	}
}

func newLoop(j job) *loop {
	l := &loop{}
	l.mu.job, l.mu.changed = j, make(chan struct{})
	return l
}

func (l *loop) assign(j job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	adds := j.adds(l.mu.job)
	l.mu.job = j
	if adds {
		close(l.mu.changed)
		l.mu.changed = make(chan struct{})
	}
}

func (l *loop) current() (job, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.job, l.mu.changed
}
