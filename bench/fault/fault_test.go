package fault

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
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

func TestKillIsObserved(t *testing.T) {
	p, addr := startServer(t)
	e, err := Kill(t.Context(), p, addr)
	if err != nil {
		t.Fatal(err)
	}
	if e.Closed == 0 || e.Effect < e.Asked || e.Effect > e.Closed {
		t.Errorf("effect = %+v, want asked ≤ effect ≤ closed, all seen", e)
	}
	if p.Running() {
		t.Error("the process runs after Kill")
	}
	if _, err := Kill(t.Context(), p, addr); err == nil {
		t.Error("Kill of a dead process is no error: the fault would not have taken effect")
	}
}

func TestPauseIsObservedAndResumed(t *testing.T) {
	p, addr := startServer(t)
	e, err := Pause(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if e.Effect < e.Asked {
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
	if _, err := Resume(p); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if got, err := bufio.NewReader(conn).ReadString('\n'); err != nil || got != "hello\n" {
		t.Errorf("after Resume: %q, %v", got, err)
	}
}
