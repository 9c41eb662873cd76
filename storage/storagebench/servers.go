package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/twmb/franz-go/pkg/kfake"
)

// servers are the processes under a load.
type servers struct {
	kafka  []string          // bootstrap addresses; nil: NATS
	nats   map[string]string // URL by server name
	copies int
	cmds   []*exec.Cmd
	logs   []*bytes.Buffer
	cancel context.CancelFunc
}

// stop ends the processes at once: nothing of them is kept.
func (s *servers) stop() {
	s.cancel()
	for _, c := range s.cmds {
		_ = c.Wait() // killed
	}
}

// usage is that of all processes.
func (s *servers) usage() (usage, error) {
	var sum usage
	for _, c := range s.cmds {
		u, err := usageOf(c.Process.Pid)
		if err != nil {
			return usage{}, err
		}
		sum.cpu, sum.written = sum.cpu+u.cpu, sum.written+u.written
	}
	return sum, nil
}

func (s *servers) highWater() (sum float64, err error) {
	for _, c := range s.cmds {
		mb, err := highWaterOf(c.Process.Pid)
		if err != nil {
			return 0, err
		}
		sum += mb
	}
	return sum, nil
}

// explain adds what the processes logged last.
func (s *servers) explain(err error) error {
	if err == nil {
		return nil
	}
	s.stop()
	for _, l := range s.logs {
		lines := strings.Split(strings.TrimSpace(l.String()), "\n")
		err = fmt.Errorf("%w\n%s", err, strings.Join(lines[max(0, len(lines)-5):], "\n"))
	}
	return err
}

func newServers(ctx context.Context, copies int) (*servers, context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	return &servers{copies: copies, cancel: cancel}, ctx
}

func (s *servers) start(cmd *exec.Cmd) error {
	log := &bytes.Buffer{}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmds, s.logs = append(s.cmds, cmd), append(s.logs, log)
	return nil
}

// startSelf starts a child that prints a line when it is ready, and returns the line.
func (s *servers) startSelf(ctx context.Context, dir, kind string, load any) (string, error) {
	cmd, err := command(ctx, dir, kind, load)
	if err != nil {
		return "", err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := s.start(cmd); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return "", s.explain(fmt.Errorf("start %s: %w", kind, err))
	}
	return strings.TrimSpace(line), nil
}

// ready says so to the parent, and stays until it kills this process.
func ready(line string) error {
	if _, err := fmt.Println(line); err != nil {
		return err
	}
	select {}
}

func startNull(ctx context.Context, dir string) (*servers, error) {
	return startKafka(ctx, dir, "null")
}
func startFake(ctx context.Context, dir string) (*servers, error) {
	return startKafka(ctx, dir, "kfake")
}

func startKafka(ctx context.Context, dir, kind string) (*servers, error) {
	s, ctx := newServers(ctx, 1)
	addr, err := s.startSelf(ctx, dir, kind, struct{}{})
	s.kafka = []string{addr}
	return s, err
}

func fakeBroker(json.RawMessage) error {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.AllowAutoTopicCreation())
	if err != nil {
		return err
	}
	return ready(c.ListenAddrs()[0])
}

// natsParams are a NATS server's. Its defaults hold otherwise: it syncs its files every two minutes.
type natsParams struct {
	Name        string
	Port, Route int
	Routes      string // of all servers; empty: no cluster
	SyncAlways  bool   // sync_interval: always, that is before each acknowledgement
}

func natsServer(raw json.RawMessage) error {
	var p natsParams
	if err := json.Unmarshal(raw, &p); err != nil {
		return err
	}
	o := &server.Options{
		ServerName: p.Name, Host: "127.0.0.1", Port: p.Port, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: p.Name, JetStreamMaxStore: 100 << 30, JetStreamMaxMemory: 1 << 30,
		SyncAlways: p.SyncAlways,
	}
	if p.Routes != "" {
		o.Cluster = server.ClusterOpts{Name: "bench", Host: "127.0.0.1", Port: p.Route}
		o.Routes = server.RoutesFromStr(p.Routes)
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		return errors.New("nats server: not ready within 30 s")
	}
	return ready("ready")
}

func startNATS(ctx context.Context, dir string, copies int, syncAlways bool) (*servers, error) {
	s, ctx := newServers(ctx, copies)
	s.nats = map[string]string{}
	ports, err := freePorts(2 * copies)
	if err != nil {
		return nil, err
	}
	var routes []string
	for i := range copies {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[2*i+1]))
	}
	if copies == 1 {
		routes = nil
	}
	for i := range copies {
		p := natsParams{Name: fmt.Sprintf("n%d", i+1), Port: ports[2*i], Route: ports[2*i+1], Routes: strings.Join(routes, ","), SyncAlways: syncAlways}
		if _, err := s.startSelf(ctx, dir, "nats", p); err != nil {
			return nil, err
		}
		s.nats[p.Name] = fmt.Sprintf("nats://127.0.0.1:%d", p.Port)
	}
	return s, nil
}

// startRegency starts a cluster with embedded coordination.
func startRegency(ctx context.Context, binary, dir string, copies int, flush string) (*servers, error) {
	s, ctx := newServers(ctx, copies)
	ports, err := freePorts(4 * copies)
	if err != nil {
		return nil, err
	}
	var peers []string
	for i := range copies {
		peers = append(peers, fmt.Sprintf("%d@127.0.0.1:%d:%d", i+1, ports[4*i+2], ports[4*i+3]))
	}
	for i := range copies {
		listen := fmt.Sprintf("127.0.0.1:%d", ports[4*i])
		cmd := exec.CommandContext(ctx, binary, "broker", "--id", fmt.Sprint(i+1), "--data-dir", filepath.Join(dir, fmt.Sprint(i+1)),
			"--listen", listen, "--peer-listen", fmt.Sprintf("127.0.0.1:%d", ports[4*i+1]), "--flush", flush, "--log-level", "warn",
			"--coordination", "embedded:?peers="+strings.Join(peers, ","))
		own(cmd, dir)
		if err := s.start(cmd); err != nil {
			s.stop()
			return nil, fmt.Errorf("%w: build it with make build, or name it with -regency", err)
		}
		s.kafka = append(s.kafka, listen)
	}
	return s, nil
}

// freePorts are free now, for servers that cannot be given a listener.
func freePorts(n int) (ports []int, err error) {
	var open []io.Closer
	defer func() {
		for _, l := range open {
			err = errors.Join(err, l.Close())
		}
	}()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		open = append(open, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// tally collects what was acknowledged.
type tally struct {
	sync.Mutex
	bytes int64
	err   error
}

func (t *tally) add(n int, err error) {
	t.Lock()
	defer t.Unlock()
	if err != nil && t.err == nil {
		t.err = err
	}
	if err == nil {
		t.bytes += int64(n)
	}
}

func (t *tally) sum() (int64, error) {
	t.Lock()
	defer t.Unlock()
	return t.bytes, t.err
}
