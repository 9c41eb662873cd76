package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// dirName is the member's directory inside the broker's data directory.
const dirName = "coordination"

// The member's memory is bounded by the log entries that it keeps: those since the last snapshot and those kept for a slow follower. A
// commit may have a megabyte; etcd's defaults, 10 000 and 5 000, are made for small entries.
const (
	snapshotCount    = 1000
	catchUpEntries   = 500
	compactRevisions = "1000"
)

// member is this process's part of the ensemble.
type member struct {
	cfg    Config
	log    *slog.Logger
	server *embed.Etcd
	done   sync.WaitGroup // the goroutines that report the server's errors and leaders

	mu struct {
		sync.Mutex
		serving []*grpc.Server
	}
}

// startMember returns when the server runs, which says nothing about a quorum.
func startMember(ctx context.Context, cfg Config, logger *slog.Logger) (*member, error) {
	state, initial, err := cfg.join(ctx, logger)
	if err != nil {
		return nil, err
	}
	if err := cfg.writeFounders(); err != nil {
		return nil, err
	}
	m := &member{cfg: cfg, log: logger}
	for {
		m.server, err = embed.StartEtcd(m.config(state, initial))
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) && !strings.Contains(err.Error(), "already been bootstrapped") {
			break
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("%w: another process has the port; stop it, or give this broker other ports in peers", err)
		}
		// A member was unreachable a moment ago and now knows us: we are not new.
		if state, initial, err = cfg.join(ctx, logger); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	m.done.Go(func() {
		for err := range m.server.Err() {
			m.log.Error("the embedded coordination member failed", "error", err)
		}
	})
	if cfg.OnLeader != nil {
		m.done.Go(func() { cfg.reportLeaders(m.server.Server) })
	}
	return m, nil
}

func (m *member) config(state, initial string) *embed.Config {
	self, _ := m.cfg.self()
	scheme := "http"
	c := embed.NewConfig()
	if tls := m.cfg.TLS; tls.Cert != "" {
		scheme = "https"
		info := transport.TLSInfo{CertFile: tls.Cert, KeyFile: tls.Key, TrustedCAFile: tls.CA, ClientCertAuth: tls.CA != ""}
		c.PeerTLSInfo, c.ClientTLSInfo = info, info
	}
	c.Name = self.name()
	c.Dir = m.cfg.dir()
	c.AdvertisePeerUrls = []url.URL{{Scheme: scheme, Host: self.peerAddress()}}
	c.AdvertiseClientUrls = []url.URL{{Scheme: scheme, Host: self.clientAddress()}}
	c.ListenPeerUrls = []url.URL{{Scheme: scheme, Host: m.cfg.bind(self.peerAddress())}}
	c.ListenClientUrls = []url.URL{{Scheme: scheme, Host: m.cfg.bind(self.clientAddress())}}
	c.ClusterState, c.InitialCluster, c.InitialClusterToken = state, initial, "regency"
	c.TickMs, c.ElectionMs = uint(m.cfg.Heartbeat/time.Millisecond), uint(m.cfg.Election/time.Millisecond)
	c.SnapshotCount, c.SnapshotCatchUpEntries = snapshotCount, catchUpEntries
	c.AutoCompactionMode, c.AutoCompactionRetention = embed.CompactorModeRevision, compactRevisions
	c.EnableGRPCGateway = false
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(newLogCore(m.log)))
	c.ServiceRegister = func(s *grpc.Server) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.mu.serving = append(m.mu.serving, s)
	}
	return c
}

func (c Config) dir() string { return filepath.Join(c.DataDir, dirName) }

// bind turns an advertised address into one to listen on: the server binds IP addresses only.
func (c Config) bind(address string) string {
	host, port, _ := net.SplitHostPort(address)
	switch {
	case c.Listen != "":
		host = c.Listen
	case host != "localhost" && net.ParseIP(host) == nil:
		host = "0.0.0.0"
	}
	return net.JoinHostPort(host, port)
}

// close hands raft's leadership over, so that the others need no election, and stops the server. A nil member is none.
func (m *member) close() error {
	if m == nil {
		return nil
	}
	if err := m.server.Server.TryTransferLeadershipOnShutdown(); err != nil {
		m.log.Debug("raft leadership not handed over", "error", err)
	}
	// The server's own way to stop waits up to six seconds for streams to end, and the other brokers' watches do not end.
	m.mu.Lock()
	serving := m.mu.serving
	m.mu.Unlock()
	for _, s := range serving {
		s.Stop()
	}
	// Close alone would wait for ever for the client listeners of a member that never had a quorum.
	m.server.Server.HardStop()
	m.server.Close()
	m.done.Wait()
	return nil
}
