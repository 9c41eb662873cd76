package process

import (
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
)

func TestFreePortsAreDistinctAndBindable(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var (
		mu   sync.Mutex
		seen = make(map[int]bool)
		all  []int
		wg   sync.WaitGroup
	)
	for range 8 {
		wg.Go(func() {
			ports, err := FreePorts(12)
			if err != nil || len(ports) != 12 {
				t.Errorf("FreePorts(12) = %v, %v", ports, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for _, port := range ports {
				if seen[port] {
					t.Errorf("port %d was given twice", port)
				}
				if port >= ephemeralFloor() {
					t.Errorf("port %d is in the ephemeral range, which starts at %d", port, ephemeralFloor())
				}
				seen[port] = true
				all = append(all, port)
			}
		})
	}
	wg.Wait()
	for _, port := range all {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Errorf("listen on a free port: %v", err)
			continue
		}
		_ = l.Close()
	}
	if err := ReleasePorts(all); err != nil {
		t.Fatal(err)
	}
	err := withReservations(func(taken map[int]reservation) error {
		if len(taken) != 0 {
			t.Errorf("%d ports are still reserved after the release", len(taken))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFreePortsOfTheDeadAreFreed(t *testing.T) {
	self := os.Getpid()
	started, _ := startTime(self)
	data := fmt.Sprintf("20000 %d %s\n20001 %d %s0\nrubbish\n20002 x\n", self, started, self, started)
	taken := parseReservations(data)
	if len(taken) != 1 || taken[20000].pid != self {
		t.Errorf("parseReservations = %v, want port 20000 alone: 20001 is of an earlier holder of the pid", taken)
	}
}

func TestFreePortsRefusesTheImpossible(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	if ports, err := FreePorts(1 << 17); err == nil {
		t.Errorf("FreePorts(131072) gave %d ports and no error", len(ports))
	}
}
