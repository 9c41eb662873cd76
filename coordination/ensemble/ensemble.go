// Package ensemble runs a real etcd, ZooKeeper or Consul ensemble as child processes on loopback, and breaks it: members
// can be killed, paused and brought back with the same data and ports. It speaks plain HTTP and TCP to them and uses no
// client library. The members die with this process, however it ends (see package process).
package ensemble

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/regency-project/regency/coordination/backend/options"
	"github.com/regency-project/regency/coordination/process"
	"github.com/regency-project/regency/coordination/profile"
)

// Options say what to start.
type Options struct {
	Backend    profile.Backend
	Profile    profile.Name // profile.Matched when empty
	Dir        string       // each member gets a directory in it; a temporary one, removed by Close, when empty
	ServersDir string       // where the servers are installed; DefaultServersDir when empty
	Members    int          // 3 when 0
	Logger     *slog.Logger // slog.Default when nil

	// Agents is how many Consul client agents run beside the servers, one for each process that needs its own. 0: one if the profile needs any.
	Agents int

	// Security makes the members serve TLS, and refuse strangers.
	Security profile.Security
}

// Ensemble is a running ensemble. Its methods may be called from any goroutine; those that act on the same member wait for
// each other.
type Ensemble struct {
	binary  Binary
	profile profile.Profile
	secure  profile.Security
	tls     *tls.Config // towards the members; nil without TLS
	dir     string
	ownsDir bool
	ports   []int
	log     *slog.Logger
	http    *http.Client
	members []*member
	agents  []*member

	// life ends with Close and takes every member along.
	life context.Context
	end  context.CancelFunc
}

type member struct {
	backend profile.Backend
	name    string
	server  profile.Server
	command profile.Command

	mu struct {
		sync.Mutex
		process *process.Process // the newest run
		past    process.Usage    // of earlier runs
		paused  bool
	}
}

// Member is a snapshot of one member.
type Member struct {
	Name     string
	Endpoint string // host:port for clients
	Peer     string // host:port on which every member hears the others: etcd's peer port, ZooKeeper's election port, Consul's server port
	Dir      string
	LogPath  string
	Pid      int // of its newest run
	Running  bool
	Paused   bool
}

// Start starts the members and waits, until ctx ends, for the ensemble to serve. The members outlive ctx: they live until
// Close. On an error nothing is left running, and the message holds the end of a member's log.
func Start(ctx context.Context, o Options) (*Ensemble, error) {
	e, err := newEnsemble(o)
	if err != nil {
		return nil, fmt.Errorf("start %s ensemble: %w", o.Backend, err)
	}
	began := time.Now()
	err = e.startAll(ctx)
	if err == nil {
		err = e.WaitReady(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s ensemble: %w", o.Backend, err), e.Close())
	}
	e.log.Info("ensemble ready", "backend", o.Backend, "version", e.binary.Version, "profile", e.profile.Name,
		"members", len(e.members), "took", time.Since(began).Round(time.Millisecond))
	return e, nil
}

func newEnsemble(o Options) (*Ensemble, error) {
	if o.Profile == "" {
		o.Profile = profile.Matched
	}
	if o.Members == 0 {
		o.Members = 3
	}
	if o.Members < 1 || o.Members > 9 {
		return nil, fmt.Errorf("%d members: choose from 1 to 9", o.Members)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	settings, err := profile.Lookup(o.Backend, o.Profile)
	if err != nil {
		return nil, err
	}
	if o.Agents == 0 && settings.NeedsAgents() {
		o.Agents = 1
	}
	if o.Agents < 0 || o.Agents > 0 && o.Backend != profile.Consul {
		return nil, fmt.Errorf("%d agents: only Consul has any", o.Agents)
	}
	binary, err := Locate(o.ServersDir, o.Backend)
	if err != nil {
		return nil, err
	}
	e := &Ensemble{binary: binary, profile: settings, secure: o.Security, log: o.Logger}
	files := options.TLS{CA: o.Security.CA, Cert: o.Security.Cert, Key: o.Security.Key}
	if e.tls, err = files.Load(); err != nil {
		return nil, err
	}
	e.http = newHTTPClient(e.tls)
	if err := e.layOut(o); err != nil {
		return nil, errors.Join(err, e.release())
	}
	e.life, e.end = context.WithCancel(context.Background())
	return e, nil
}

// layOut chooses ports and writes each member's directory and configuration.
func (e *Ensemble) layOut(o Options) error {
	var err error
	if o.Dir == "" {
		e.ownsDir = true
		e.dir, err = os.MkdirTemp("", "regency-"+string(o.Backend)+"-")
	} else {
		e.dir, err = filepath.Abs(o.Dir)
	}
	if err != nil {
		return err
	}
	if e.ports, err = process.FreePorts(3*o.Members + 2*o.Agents); err != nil {
		return err
	}
	servers := make([]profile.Server, o.Members)
	for i := range servers {
		servers[i] = profile.Server{
			Host: "127.0.0.1",
			Dir:  filepath.Join(e.dir, profile.MemberName(o.Backend, i)),
			// Members of one kind of port are neighbours in the list, which is no more than tidy.
			Client: e.ports[i], Peer: e.ports[o.Members+i], Side: e.ports[2*o.Members+i],
		}
	}
	for i, server := range servers {
		command, err := profile.SecuredMember(e.profile, servers, i, e.secure)
		if err != nil {
			return err
		}
		if err := writeFiles(server.Dir, command.Files); err != nil {
			return err
		}
		e.members = append(e.members, &member{backend: o.Backend, name: profile.MemberName(o.Backend, i), server: server, command: command})
	}
	return e.layOutAgents(o, servers)
}

func writeFiles(dir string, files []profile.File) error {
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
		return err
	}
	for _, file := range files {
		if err := os.WriteFile(filepath.Join(dir, file.Name), []byte(file.Data), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (e *Ensemble) startAll(ctx context.Context) error {
	for _, m := range e.all() {
		if err := e.startMember(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// all are the members and the agents.
func (e *Ensemble) all() []*member { return slices.Concat(e.members, e.agents) }

// startMember starts a member or an agent unless it runs.
func (e *Ensemble) startMember(ctx context.Context, m *member) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("start %s: %w", m.name, context.Cause(ctx))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.process != nil {
		if m.mu.process.Running() {
			return nil
		}
		last, err := m.mu.process.Usage()
		if err != nil {
			return err
		}
		m.mu.past = m.mu.past.Add(last)
	}
	p, err := process.Start(e.life, process.Spec{
		Name: m.name, Path: e.binary.Path, Args: append(e.binary.Args[:len(e.binary.Args):len(e.binary.Args)], m.command.Args...),
		Dir: m.server.Dir, LogPath: m.logPath(),
	})
	if err != nil {
		return err
	}
	m.mu.process, m.mu.paused = p, false
	return nil
}

func (m *member) peer() string {
	port := m.server.Peer
	if m.backend == profile.ZooKeeper { // only its leader listens on the quorum port
		port = m.server.Side
	}
	return net.JoinHostPort(m.server.Host, strconv.Itoa(port))
}

func (m *member) logPath() string { return filepath.Join(m.server.Dir, "log") }

func (e *Ensemble) name(i int) string { return e.members[i].name }

// Binary tells which server runs.
func (e *Ensemble) Binary() Binary { return e.binary }

// Profile tells under which settings it runs.
func (e *Ensemble) Profile() profile.Profile { return e.profile }

// Endpoints lists every member's host:port for clients, whether it runs or not.
func (e *Ensemble) Endpoints() []string {
	endpoints := make([]string, len(e.members))
	for i, m := range e.members {
		endpoints[i] = m.server.Endpoint()
	}
	return endpoints
}

// URL is what `regency broker --coordination` takes for this ensemble and its profile; prefix isolates clusters. Credentials are the
// caller's to add. With agents it is the first one's.
func (e *Ensemble) URL(prefix string) (string, error) {
	if len(e.agents) > 0 {
		return e.AgentURL(0, prefix)
	}
	return profile.CoordinationURL(e.profile, e.Endpoints(), prefix)
}

// Members describes every member as it is now.
func (e *Ensemble) Members() []Member { return describe(e.members) }

func describe(members []*member) []Member {
	list := make([]Member, len(members))
	for i, m := range members {
		m.mu.Lock()
		list[i] = Member{Name: m.name, Endpoint: m.server.Endpoint(), Peer: m.peer(), Dir: m.server.Dir, LogPath: m.logPath(), Paused: m.mu.paused}
		if p := m.mu.process; p != nil {
			list[i].Pid, list[i].Running = p.Pid(), p.Running()
		}
		m.mu.Unlock()
	}
	return list
}

// Usage is the sum over all members, agents and all their runs.
func (e *Ensemble) Usage() (process.Usage, error) {
	var sum process.Usage
	for _, m := range e.all() {
		m.mu.Lock()
		p, past := m.mu.process, m.mu.past
		m.mu.Unlock()
		sum = sum.Add(past)
		if p == nil {
			continue
		}
		now, err := p.Usage()
		if err != nil {
			return process.Usage{}, err
		}
		sum = sum.Add(now)
	}
	return sum, nil
}

// Close kills every member and waits for its end. Data and logs stay in Options.Dir; a temporary directory is removed.
func (e *Ensemble) Close() error {
	e.end()
	var group errgroup.Group
	for _, m := range e.all() {
		group.Go(func() error {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.mu.process == nil {
				return nil
			}
			return m.mu.process.Kill()
		})
	}
	err := group.Wait()
	e.http.CloseIdleConnections()
	return errors.Join(err, e.release())
}

func (e *Ensemble) release() error {
	err := process.ReleasePorts(e.ports)
	if e.ownsDir && e.dir != "" {
		err = errors.Join(err, os.RemoveAll(e.dir))
	}
	return err
}
