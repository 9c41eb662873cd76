package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const roleKey = "REGENCY_PROCESS_TEST_ROLE"

// TestMain lets the test binary play the parts of the processes that the tests need.
func TestMain(m *testing.M) {
	switch os.Getenv(roleKey) {
	case "":
		goleak.VerifyTestMain(m)
	case "parent":
		playParent()
	case "busy":
		playBusy()
	case "clock":
		playClock()
	}
}

// playParent starts a child, prints its pid, makes the runtime end threads, and waits to be killed.
func playParent() {
	child, err := Start(context.Background(), Spec{Path: "sleep", Args: []string{"600"}})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	for range 50 { // each of these ends a thread; none of them may be the one that forked
		ended := make(chan struct{})
		go func() { defer close(ended); runtime.LockOSThread() }()
		<-ended
	}
	fmt.Println(child.Pid())
	select {}
}

// playBusy uses CPU in several threads and writes a file until it is killed.
func playBusy() {
	for range 3 {
		go func() {
			for i := 0; ; i++ {
				_ = strconv.Itoa(i)
			}
		}()
	}
	f, err := os.Create("written")
	if err != nil {
		os.Exit(1)
	}
	block := make([]byte, 1<<16)
	for {
		_, _ = f.WriteAt(block, 0)
		_ = f.Sync()
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func start(t *testing.T, spec Spec) *Process {
	t.Helper()
	p, err := Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// eventually waits for a condition that nothing announces.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func gone(pid int) bool {
	_, alive := startTime(pid)
	return !alive
}

func TestChildDiesWithItsParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the parent-death signal is Linux's")
	}
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), roleKey+"=parent")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("parent said %q", line)
	}
	if gone(child) {
		t.Fatal("the child died before its parent: a thread that ended took it along")
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	eventually(t, "child of a killed parent is dead", func() bool { return gone(child) })
}

func TestExitErrorAndLog(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	p := start(t, Spec{Name: "speaker", Path: "sh", Args: []string{"-c", "echo one; echo two >&2; echo $WORD; exit 3"},
		Env: []string{"WORD=three"}, LogPath: log})
	<-p.Done()
	if err := p.ExitError(); err == nil || err.Error() != "speaker: exit status 3" {
		t.Errorf("ExitError() = %v, want speaker: exit status 3", err)
	}
	if got := p.TailLog(2); got != "two\nthree" {
		t.Errorf("TailLog(2) = %q, want the last two lines", got)
	}
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, ErrExited) {
		t.Errorf("Signal after the end = %v, want ErrExited", err)
	}
	if p.Running() {
		t.Error("Running() after Done")
	}
}

func TestStartErrorNamesTheProcess(t *testing.T) {
	_, err := Start(t.Context(), Spec{Name: "ghost", Path: "/nonexistent/program"})
	if err == nil || !strings.Contains(err.Error(), "start ghost") {
		t.Errorf("Start = %v, want an error that names ghost", err)
	}
	if _, err := Start(t.Context(), Spec{}); err == nil {
		t.Error("Start of an empty Spec gave no error")
	}
}

func TestContextEndsProcess(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p, err := Start(ctx, Spec{Path: "sleep", Args: []string{"600"}})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case <-p.Done():
	case <-within(t, 30*time.Second).Done():
		t.Fatal("the process outlived its context")
	}
}

func TestStopIsPoliteThenKills(t *testing.T) {
	polite := start(t, Spec{Path: "sleep", Args: []string{"600"}})
	if err := polite.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := polite.Stop(t.Context(), time.Minute); err != nil {
		t.Errorf("Stop of a paused process = %v, want nil", err)
	}

	log := filepath.Join(t.TempDir(), "log")
	deaf := start(t, Spec{Path: "sh", Args: []string{"-c", "trap '' TERM; echo ready; while :; do sleep 1; done"}, LogPath: log})
	eventually(t, "the trap is set", func() bool { return deaf.TailLog(1) == "ready" })
	err := deaf.Stop(t.Context(), 10*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "ignored SIGTERM") {
		t.Errorf("Stop of a deaf process = %v, want a word that it was killed", err)
	}
	if deaf.Running() {
		t.Error("the deaf process still runs")
	}
}

func TestKillSweepsGrandchildren(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	p := start(t, Spec{Path: "sh", Args: []string{"-c", "sleep 600 & echo $!; wait"}, LogPath: log})
	eventually(t, "the grandchild is named", func() bool { return p.TailLog(1) != "" })
	grandchild, err := strconv.Atoi(p.TailLog(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the grandchild is dead", func() bool { return gone(grandchild) })
}

// An heir, in a group of its own, outlives the kill; Sweep and the context's end take it away.
func TestHeirsOutliveTheKillAndAreSwept(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	for name, sweep := range map[string]func(p *Process, end func()){
		"by Sweep":           func(p *Process, _ func()) { p.Sweep() },
		"by the context end": func(_ *Process, end func()) { end() },
	} {
		t.Run(name, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "log")
			ctx, end := context.WithCancel(t.Context())
			defer end()
			p, err := Start(ctx, Spec{Path: "bash", Args: []string{"-c", "set -m; sleep 600 & echo $!; set +m; sleep 600 & wait"}, LogPath: log, Heirs: true})
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the heir is named", func() bool { return p.TailLog(1) != "" })
			pid, err := strconv.Atoi(p.TailLog(1))
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Kill(); err != nil {
				t.Fatal(err)
			}
			if gone(pid) {
				t.Fatal("the heir died with its parent")
			}
			sweep(p, end)
			eventually(t, "the heir is dead", func() bool { return gone(pid) })
		})
	}
}

func TestPauseStopsEveryThread(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	dir := t.TempDir()
	p := start(t, Spec{Path: os.Args[0], Env: []string{roleKey + "=busy"}, Dir: dir})
	eventually(t, "it uses CPU and writes", func() bool {
		u, err := p.Usage()
		return err == nil && u.CPU >= 50*time.Millisecond && u.WriteBytes > 0 && u.RSS > 0
	})
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := p.WaitPaused(within(t, 30*time.Second)); err != nil {
		t.Fatal(err)
	}
	before, err := p.Usage()
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		time.Sleep(time.Millisecond)
		if after, err := p.Usage(); err != nil || after.CPU != before.CPU {
			t.Fatalf("a paused process went from %v to %v of CPU (%v)", before.CPU, after.CPU, err)
		}
	}
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it uses CPU again", func() bool {
		u, err := p.Usage()
		return err == nil && u.CPU > before.CPU
	})
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	total, err := p.Usage()
	if err != nil || total.CPU < before.CPU || total.WriteBytes < before.WriteBytes {
		t.Errorf("Usage after the end = %+v, %v; want at least %+v", total, err, before)
	}
	if err := p.WaitPaused(t.Context()); !errors.Is(err, ErrExited) {
		t.Errorf("WaitPaused after the end = %v, want ErrExited", err)
	}
}
