package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/embedded"
	"github.com/regency-project/regency/coordination/process"
)

// configs are n members on free ports, each with a directory.
func configs(t *testing.T, n int) []embedded.Config {
	t.Helper()
	ports, err := process.FreePorts(2 * n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.ReleasePorts(ports); err != nil {
			t.Error(err)
		}
	})
	var peers []embedded.Peer
	for i := range n {
		peers = append(peers, embedded.Peer{ID: int32(i + 1), Host: "127.0.0.1", PeerPort: ports[2*i], ClientPort: ports[2*i+1]})
	}
	all := make([]embedded.Config, n)
	for i := range all {
		all[i] = embedded.Config{ID: int32(i + 1), DataDir: t.TempDir(), Peers: peers, Heartbeat: 20 * time.Millisecond, Election: 200 * time.Millisecond, Session: time.Second}
	}
	return all
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func mustOpen(ctx context.Context, t *testing.T, cfg embedded.Config) coordination.Coordinator {
	t.Helper()
	co, err := embedded.Open(ctx, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return co
}

func bootstrap(ctx context.Context, t *testing.T, co coordination.Coordinator) (coordination.Session, coordination.Status) {
	t.Helper()
	s, err := co.OpenSession(ctx, coordination.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.Bootstrap(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s, st
}

// TestRestart: the same directory brings the same store back; Close is quick although another broker's watch is open.
func TestRestart(t *testing.T) {
	ctx := testContext(t)
	cfg := configs(t, 1)[0]
	co := mustOpen(ctx, t, cfg)
	_, want := bootstrap(ctx, t, co)

	client := cfg
	client.ID = 7
	other := mustOpen(ctx, t, client)
	var wg sync.WaitGroup
	watching := make(chan struct{})
	var once sync.Once
	wg.Go(func() {
		_ = other.Watch(ctx, func(coordination.Event) { once.Do(func() { close(watching) }) })
	})
	<-watching
	began := time.Now()
	if err := co.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("Close() with another broker's watch open took %v", took)
	}
	co = mustOpen(ctx, t, cfg)
	defer co.Close()
	if got, err := co.Status(ctx); err != nil || got != want {
		t.Errorf("Status() after a restart = %+v, %v, want %+v", got, err, want)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// TestSecondStartLeavesTheLivingMemberAlone: a broker started twice by mistake, the second time with an empty directory, must not remove its own member.
func TestSecondStartLeavesTheLivingMemberAlone(t *testing.T) {
	ctx := testContext(t)
	cfgs := configs(t, 3)
	members := make([]coordination.Coordinator, 3)
	var wg sync.WaitGroup
	for i, cfg := range cfgs {
		wg.Go(func() { members[i] = mustOpen(ctx, t, cfg) })
	}
	wg.Wait()
	_, want := bootstrap(ctx, t, members[0])
	again := cfgs[0]
	again.DataDir = t.TempDir()
	if co, err := embedded.Open(ctx, again, nil); err == nil {
		co.Close()
		t.Fatal("the second start succeeded")
	} else if !strings.Contains(err.Error(), "in use") {
		t.Errorf("the second start ended with %v, want the port in use", err)
	}
	// The first is still a voter: with it and one other there is a quorum.
	if err := members[2].Close(); err != nil {
		t.Error(err)
	}
	if got, err := members[0].Status(ctx); err != nil || got != want {
		t.Errorf("Status() = %+v, %v, want %+v", got, err, want)
	}
	for _, m := range members[:2] {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestJoinedMemberWithoutItsLogFoundsNothing: votes and entries that it forgot must not be given a second time.
func TestJoinedMemberWithoutItsLogFoundsNothing(t *testing.T) {
	for n, want := range map[int]string{1: "restore", 3: "not reachable"} {
		cfg := configs(t, n)[0]
		cfg.Joined = true
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		co, err := embedded.Open(ctx, cfg, nil)
		cancel()
		if err == nil {
			co.Close()
			t.Fatalf("%d members: founded a new ensemble", n)
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%d members: %v, want it to name %q", n, err, want)
		}
		if logs, _ := filepath.Glob(filepath.Join(cfg.DataDir, "coordination", "member", "wal", "*")); len(logs) > 0 {
			t.Errorf("%d members: a log was made: %v", n, logs)
		}
	}
}

// TestGrowthIsRefused: the members are fixed when the ensemble is founded. A longer list is refused by the founders, by the new, and by those that
// run no member, and the ensemble goes on as it was.
func TestGrowthIsRefused(t *testing.T) {
	ctx := testContext(t)
	all := configs(t, 3)
	one := all[0]
	one.Peers = one.Peers[:1]
	co := mustOpen(ctx, t, one)
	_, before := bootstrap(ctx, t, co)
	refused := func(who string, cfg embedded.Config) {
		t.Helper()
		co, err := embedded.Open(ctx, cfg, nil)
		if err == nil {
			_ = co.Close()
		}
		for _, want := range []string{"founded with", fmt.Sprintf("127.0.0.1:%d", all[0].Peers[0].PeerPort), fmt.Sprintf("127.0.0.1:%d", all[2].Peers[2].PeerPort), "cannot be changed"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Open() of %s with a longer list = %v, want it to say %q", who, err, want)
			}
		}
	}
	refused("a new member", all[1])
	client := all[0]
	client.ID, client.DataDir = 9, ""
	refused("a broker without a member", client)
	if err := co.Close(); err != nil {
		t.Fatal(err)
	}
	refused("the founder", all[0])

	co = mustOpen(ctx, t, one)
	defer co.Close()
	if after, err := co.Status(ctx); err != nil || after.Lineage != before.Lineage {
		t.Errorf("Status() after the refusals = %+v, %v, want lineage %s", after, err, before.Lineage)
	}
}

func TestPortInUse(t *testing.T) {
	cfg := configs(t, 1)[0]
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg.Peers[0].ClientPort = l.Addr().(*net.TCPAddr).Port
	_, err = embedded.Open(testContext(t), cfg, nil)
	if err == nil || !strings.Contains(err.Error(), "member 1") || !strings.Contains(err.Error(), l.Addr().String()) || !strings.Contains(err.Error(), "another process has the port") {
		t.Errorf("Open() with a port in use = %v, want the member, the address and the remedy", err)
	}
}

// TestNoQuorum: one of three waits, says for whom, and gives up with its context.
func TestNoQuorum(t *testing.T) {
	cfg := configs(t, 3)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	var log bytes.Buffer
	_, err := embedded.Open(ctx, cfg[0], slog.New(slog.NewTextHandler(&log, nil)))
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, coordination.ErrUnavailable) {
		t.Errorf("Open() without a quorum = %v, want the context's end and ErrUnavailable", err)
	}
	for _, p := range cfg[0].Peers[1:] {
		address := net.JoinHostPort(p.Host, strconv.Itoa(p.PeerPort))
		if err == nil || !strings.Contains(err.Error(), address) {
			t.Errorf("Open() without a quorum = %v, want %s named", err, address)
		}
		if !strings.Contains(log.String(), "waiting for a quorum") || !strings.Contains(log.String(), address) {
			t.Errorf("log = %s, want a line that waits for %s", log.String(), address)
		}
	}
}
