package process

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	lowestPort            = 10000
	defaultEphemeralFloor = 32768
)

// FreePorts reserves n distinct loopback ports, free for TCP and UDP on 127.0.0.1.
//
// They lie below the range from which the kernel serves outgoing connections, so that no client takes a server's port
// while that server is down. They stay reserved until ReleasePorts, or until this process ends, against every other
// caller of FreePorts of the same user on this machine: the list is a file in the temporary directory, under a lock.
func FreePorts(n int) ([]int, error) {
	var ports []int
	err := withReservations(func(taken map[int]reservation) error {
		var err error
		ports, err = probePorts(n, taken)
		if err != nil {
			return err
		}
		self := os.Getpid()
		started, _ := startTime(self)
		for _, port := range ports {
			taken[port] = reservation{pid: self, started: started}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reserve %d ports: %w", n, err)
	}
	return ports, nil
}

// ReleasePorts gives back ports that this process reserved. Others, and ports never reserved, are left as they are.
func ReleasePorts(ports []int) error {
	err := withReservations(func(taken map[int]reservation) error {
		for _, port := range ports {
			if taken[port].pid == os.Getpid() {
				delete(taken, port)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("release ports: %w", err)
	}
	return nil
}

// probePorts holds every port it finds until it has all of them.
func probePorts(n int, taken map[int]reservation) ([]int, error) {
	floor := ephemeralFloor()
	if floor < lowestPort+1000 {
		floor = defaultEphemeralFloor // no room below: a random port of the usual servers' range is the next best
	}
	var held []io.Closer
	defer func() {
		for _, h := range held {
			_ = h.Close()
		}
	}()
	var ports []int
	for _, offset := range rand.Perm(floor - lowestPort) {
		if len(ports) == n {
			return ports, nil
		}
		port := lowestPort + offset
		if _, reserved := taken[port]; reserved {
			continue
		}
		tcp, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
				return nil, err
			}
			continue
		}
		held = append(held, tcp)
		udp, err := net.ListenPacket("udp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		held = append(held, udp)
		ports = append(ports, port)
	}
	if len(ports) < n {
		return nil, fmt.Errorf("only %d are free between %d and %d", len(ports), lowestPort, floor)
	}
	return ports, nil
}

// reservation names the process that holds a port; it ends with that process.
type reservation struct {
	pid     int
	started string
}

func (r reservation) alive() bool {
	started, ok := startTime(r.pid)
	return ok && started == r.started
}

// withReservations runs change on the machine's list, without the entries of dead processes, and writes it back. A line
// is "port pid start-time".
func withReservations(change func(map[int]reservation) error) error {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("regency-ports-%d", os.Getuid()))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer f.Close() // ends the lock as well
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	taken := parseReservations(string(data))
	if err := change(taken); err != nil {
		return err
	}
	var out strings.Builder
	for port, r := range taken {
		fmt.Fprintf(&out, "%d %d %s\n", port, r.pid, r.started)
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(out.String()), 0)
	return err
}

// parseReservations leaves out lines that it cannot read: the worst that a lost line does is a port offered twice.
func parseReservations(data string) map[int]reservation {
	taken := make(map[int]reservation)
	for line := range strings.Lines(data) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		port, errPort := strconv.Atoi(fields[0])
		pid, errPid := strconv.Atoi(fields[1])
		if errPort != nil || errPid != nil {
			continue
		}
		r := reservation{pid: pid}
		if len(fields) > 2 {
			r.started = fields[2]
		}
		if r.alive() {
			taken[port] = r
		}
	}
	return taken
}
