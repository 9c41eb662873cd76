package ensemble_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/regency-project/regency/coordination/ensemble"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/profile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// leader waits for a leader that is none of the members to avoid.
func leader(t *testing.T, e *ensemble.Ensemble, avoid ...int) int {
	t.Helper()
	ctx := within(t, time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		i, err := e.Leader(ctx)
		if err == nil && (len(avoid) == 0 || i != avoid[0]) {
			return i
		}
		if err != nil && !errors.Is(err, ensemble.ErrNoLeader) {
			t.Fatal(err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("no new leader in a minute: Leader() = %d, %v", i, err)
		}
	}
}

func TestEnsembleSurvivesItsLeader(t *testing.T) {
	for _, b := range []profile.Backend{profile.Etcd, profile.ZooKeeper, profile.Consul} {
		t.Run(string(b), func(t *testing.T) { surviveLeader(t, b) })
	}
}

func surviveLeader(t *testing.T, b profile.Backend) {
	ensembletest.Require(t, b)
	dir := t.TempDir()
	e, err := ensemble.Start(within(t, 2*time.Minute), ensemble.Options{Backend: b, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	t.Cleanup(func() {
		if !closed {
			_ = e.Close()
		}
	})
	if got := len(e.Endpoints()); got != 3 {
		t.Fatalf("Endpoints() has %d, want 3", got)
	}

	first := leader(t, e)
	if err := e.KillMember(first); err != nil {
		t.Fatal(err)
	}
	second := leader(t, e, first)
	if err := e.RestartMember(within(t, time.Minute), first); err != nil {
		t.Fatal(err)
	}

	if err := e.PauseMember(second); err != nil {
		t.Fatal(err)
	}
	if m := e.Members()[second]; !m.Paused || !m.Running {
		t.Errorf("Members()[%d] = %+v, want it paused and running", second, m)
	}
	leader(t, e, second)
	if err := e.ResumeMember(second); err != nil {
		t.Fatal(err)
	}
	if err := e.WaitReady(within(t, time.Minute)); err != nil {
		t.Fatal(err)
	}

	victims, err := e.StopQuorum(t.Context())
	if err != nil || len(victims) != 2 {
		t.Fatalf("StopQuorum = %v, %v; want two members", victims, err)
	}
	if _, err := e.Leader(t.Context()); !errors.Is(err, ensemble.ErrNoLeader) {
		t.Errorf("Leader without a quorum = %v, want ErrNoLeader", err)
	}
	if err := e.StartQuorum(within(t, 2*time.Minute)); err != nil {
		t.Fatal(err)
	}
	leader(t, e)

	used, err := e.Usage()
	if err != nil || used.CPU <= 0 || used.RSS <= 0 || used.WriteBytes <= 0 {
		t.Errorf("Usage() = %+v, %v; want CPU, memory and writes", used, err)
	}
	closed = true
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for _, m := range e.Members() {
		if m.Running {
			t.Errorf("%s, pid %d, runs after Close", m.Name, m.Pid)
		}
		if _, err := os.Stat(m.LogPath); err != nil {
			t.Errorf("Close took a log that the caller may want: %v", err)
		}
	}
}

func TestStartFailsWithTheLogOfTheDead(t *testing.T) {
	servers := t.TempDir()
	dir := filepath.Join(servers, "etcd-v9.9.9")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho no such flag: $1\nexit 2\n"
	if err := os.WriteFile(filepath.Join(dir, "etcd"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := ensemble.Start(within(t, time.Minute), ensemble.Options{Backend: profile.Etcd, ServersDir: servers})
	if err == nil || !strings.Contains(err.Error(), "no such flag: --name=etcd-") || !strings.Contains(err.Error(), "exit status 2") {
		t.Errorf("Start of a broken server = %v, want its log and its status", err)
	}
}

func TestStartRefusesBadOptions(t *testing.T) {
	for _, o := range []ensemble.Options{
		{Backend: "raftd"},
		{Backend: profile.Embedded},
		{Backend: profile.Etcd, Profile: "fast"},
		{Backend: profile.Etcd, Members: 12},
	} {
		if e, err := ensemble.Start(t.Context(), o); err == nil {
			t.Errorf("Start(%+v) gave no error", o)
			_ = e.Close()
		}
	}
}
