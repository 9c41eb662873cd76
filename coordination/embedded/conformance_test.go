package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/coordtest"
	"github.com/regency-project/regency/coordination/embedded"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/etcd"
	"github.com/regency-project/regency/coordination/process"
	"github.com/regency-project/regency/coordination/profile"
)

// A process with these runs a member until it is killed.
const (
	memberURL = "REGENCY_EMBEDDED_TEST_URL"
	memberID  = "REGENCY_EMBEDDED_TEST_ID"
	memberDir = "REGENCY_EMBEDDED_TEST_DIR"
)

func TestMain(m *testing.M) {
	if os.Getenv(memberURL) == "" {
		os.Exit(coordtest.Main(m, open))
	}
	if err := runMember(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runMember() error {
	id, err := strconv.Atoi(os.Getenv(memberID))
	if err != nil {
		return err
	}
	cfg, err := parse(os.Getenv(memberURL))
	if err != nil {
		return err
	}
	cfg.ID, cfg.DataDir = int32(id), os.Getenv(memberDir)
	co, err := embedded.Open(context.Background(), cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	defer co.Close()
	select {} // until killed
}

func parse(rawURL string) (embedded.Config, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return embedded.Config{}, err
	}
	return embedded.ParseURL(u)
}

// open is a broker that runs no member: a client of all.
func open(ctx context.Context, rawURL string, logger *slog.Logger) (coordination.Coordinator, error) {
	cfg, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	return embedded.Open(ctx, cfg, logger)
}

// cluster is three members, each in a process of its own.
type cluster struct {
	url       string
	dirs      []string
	processes []*process.Process
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	const members = 3
	ports, err := process.FreePorts(2 * members)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.ReleasePorts(ports); err != nil {
			t.Error(err)
		}
	})
	p, err := profile.Lookup(profile.Embedded, profile.Tuned)
	if err != nil {
		t.Fatal(err)
	}
	var peers []string
	for i := range members {
		peers = append(peers, fmt.Sprintf("%d@127.0.0.1:%d:%d", i+1, ports[2*i], ports[2*i+1]))
	}
	u, err := profile.CoordinationURL(p, peers, "")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{url: u, dirs: make([]string, members), processes: make([]*process.Process, members)}
	for i := range members {
		c.dirs[i] = t.TempDir()
		c.start(t, i)
	}
	t.Cleanup(func() {
		for i, p := range c.processes {
			if err := p.Kill(); err != nil {
				t.Errorf("kill member %d: %v", i+1, err)
			}
			if t.Failed() {
				t.Logf("end of member %d's log:\n%s", i+1, p.TailLog(15))
			}
		}
	})
	c.awaitQuorum(t)
	return c
}

func (c *cluster) start(t testing.TB, i int) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c.processes[i], err = process.Start(context.Background(), process.Spec{
		Name: fmt.Sprintf("embedded member %d", i+1), Path: exe,
		Env:     []string{memberURL + "=" + c.url, memberID + "=" + strconv.Itoa(i+1), memberDir + "=" + c.dirs[i]},
		LogPath: filepath.Join(c.dirs[i], "log"),
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) kill(t testing.TB, i int) {
	t.Helper()
	if err := c.processes[i].Kill(); err != nil {
		t.Fatal(err)
	}
}

// pause stops member i. What is returned lets it go on.
func (c *cluster) pause(t testing.TB, i int) (restore func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := errors.Join(c.processes[i].Pause(), c.processes[i].WaitPaused(ctx)); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := c.processes[i].Resume(); err != nil {
			t.Fatal(err)
		}
		c.awaitQuorum(t)
	}
}

// shiftClock is nil where clocks cannot be shifted.
func (c *cluster) shiftClock() func(testing.TB, int, time.Duration) {
	if !process.ShiftsWallClocks {
		return nil
	}
	return func(t testing.TB, i int, d time.Duration) {
		if err := c.processes[i].ShiftWallClock(d); err != nil {
			t.Fatal(err)
		}
	}
}

func (c *cluster) open(t testing.TB) coordination.Coordinator {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	co, err := open(ctx, c.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return co
}

func (c *cluster) awaitQuorum(t testing.TB) {
	t.Helper()
	if err := c.open(t).Close(); err != nil {
		t.Error(err)
	}
}

func openStore(_ context.Context, rawURL string, _ *slog.Logger) (backend.Store, error) {
	cfg, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	return etcd.NewNamedStore("embedded", cfg.Client())
}

// endpoints are where the members serve clients.
func (c *cluster) endpoints(t testing.TB) []string {
	t.Helper()
	cfg, err := parse(c.url)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, p := range cfg.Members() {
		list = append(list, net.JoinHostPort(p.Host, strconv.Itoa(p.ClientPort)))
	}
	return list
}

// via is the URL with other addresses for clients.
func via(rawURL string, endpoints []string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		panic(err) // of our own making
	}
	q := u.Query()
	peers := strings.Split(q.Get("peers"), ",")
	for i, e := range endpoints { // id@host:port:clientport
		_, port, _ := strings.Cut(e, ":")
		peers[i] = peers[i][:strings.LastIndexByte(peers[i], ':')+1] + port
	}
	q.Set("peers", strings.Join(peers, ","))
	u.RawQuery = q.Encode()
	return u.String()
}

// leader is the index of raft's leader.
func (c *cluster) leader(t testing.TB) int {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: c.endpoints(t), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		for i, e := range c.endpoints(t) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			st, err := client.Status(ctx, e)
			cancel()
			if err == nil && st.Leader != 0 && st.Leader == st.Header.MemberId {
				return i
			}
		}
	}
	t.Fatal("no member leads")
	return 0
}

func TestConformance(t *testing.T) {
	c := startCluster(t)
	p, err := profile.Lookup(profile.Embedded, profile.Tuned)
	if err != nil {
		t.Fatal(err)
	}
	var clusters atomic.Int32
	fresh := func() string { return fmt.Sprintf("%s&prefix=test%d", c.url, clusters.Add(1)) }
	coordtest.Run(t, func(t *testing.T) coordtest.Harness {
		return coordtest.Harness{
			Open: open, OpenStore: openStore, URL: fresh(), OtherURL: fresh(),
			DetectionBound: p.Detection().Upper,
			StopQuorum:     func(t testing.TB) { c.kill(t, 0); c.kill(t, 2) },
			StartQuorum:    func(t testing.TB) { c.start(t, 0); c.start(t, 2); c.awaitQuorum(t) },
			Endpoints:      c.endpoints(t), Via: via, WithSession: ensembletest.WithSession, Patient: ensembletest.Patient,
			KillLeader: func(t testing.TB) func() {
				i := c.leader(t)
				c.kill(t, i)
				return func() { c.start(t, i); c.awaitQuorum(t) }
			},
			PauseLeader: func(t testing.TB) func() { return c.pause(t, c.leader(t)) },
			Leader:      func(t testing.TB) int { return c.leader(t) },
			PauseMember: func(t testing.TB, i int) func() { return c.pause(t, i) },
			ShiftClock:  c.shiftClock(),
			Restart: func(t testing.TB, stopped func([]string)) {
				var dirs []string
				for i := range c.processes {
					c.kill(t, i)
					dirs = append(dirs, filepath.Join(c.dirs[i], "coordination"))
				}
				if stopped != nil {
					stopped(dirs)
				}
				for i := range c.processes {
					c.start(t, i)
				}
				c.awaitQuorum(t)
			},
		}
	})
}

// TestWipedMemberRejoins: a member that comes back with an empty disk becomes a learner, catches up and votes, so that the loss of another one is survived.
func TestWipedMemberRejoins(t *testing.T) {
	c := startCluster(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	co := c.open(t)
	defer co.Close()
	s, err := co.OpenSession(ctx, coordination.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want, err := s.Bootstrap(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for round, wiped := range []int{2, 0} {
		c.kill(t, wiped)
		if err := os.RemoveAll(filepath.Join(c.dirs[wiped], "coordination")); err != nil {
			t.Fatal(err)
		}
		c.start(t, wiped)
		c.awaitLog(t, wiped, "votes again")
		// With another member gone the wiped one is needed for a quorum.
		c.kill(t, 1)
		if got := status(ctx, t, co); got.Lineage != want.Lineage {
			t.Fatalf("round %d: Status() = %+v, want lineage %s", round, got, want.Lineage)
		}
		if _, err := s.Register(ctx, coordination.Registration{ID: int32(round), DirectoryUUID: "d"}); err != nil {
			t.Fatalf("round %d: Register() = %v", round, err)
		}
		c.start(t, 1)
		c.awaitQuorum(t)
		if err := s.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if s, err = co.OpenSession(ctx, coordination.SessionOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
}

// awaitLog waits until the member has logged text.
func (c *cluster) awaitLog(t *testing.T, i int, text string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if strings.Contains(c.processes[i].TailLog(100), text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("member %d did not log %q within a minute:\n%s", i+1, text, c.processes[i].TailLog(20))
		}
	}
}

func status(ctx context.Context, t *testing.T, co coordination.Coordinator) coordination.Status {
	t.Helper()
	for {
		st, err := co.Status(ctx)
		if err == nil {
			return st
		}
		if ctx.Err() != nil {
			t.Fatalf("Status() = %v", err)
		}
	}
}
