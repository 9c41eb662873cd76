package fault

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/process"
)

const roleKey = "REGENCY_FAULT_TEST_ROLE"

// TestMain lets the test binary play a server that accepts connections and answers what it is sent.
func TestMain(m *testing.M) {
	if os.Getenv(roleKey) == "" {
		os.Exit(m.Run())
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		os.Exit(1)
	}
	fmt.Println("listening", ln.Addr())
	for {
		conn, err := ln.Accept()
		if err != nil {
			os.Exit(1)
		}
		go func() {
			line, _ := bufio.NewReader(conn).ReadString('\n')
			fmt.Fprint(conn, line)
			select {} // holds the connection until the process dies
		}()
	}
}

func startServer(t *testing.T) (*process.Process, string) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	p, err := process.Start(t.Context(), process.Spec{Path: os.Args[0], Env: []string{roleKey + "=server"}, LogPath: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		data, _ := os.ReadFile(log)
		if addr, ok := strings.CutPrefix(strings.TrimSpace(string(data)), "listening "); ok && strings.HasSuffix(string(data), "\n") {
			return p, addr
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("the server did not come up")
	return nil, ""
}

func victim(p *process.Process, addr string) Victim {
	return Victim{Name: "server", Process: p, Addr: addr, Restart: func(context.Context) error { return nil }}
}

func begin(t *testing.T, f Fault) Effect {
	t.Helper()
	if err := f.SetUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	e, err := Begin(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.CleanUp(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func TestKillIsObserved(t *testing.T) {
	p, addr := startServer(t)
	e := begin(t, Kill(victim(p, addr)))
	if e.Closed == 0 || e.Effect < e.Asked || e.Effect > e.Closed {
		t.Errorf("effect = %+v, want asked ≤ effect ≤ closed, all seen", e)
	}
	if p.Running() {
		t.Error("the process runs after Kill")
	}
	if err := Kill(victim(p, addr)).SetUp(t.Context()); err == nil {
		t.Error("Kill of a dead process is no error: the fault would not have taken effect")
	}
}

func TestStopIsGracefulOrAnError(t *testing.T) {
	p, addr := startServer(t) // has no handler: SIGTERM ends it at once
	e := begin(t, Stop(victim(p, addr)))
	if p.Running() || p.Killed() || e.Effect != e.Asked {
		t.Errorf("running %t, killed %t, effect %+v", p.Running(), p.Killed(), e)
	}
}

func TestPauseIsObservedAndResumed(t *testing.T) {
	p, addr := startServer(t)
	f := Pause(victim(p, addr))
	if e := begin(t, f); e.Effect < e.Asked {
		t.Errorf("effect = %+v", e)
	}
	conn, err := net.Dial("tcp", addr) // the kernel accepts for it
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintln(conn, "hello")
	_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if _, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
		t.Error("a paused process answered")
	}
	if _, err := End(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if got, err := bufio.NewReader(conn).ReadString('\n'); err != nil || got != "hello\n" {
		t.Errorf("after Resume: %q, %v", got, err)
	}
}

// TestRollingGoesOnWhenHealthy: each victim is stopped once, and the next only after health.
func TestRollingGoesOnWhenHealthy(t *testing.T) {
	var order []string
	var victims []Victim
	for _, name := range []string{"a", "b", "c"} {
		p, addr := startServer(t)
		victims = append(victims, Victim{Name: name, Process: p, Addr: addr, Restart: func(context.Context) error {
			if p.Running() {
				t.Errorf("%s runs when it is to be started", name)
			}
			order = append(order, "start "+name)
			return nil
		}})
	}
	f := Rolling(func(context.Context) error { order = append(order, "healthy"); return nil }, victims...)
	begin(t, f)
	if _, err := End(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	want := "start a,healthy,start b,healthy,start c,healthy,healthy"
	if got := strings.Join(order, ","); got != want {
		t.Errorf("order = %s, want %s", got, want)
	}
}

func TestStarveTakesCPUAndLeavesNothing(t *testing.T) {
	f := Starve(2, 19, time.Minute).(*starve)
	begin(t, f)
	pids := []int{f.running[0].Pid(), f.running[1].Pid()}
	if _, err := End(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if syscall.Kill(pid, 0) == nil {
			t.Errorf("burner %d is still there", pid)
		}
	}
}
