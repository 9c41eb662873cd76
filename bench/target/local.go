// Package target runs the clusters under test: our brokers as child processes on loopback ports, with an ensemble of the coordination service beside
// them, and puts them together again after each fault. It speaks the Kafka protocol to them and imports no broker code.
package target

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/regency-project/regency/bench/fault"
	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/bench/timeline"
	"github.com/regency-project/regency/bench/workload"
	"github.com/regency-project/regency/coordination/ensemble"
	"github.com/regency-project/regency/coordination/process"
	"github.com/regency-project/regency/coordination/profile"
)

// embeddedMembers is how many brokers hold a member of the embedded service: the first ones.
const embeddedMembers = 3

// rebalanceDelay is short, so that each trial begins with the same leaders, and longer than the recovery that a trial observes after a frozen broker goes
// on, so that the move back is no part of it.
const rebalanceDelay = "1s"

// prefix is the cluster's at the service.
const prefix = "bench"

// Options say what to start.
type Options struct {
	Backend    profile.Backend
	Profile    profile.Name
	Cluster    scenario.Cluster
	Dir        string // everything is written in it; it must exist
	Broker     string // the regency program
	ServersDir string // of the coordination servers; the ensemble's default when empty
	Flush      string // sync or written
	Logger     *slog.Logger
}

// Local is a running cluster. One goroutine uses it, except that Usage may be called from any.
type Local struct {
	o        Options
	url      string
	ensemble *ensemble.Ensemble // nil for embedded
	brokers  []*broker
	ports    []int
	detect   []string // arguments of the brokers: their detector
	members  []string // embedded: client addresses of the members, by broker
	hosts    []embeddedMember
	mesh     mesh

	// life ends with Close and takes every broker along.
	life context.Context
	end  context.CancelFunc
}

type broker struct {
	id     int32
	spec   process.Spec
	direct string // where it listens for clients
	addr   string // where clients reach it
	admin  *kgo.Client
	events timeline.Tail
	// mayEnd: the broker was frozen past its session and may end itself, as is its right; it is then started again.
	mayEnd bool

	mu struct {
		sync.Mutex
		process *process.Process // the newest run
		past    process.Usage    // of earlier runs
	}
}

func (b *broker) proc() *process.Process {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.process
}

// Start starts the ensemble and the brokers and makes the topics. On an error nothing is left running.
func Start(ctx context.Context, o Options) (*Local, error) {
	l := &Local{o: o, mesh: mesh{kinds: o.Cluster.Links, clients: make(map[int32]*fault.Wire)}}
	l.life, l.end = context.WithCancel(context.Background())
	if err := l.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s cluster: %w", o.Backend, err), l.Close())
	}
	return l, nil
}

func (l *Local) start(ctx context.Context) error {
	err := CheckLinks(l.o.Cluster.Links, l.o.Backend, l.o.Profile, l.o.Cluster.Brokers)
	if err != nil {
		return err
	}
	// client and peer ports of each broker, and two more of each embedded member
	if l.ports, err = process.FreePorts(4 * l.o.Cluster.Brokers); err != nil {
		return err
	}
	p, err := profile.Lookup(l.o.Backend, l.o.Profile)
	if err != nil {
		return err
	}
	l.detect = p.Detector.Args()
	if err := l.startService(ctx); err != nil {
		return err
	}
	for i := range l.o.Cluster.Brokers {
		b, err := l.layOut(i)
		if err != nil {
			return err
		}
		l.brokers = append(l.brokers, b)
		if err := l.startBroker(b); err != nil {
			return err
		}
	}
	if err := l.awaitBrokers(ctx); err != nil {
		return err
	}
	if err := l.createTopics(ctx); err != nil {
		return err
	}
	if err := l.AwaitHealthy(ctx); err != nil {
		return err
	}
	return l.AwaitBalanced(ctx)
}

func (l *Local) startService(ctx context.Context) error {
	if l.o.Backend == profile.Embedded {
		p, err := profile.Lookup(profile.Embedded, l.o.Profile)
		if err != nil {
			return err
		}
		var peers []string
		for i := range min(embeddedMembers, l.o.Cluster.Brokers) {
			ports := l.ports[4*i : 4*i+4]
			peers = append(peers, fmt.Sprintf("%d@127.0.0.1:%d:%d", i+1, ports[2], ports[3]))
			l.members = append(l.members, addr(ports[3]))
			l.hosts = append(l.hosts, embeddedMember{id: int32(i + 1), peer: ports[2], client: ports[3]})
		}
		if l.mesh.has(scenario.BrokerCoordination) {
			if err := l.mesh.sortMembers(l.hosts); err != nil {
				return err
			}
		}
		l.url, err = profile.CoordinationURL(p, peers, "")
		return err
	}
	dir := filepath.Join(l.o.Dir, "service")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	var err error
	o := ensemble.Options{Backend: l.o.Backend, Profile: l.o.Profile, Dir: dir, ServersDir: l.o.ServersDir, Logger: l.o.Logger}
	if p, err := profile.Lookup(o.Backend, o.Profile); err == nil && p.NeedsAgents() {
		o.Agents = l.o.Cluster.Brokers
	}
	l.ensemble, err = ensemble.Start(ctx, o)
	if err != nil {
		return err
	}
	l.url, err = l.ensemble.URL(prefix)
	return err
}

// coordination is what broker i is given as --coordination: the cluster's URL, its own agent's, or one of its own links.
func (l *Local) coordination(i int) (string, error) {
	if l.mesh.has(scenario.BrokerCoordination) {
		return l.linked(int32(i + 1))
	}
	if l.ensemble == nil || len(l.ensemble.Agents()) == 0 {
		return l.url, nil
	}
	return l.ensemble.AgentURL(i, prefix)
}

// linked is the URL of a broker's own links to the members.
func (l *Local) linked(id int32) (string, error) {
	p, err := profile.Lookup(l.o.Backend, l.o.Profile)
	if err != nil {
		return "", err
	}
	if l.ensemble == nil {
		peers, err := l.mesh.embeddedPeers(id, l.hosts)
		if err != nil {
			return "", err
		}
		url, err := profile.CoordinationURL(p, []string{peers}, "")
		return url + "&listen=127.0.0.1", err
	}
	endpoints, err := l.mesh.endpoints(id, l.ensemble.Endpoints())
	if err != nil {
		return "", err
	}
	return profile.CoordinationURL(p, endpoints, prefix)
}

func (l *Local) layOut(i int) (*broker, error) {
	id := int32(i + 1)
	dir := filepath.Join(l.o.Dir, fmt.Sprintf("broker-%d", id))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	coordination, err := l.coordination(i)
	if err != nil {
		return nil, err
	}
	client, peer := addr(l.ports[4*i]), addr(l.ports[4*i+1])
	advertise, err := l.mesh.client(id, client)
	if err != nil {
		return nil, err
	}
	peerAdvertise, source, err := l.mesh.peer(id, peer, l.o.Cluster.Brokers)
	if err != nil {
		return nil, err
	}
	b := &broker{id: id, direct: client, addr: advertise}
	b.events.Path = filepath.Join(dir, "events.jsonl")
	b.spec = process.Spec{
		Name: fmt.Sprintf("broker %d", id), Path: l.o.Broker, LogPath: filepath.Join(dir, "log"),
		Args: []string{
			"broker", "--id", strconv.Itoa(int(id)), "--data-dir", filepath.Join(dir, "data"),
			"--listen", client, "--advertise", advertise, "--peer-listen", peer, "--peer-advertise", peerAdvertise,
			"--source-address", source, "--coordination", coordination, "--events", b.events.Path,
			"--flush", l.o.Flush, "--log-level", "info", "--rebalance-delay", rebalanceDelay,
		},
	}
	b.spec.Args = append(b.spec.Args, l.detect...)
	b.spec.Heirs = true // the guardian, of a profile that has one
	b.admin, err = workload.NewAdmin(client)
	return b, err
}

func addr(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

func (l *Local) startBroker(b *broker) error {
	p, err := process.Start(l.life, b.spec)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := b.mu.process; old != nil {
		if u, err := old.Usage(); err == nil {
			b.mu.past = b.mu.past.Add(u)
		}
	}
	b.mu.process = p
	return nil
}

// Close kills everything and gives the ports back. The directory stays: its owner removes it.
func (l *Local) Close() error {
	l.end()
	var errs []error
	for _, b := range l.brokers {
		if b.admin != nil {
			b.admin.Close()
		}
		if p := b.proc(); p != nil {
			errs = append(errs, p.Kill())
			p.Sweep()
		}
	}
	if l.ensemble != nil {
		errs = append(errs, l.ensemble.Close())
	}
	return errors.Join(append(errs, l.mesh.close(), process.ReleasePorts(l.ports))...)
}

// URL is what the brokers were given as --coordination; where each has an agent of its own, what the first was.
func (l *Local) URL() string { return l.url }

// Addrs returns every broker's client address, also of those that are down.
func (l *Local) Addrs() map[int32]string {
	addrs := make(map[int32]string)
	for _, b := range l.brokers {
		addrs[b.id] = b.addr
	}
	return addrs
}

// Seeds returns the addresses as a client's bootstrap list.
func (l *Local) Seeds() []string {
	var seeds []string
	for _, b := range l.brokers {
		seeds = append(seeds, b.addr)
	}
	return seeds
}

// Process returns a broker's process for a fault.
func (l *Local) Process(id int32) (*process.Process, error) {
	if id < 1 || int(id) > len(l.brokers) {
		return nil, fmt.Errorf("broker %d: no such broker", id)
	}
	return l.brokers[id-1].proc(), nil
}

// Restart starts a dead broker again with its data and ports.
func (l *Local) Restart(id int32) error {
	p, err := l.Process(id)
	if err != nil {
		return err
	}
	if p.Running() {
		return fmt.Errorf("restart broker %d: it runs", id)
	}
	return l.startBroker(l.brokers[id-1])
}

// AllowEnd says that the broker may end by itself until the cluster is healthy again: AwaitHealthy then starts it anew.
func (l *Local) AllowEnd(id int32) { l.brokers[id-1].mayEnd = true }

// revive starts brokers again that were allowed to end and have.
func (l *Local) revive() error {
	for _, b := range l.brokers {
		if b.mayEnd && !b.proc().Running() {
			if err := l.startBroker(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// Events returns what the brokers have logged since the last call.
func (l *Local) Events() ([]timeline.Event, error) {
	var all []timeline.Event
	for _, b := range l.brokers {
		events, err := b.events.Next()
		if err != nil {
			return nil, err
		}
		all = append(all, events...)
	}
	return all, nil
}

// Deaths reports brokers that ended other than by our SIGKILL, with the end of their logs.
func (l *Local) Deaths() error {
	var errs []error
	for _, b := range l.brokers {
		if p := b.proc(); p != nil && !b.mayEnd && !p.Running() && !p.Killed() {
			errs = append(errs, fmt.Errorf("broker %d ended by itself (%v):\n%s", b.id, p.ExitError(), p.TailLog(15)))
		}
	}
	return errors.Join(errs...)
}

// Usage emits what brokers and service have used so far.
func (l *Local) Usage() []timeline.Usage {
	brokers := timeline.Usage{Kind: "brokers"}
	for _, b := range l.brokers {
		b.mu.Lock()
		p, sum := b.mu.process, b.mu.past
		b.mu.Unlock()
		if p == nil {
			continue
		}
		if u, err := p.Usage(); err == nil {
			brokers.RSS += u.RSS
			sum = sum.Add(u)
		}
		brokers.Processes++
		brokers.CPU += sum.CPU.Seconds()
		brokers.WriteBytes += sum.WriteBytes
	}
	list := []timeline.Usage{brokers}
	if l.ensemble != nil {
		if u, err := l.ensemble.Usage(); err == nil {
			list = append(list, timeline.Usage{
				Kind: "service", Processes: len(l.ensemble.Members()) + len(l.ensemble.Agents()), CPU: u.CPU.Seconds(), RSS: u.RSS, WriteBytes: u.WriteBytes,
			})
		}
	}
	return list
}

// await repeats probe until it succeeds. It fails at once when a broker has ended by itself; otherwise the error says what was wrong last.
func (l *Local) await(ctx context.Context, what string, probe func(context.Context) error) error {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		last := probe(ctx)
		if last == nil {
			return nil
		}
		if err := errors.Join(l.Deaths(), l.revive()); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w (last: %w)", what, context.Cause(ctx), last)
		}
	}
}
