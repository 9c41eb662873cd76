package storage

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
)

// The writer child is this test binary, started again with these variables. It
// appends until it is killed and prints what was acknowledged.
const (
	writerDirEnv   = "REGENCY_STORAGE_TEST_WRITER"
	writerFlushEnv = "REGENCY_STORAGE_TEST_FLUSH"
)

// writerChild runs the writer if this process is one.
func writerChild() bool {
	dir := os.Getenv(writerDirEnv)
	if dir == "" {
		return false
	}
	if err := runWriter(dir, os.Getenv(writerFlushEnv)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

func runWriter(dir, flush string) error {
	mode, err := ParseFlushMode(flush)
	if err != nil {
		return err
	}
	s, err := Open(Options{Dir: dir, Flush: mode, MemoryBudget: MinMemoryBudget})
	if err != nil {
		return err
	}
	var (
		out  sync.Mutex
		wg   sync.WaitGroup
		errs = make(chan error, crashLogs)
	)
	for i := range crashLogs {
		l, err := s.Log("a", topicA, int32(i))
		if err != nil {
			return err
		}
		wg.Go(func() {
			var err error
			for err == nil {
				err = appendOne(l, 10_000, func(end int64) {
					l.SetHighWatermark(end)
					out.Lock()
					defer out.Unlock()
					fmt.Printf("%d %d\n", i, end) // one write(2), whole or not at all
				})
			}
			errs <- err
		})
	}
	wg.Wait()
	return <-errs
}

// TestKill kills a writing process with SIGKILL, again and again on one store, and
// checks each time that all it acknowledged is there, in both flush modes.
func TestKill(t *testing.T) {
	rounds := 6
	switch {
	case os.Getenv("REGENCY_SOAK") != "":
		rounds = 60
	case testing.Short():
		rounds = 2
	}
	for _, mode := range []FlushMode{FlushSync, FlushWritten} {
		t.Run(mode.String(), func(t *testing.T) {
			o := Options{Dir: t.TempDir(), Flush: mode, MemoryBudget: MinMemoryBudget}
			var uuid string
			for range rounds {
				acked := killWriter(t, o, rand.IntN(600))
				s := mustOpen(t, o)
				verifyLoad(t, s, acked)
				if uuid != "" && s.DirectoryUUID() != uuid {
					t.Errorf("directory UUID changed from %s to %s", uuid, s.DirectoryUUID())
				}
				uuid = s.DirectoryUUID()
				mustClose(t, s)
			}
		})
	}
}

// killWriter starts a writer, kills it after so many acknowledgements, and returns
// all that it acknowledged before it died.
func killWriter(t *testing.T, o Options, after int) (acked [crashLogs]int64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writerDirEnv+"="+o.Dir, writerFlushEnv+"="+o.Flush.String())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for lines := bufio.NewScanner(out); lines.Scan(); n++ {
		var log int
		var end int64
		if _, err := fmt.Sscan(lines.Text(), &log, &end); err != nil {
			t.Fatalf("writer says %q: %v", lines.Text(), err)
		}
		acked[log] = end
		if n == after {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd.Wait() // killed: always an error
	if n <= after {
		t.Fatalf("writer ended by itself after %d acknowledgements", n)
	}
	return acked
}
