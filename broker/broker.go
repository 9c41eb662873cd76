// Package broker puts a broker together: storage, membership, the controller's loop, partitions and their replication, groups, and the listeners.
//
// What happens when it stops, in this order: leaderships are handed over, the listeners close, the session is closed at the coordination service, replication and
// the partitions end, the log store is closed. When it is killed instead, nothing that was acknowledged depends on any of this.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/regency-project/regency/broker/api"
	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/controlloop"
	"github.com/regency-project/regency/broker/detector"
	"github.com/regency-project/regency/broker/event"
	"github.com/regency-project/regency/broker/group"
	"github.com/regency-project/regency/broker/membership"
	"github.com/regency-project/regency/broker/partition"
	"github.com/regency-project/regency/broker/peer"
	"github.com/regency-project/regency/broker/replication"
	"github.com/regency-project/regency/broker/server"
	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/storage"
)

// storeDir is the log store's place in the data directory.
const storeDir = "log"

// Run runs a broker until ctx ends, and then stops it in order; it returns nil then. Any other end is an error that says why: bad configuration, a port in use, a
// data directory that belongs elsewhere, a duplicate id, a failed disk. The caller closes the coordinator and the event log. events and log may be nil.
func Run(ctx context.Context, cfg Config, coordinator coordination.Coordinator, events *event.Log, log *slog.Logger) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	n := &node{cfg: cfg.withDefaults(), coordinator: coordinator, events: events, log: log, current: cluster.NewCurrent(), process: uuid.New(), damage: make(chan struct{}, 1)}
	if cfg.Detector.Kind == detector.Guardian && !coordinator.Capabilities().CrossProcess {
		return fmt.Errorf("broker configuration: detector guardian: a process beside the broker cannot reach coordination %q; use another, or detector session",
			coordinator.Capabilities().Backend)
	}
	events.Emit("broker.started", "version", cfg.Version)
	return n.run(ctx)
}

// node is a broker at work.
type node struct {
	cfg         Config
	coordinator coordination.Coordinator
	events      *event.Log
	log         *slog.Logger
	current     *cluster.Current
	process     uuid.UUID // this run of the broker, as its peers tell it from the next

	store          *storage.Store
	damage         chan struct{} // the store has found a damaged log
	clients, peers net.Listener
	member         *membership.Member
	pool           *peer.Pool
	loop           *controlloop.Loop
	control        *controlloop.Client
	watched        *detector.Peers // nil: not this kind of detector
	guard          *detector.Guard // likewise
	partitions     *partition.Set
	groups         *group.Manager
}

func (n *node) run(ctx context.Context) (err error) {
	failed := make(chan error, 1)
	fail := func(err error) {
		select {
		case failed <- err:
		default: // the first reason is the one to tell
		}
	}
	if err := n.open(ctx, fail); err != nil {
		return errors.Join(err, n.close())
	}
	defer func() { err = errors.Join(err, n.close()) }()
	if err := n.assemble(); err != nil {
		return err
	}
	core, identity, serving := newStage(ctx, fail), newStage(ctx, fail), newStage(ctx, fail)
	n.start(core, identity, serving)
	select {
	case <-ctx.Done():
		n.events.Emit("broker.stopping", "reason", fmt.Sprint(context.Cause(ctx)))
		n.log.Info("stopping", "broker", n.cfg.ID)
		n.handOver(context.WithoutCancel(ctx))
	case err = <-failed:
		n.events.Emit("broker.stopping", "reason", err.Error())
		n.log.Error("stopping", "broker", n.cfg.ID, "error", err)
	}
	serving.end()
	identity.end()
	core.end()
	return err
}

// open takes what only one process can have: the data directory and the ports.
func (n *node) open(ctx context.Context, fail func(error)) (err error) {
	if err := os.MkdirAll(n.cfg.DataDir, 0o755); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	stall := stallTimer{events: n.events}
	n.store, err = storage.OpenOrQuarantine(storage.Options{
		Dir: filepath.Join(n.cfg.DataDir, storeDir), Flush: n.cfg.Flush, MemoryBudget: n.cfg.MemoryBudget, Logger: n.log,
		OnFatal: func(err error) { fail(fmt.Errorf("storage: %w", err)) },
		OnStall: stall.told,
		OnDamage: func(*storage.DamageError) {
			select {
			case n.damage <- struct{}{}:
			default: // it will look anyway
			}
		},
	})
	if err != nil {
		return fmt.Errorf("open log store: %w", err)
	}
	if n.clients, err = server.Listen(ctx, "listen", n.cfg.Listen); err != nil {
		return err
	}
	n.peers, err = server.Listen(ctx, "peer-listen", n.cfg.PeerListen)
	return err
}

func (n *node) close() error {
	var errs []error
	for _, ln := range []net.Listener{n.clients, n.peers} {
		if ln != nil {
			if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if n.pool != nil {
		n.pool.Close()
	}
	if n.store != nil {
		if err := n.store.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close log store: %w", err))
		}
	}
	return errors.Join(errs...)
}

// assemble connects the parts; nothing runs yet.
func (n *node) assemble() error {
	client, err := advertised(n.clients, n.cfg.Advertise, "advertise")
	if err != nil {
		return err
	}
	toPeers, err := advertised(n.peers, n.cfg.PeerAdvertise, "peer-advertise")
	if err != nil {
		return err
	}
	var registered func(coordination.Registered)
	if n.cfg.Detector.Kind == detector.Guardian {
		n.guard = detector.NewGuard(n.cfg.ID, n.cfg.Guardian, n.events, n.log)
		registered = n.guard.Registered
	}
	n.member, err = membership.New(membership.Config{
		ID: n.cfg.ID, DataDir: n.cfg.DataDir, DirectoryUUID: n.store.DirectoryUUID(), Coordinator: n.coordinator, Healthy: n.healthy, Registered: registered,
		Attributes: cluster.Attributes{Client: client, Peer: toPeers, Rack: n.cfg.Rack}, Events: n.events, Log: n.log,
	})
	if err != nil {
		return err
	}
	n.pool = peer.NewPool(peer.Config{SourceAddress: n.cfg.SourceAddress, ClientID: fmt.Sprintf("broker-%d", n.cfg.ID)})
	loop := controlloop.Config{
		ID: n.cfg.ID, Coordinator: n.coordinator, Current: n.current, Events: n.events, Log: n.log, RebalanceDelay: n.cfg.RebalanceDelay,
	}
	if n.cfg.Detector.Kind == detector.Peer {
		n.watched = detector.NewPeers(detector.PeersConfig{
			ID: n.cfg.ID, Config: n.cfg.Detector, Current: n.current, Dial: n.pool.Dial, Events: n.events, Log: n.log,
		})
		loop.Registrations = n.watched.Registrations
	}
	n.loop = controlloop.New(loop)
	n.control = controlloop.NewClient(controlloop.ClientConfig{
		ID: n.cfg.ID, Loop: n.loop, Current: n.current, Peers: n.pool, Epoch: func() int64 { return n.self(n.current.View()).Epoch },
		DefaultPartitions: n.cfg.DefaultPartitions, DefaultReplicationFactor: n.cfg.DefaultReplicationFactor, MaxPartitions: n.cfg.MaxPartitions,
	})
	meta := n.member.Meta()
	n.partitions = partition.NewSet(partition.Config{
		Logs: mutated(partition.Storage(n.store)), Control: n.control, Events: n.events, Log: n.log, ReplicaLagMax: n.cfg.ReplicaLagMax,
		Damage: n.damage, ClusterID: meta.Cluster, MinSeq: meta.Seq, Remember: n.member.RememberSeq,
	})
	n.groups = group.NewManager(group.Config{Current: n.current, Store: groupStore{n.partitions}, Log: n.log})
	n.partitions.OnLeadership(n.groups.Leadership)
	return nil
}

func (n *node) start(core, identity, serving *stage) {
	core.run("watch the cluster", n.watch)
	core.run("apply the cluster's state", n.apply)
	core.run("step down", n.stepDown)
	core.run("remember the cluster's state", func(ctx context.Context) error { return n.member.Remember(ctx, n.current) })
	core.run("watch brokers", n.loop.Run)
	core.run("partitions", n.partitions.Run)
	core.run("replication", replication.New(replication.Config{Set: n.partitions, Peers: n.pool, Log: n.log}).Run)
	core.run("groups", n.groups.Run)
	core.run("retention", n.retain)
	core.run("compaction", n.compact)
	core.run("scrub", n.scrub)
	if n.watched != nil {
		core.run("watch peers", n.watched.Run)
	}
	if n.guard != nil { // it ends after the session, so that its broker's leaving is not taken for a death
		core.run("guardian", n.guard.Run)
	}
	identity.run("membership", func(ctx context.Context) error { return n.member.Run(ctx, n.hold) })
	keys := n.api().Keys()
	serve := func(kind api.ListenerKind, ln net.Listener) {
		s := server.New(server.Config{Kind: kind, Keys: keys, Log: n.log})
		serving.run(kind.String()+" listener", func(ctx context.Context) error { return s.Serve(ctx, ln) })
	}
	serve(api.Client, n.clients)
	serve(api.Peer, n.peers)
	n.events.Emit("broker.ready", "client", n.clients.Addr().String(), "peer", n.peers.Addr().String())
	n.log.Info("listening", "broker", n.cfg.ID, "client", n.clients.Addr(), "peer", n.peers.Addr())
}

// hold is what the broker does with a session for as long as it holds.
func (n *node) hold(ctx context.Context, s coordination.Session) error {
	if n.watched != nil {
		n.watched.Hold(s)
		defer n.watched.Hold(nil)
	}
	return n.loop.Lead(ctx, s)
}

func (n *node) api() *api.Broker {
	return &api.Broker{
		ID: n.cfg.ID, Current: n.current, Control: n.control, Decide: n.control, Groups: n.groups, Partitions: n.partitions, Log: n.log,
		Self: func() detector.Self {
			incarnation, _ := n.member.Identity()
			return detector.Self{Broker: n.cfg.ID, Process: n.process, Incarnation: incarnation}
		},
		Config: api.Config{
			AutoCreateTopics: n.cfg.AutoCreateTopics, DefaultPartitions: n.cfg.DefaultPartitions,
			DefaultReplicationFactor: n.cfg.DefaultReplicationFactor, OffsetsPartitions: n.cfg.OffsetsPartitions,
		},
	}
}

// healthy lets the session lapse when the disk hangs: a leader that cannot write must not stay one.
func (n *node) healthy() error {
	if err := n.store.Healthy(); err != nil {
		return err
	}
	if idle := time.Since(n.store.LastProgress()); idle > n.cfg.StallLimit {
		return fmt.Errorf("the disk has made no progress for %s", idle.Round(time.Millisecond))
	}
	return nil
}

// stallTimer puts the log store's write stalls on the timeline.
type stallTimer struct {
	events *event.Log
	mu     sync.Mutex
	began  time.Time
}

func (s *stallTimer) told(_ string, begin bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if begin {
		s.began = time.Now()
		return
	}
	s.events.Emit("storage.stall", "seconds", time.Since(s.began).Seconds())
}
