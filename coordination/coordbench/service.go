package coordbench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/chain"
	"github.com/regency-project/regency/coordination/consul"
	"github.com/regency-project/regency/coordination/embedded"
	"github.com/regency-project/regency/coordination/ensemble"
	"github.com/regency-project/regency/coordination/etcd"
	"github.com/regency-project/regency/coordination/process"
	"github.com/regency-project/regency/coordination/profile"
	"github.com/regency-project/regency/coordination/zookeeper"
)

// members is the size of every ensemble.
const members = 3

// service is a running ensemble with the one member that all clients of the benchmark talk to.
type service struct {
	backend  profile.Backend
	version  string
	settings profile.Profile
	endpoint string // a follower's: two of three clients have one, and both sides of a comparison must have the same
	logger   *slog.Logger
	stop     func() error
}

// startServices starts all ensembles at the same time. The backends in the result tell which of them run and why the others do not.
func startServices(ctx context.Context, o Options, dir string) ([]*service, []Backend) {
	services := make([]*service, len(o.Backends))
	infos := make([]Backend, len(o.Backends))
	var wg sync.WaitGroup
	for i, b := range o.Backends {
		wg.Go(func() {
			infos[i] = Backend{Name: string(b), Title: title(b), Status: StatusOK}
			s, err := startService(ctx, o, b, filepath.Join(dir, string(b)))
			if err != nil {
				infos[i].Status, infos[i].Reason = StatusNotRun, err.Error()
				return
			}
			services[i], infos[i].Version = s, s.version
			for _, c := range s.settings.Constants {
				infos[i].Settings = append(infos[i].Settings, Setting{c.Setting, c.Value})
			}
		})
	}
	wg.Wait()
	return slices.DeleteFunc(services, func(s *service) bool { return s == nil }), infos
}

func startService(ctx context.Context, o Options, b profile.Backend, dir string) (*service, error) {
	settings, err := profile.Lookup(b, o.Profile)
	if err != nil {
		return nil, err
	}
	s := &service{backend: b, settings: settings, logger: o.Logger}
	if b == profile.Embedded {
		return s, s.startEmbedded(ctx, o, dir)
	}
	e, err := ensemble.Start(ctx, ensemble.Options{Backend: b, Profile: o.Profile, Dir: dir, ServersDir: o.ServersDir, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	s.version, s.stop = e.Binary().Version, e.Close
	leader, err := e.Leader(ctx)
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	s.endpoint = e.Endpoints()[(leader+1)%members]
	return s, nil
}

// startEmbedded runs the members as processes of their own, as they are in brokers, but without brokers.
func (s *service) startEmbedded(ctx context.Context, o Options, dir string) error {
	ports, err := process.FreePorts(2 * members)
	if err != nil {
		return err
	}
	var peers, clients []string
	for i := range members {
		peers = append(peers, fmt.Sprintf("%d@127.0.0.1:%d:%d", i+1, ports[2*i], ports[2*i+1]))
		clients = append(clients, net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[2*i+1])))
	}
	raw, err := profile.CoordinationURL(s.settings, peers, "")
	if err != nil {
		return errors.Join(err, process.ReleasePorts(ports))
	}
	life, end := context.WithCancel(context.Background())
	var running []*process.Process
	s.stop = func() error {
		end()
		var errs []error
		for _, p := range running {
			errs = append(errs, p.Kill())
		}
		return errors.Join(append(errs, process.ReleasePorts(ports))...)
	}
	for i := range members {
		member := filepath.Join(dir, fmt.Sprintf("member-%d", i+1))
		if err := os.MkdirAll(member, 0o755); err != nil {
			return errors.Join(err, s.stop())
		}
		p, err := process.Start(life, process.Spec{
			Name: fmt.Sprintf("embedded-%d", i+1), Path: o.Member[0], Args: append(o.Member[1:len(o.Member):len(o.Member)], strconv.Itoa(i+1), member, raw),
			Dir: member, LogPath: filepath.Join(member, "log"),
		})
		if err != nil {
			return errors.Join(err, s.stop())
		}
		running = append(running, p)
	}
	s.version = "built in"
	if err := s.awaitFollower(ctx, clients, running); err != nil {
		return errors.Join(err, s.stop())
	}
	return nil
}

// awaitFollower waits until the members have a leader and sets the endpoint to one that follows it.
func (s *service) awaitFollower(ctx context.Context, clients []string, running []*process.Process) error {
	c, err := clientv3.New(clientv3.Config{Endpoints: clients, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer c.Close()
	for {
		for i, endpoint := range clients {
			if !running[i].Running() {
				return fmt.Errorf("member %d ended: %s", i+1, running[i].TailLog(10))
			}
			tctx, cancel := context.WithTimeout(ctx, time.Second)
			status, err := c.Status(tctx, endpoint)
			cancel()
			if err == nil && status.Leader != 0 && status.Leader != status.Header.MemberId {
				s.endpoint = endpoint
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the members found no leader: %w", context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// RunMember is the body of one embedded member's process: it serves until ctx ends.
func RunMember(ctx context.Context, id int32, dir, rawURL string, logger *slog.Logger) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return fmt.Errorf("member %d: %w", id, err)
	}
	c, err := embedded.ParseURL(u)
	if err != nil {
		return err
	}
	c.ID, c.DataDir = id, dir
	co, err := embedded.Open(ctx, c, logger)
	if err != nil {
		return err
	}
	<-ctx.Done()
	return co.Close()
}

// open makes a coordinator of its own connections on the cluster of that prefix, with a decorator between the rules and the service.
func (s *service) open(prefix string, d backend.Decorator) (coordination.Coordinator, error) {
	p := s.settings
	if p.Backend == profile.Embedded { // a broker beyond the first few: a client of the members
		p.Backend = profile.Etcd
	}
	raw, err := profile.CoordinationURL(p, []string{s.endpoint}, prefix)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	var store backend.Store
	renew := p.Renew
	switch s.backend {
	case profile.ZooKeeper:
		c, perr := zookeeper.ParseURL(u)
		if perr != nil {
			return nil, perr
		}
		store, err = zookeeper.NewStore(c, s.logger)
	case profile.Consul:
		c, perr := consul.ParseURL(u)
		if perr != nil {
			return nil, perr
		}
		store, err = consul.NewStore(c, s.logger)
	default:
		c, perr := etcd.ParseURL(u)
		if perr != nil {
			return nil, perr
		}
		store, err = etcd.NewNamedStore(string(s.backend), c)
	}
	if err != nil {
		return nil, err
	}
	return chain.New(backend.Decorate(store, d), chain.Options{Logger: s.logger, RenewEvery: renew}), nil
}

// title is the backend's name for people.
func title(b profile.Backend) string {
	switch b {
	case profile.Etcd:
		return "etcd"
	case profile.ZooKeeper:
		return "ZooKeeper"
	}
	return strings.ToUpper(string(b[:1])) + string(b[1:])
}
