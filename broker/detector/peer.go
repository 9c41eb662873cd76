package detector

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"sync"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/event"
	"github.com/regency-project/regency/broker/peer"
	"github.com/regency-project/regency/coordination"
)

// PeersConfig of Peers. Events may be nil.
type PeersConfig struct {
	ID      int32 // this broker
	Config  Config
	Current *cluster.Current
	// Dial opens a connection to another broker's peer listener.
	Dial   func(ctx context.Context, addr string) (*peer.Conn, error)
	Events *event.Log
	Log    *slog.Logger
}

// Peers watches every other registered broker over a connection of its own, and evicts the dead ones while this broker's own session is valid.
//
// All are watched by all, so that a new controller has the evidence already. But only the controller acts, and for the controller itself everyone: N brokers
// then send N − 1 evictions when the controller dies, of which one is applied, and one eviction when another dies.
type Peers struct {
	cfg PeersConfig
	mu  struct {
		sync.Mutex
		present []coordination.Registered
		changed chan struct{} // closed and replaced when present or session changes
		session coordination.Session
	}
}

// NewPeers makes a Peers.
func NewPeers(cfg PeersConfig) *Peers {
	cfg.Config = cfg.Config.WithDefaults()
	p := &Peers{cfg: cfg}
	p.mu.changed = make(chan struct{})
	return p
}

// Registrations tells which brokers there are: the complete set, after every change.
func (p *Peers) Registrations(present []coordination.Registered) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.present = present
	p.wakeLocked()
}

// Hold tells the session with which evictions are made; nil: there is none now.
func (p *Peers) Hold(s coordination.Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.session = s
	p.wakeLocked()
}

func (p *Peers) wakeLocked() {
	close(p.mu.changed)
	p.mu.changed = make(chan struct{})
}

func (p *Peers) next() ([]coordination.Registered, coordination.Session, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.present, p.mu.session, p.mu.changed
}

// Run watches until ctx ends, and returns ctx's error.
func (p *Peers) Run(ctx context.Context) error {
	running := map[uint64]context.CancelFunc{} // by revision
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() {
		for _, stop := range running {
			stop()
		}
	}()
	for {
		present, _, changed := p.next()
		there := make(map[uint64]bool, len(present))
		for _, r := range present {
			there[r.Revision] = true
			if running[r.Revision] != nil || r.ID == p.cfg.ID {
				continue
			}
			attributes, err := cluster.ParseAttributes(r.Attributes)
			if err != nil {
				continue // it cannot be admitted either, and the loop has said so
			}
			w := newWatch(p, r, net.JoinHostPort(attributes.Peer.Host, strconv.Itoa(int(attributes.Peer.Port))))
			wctx, stop := context.WithCancel(ctx)
			running[r.Revision] = stop
			wg.Go(func() { w.run(wctx, ctx) })
		}
		for revision, stop := range running {
			if !there[revision] {
				stop()
				delete(running, revision)
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// stopping: a broker that stops in order is left alone. It closes its listeners before its session, and an eviction between the two would have it register again.
func (p *Peers) stopping(r coordination.Registered) bool {
	b := p.cfg.Current.View().Brokers[r.ID]
	return b.Incarnation == r.Incarnation && b.Stopping
}

// acts says whether it is for this broker to evict another now, and with which session.
func (p *Peers) acts(r coordination.Registered) (coordination.Session, bool) {
	_, session, _ := p.next()
	if session == nil || session.State() != coordination.Valid || p.stopping(r) {
		return nil, false
	}
	controller := p.cfg.Current.View().Controller
	return session, controller == p.cfg.ID || controller == r.ID
}
