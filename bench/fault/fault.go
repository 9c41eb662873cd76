// Package fault breaks a process and says when the fault took effect, from evidence and not from having asked: a process that was killed is gone, or the
// connections to it are closed; one that was paused has all its threads stopped.
package fault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/regency-project/regency/bench/timeline"
)

// Process is what can be broken. *process.Process of module coordination is one.
type Process interface {
	Kill() error // SIGKILL; returns when the process is reaped
	Pause() error
	WaitPaused(ctx context.Context) error
	Resume() error
}

// Effect is when a fault was asked for and what was seen of it, CLOCK_MONOTONIC nanoseconds.
type Effect struct {
	Asked  int64
	Closed int64 // a connection to the process broke; 0: not seen
	Effect int64 // the earliest evidence
}

// limit bounds the wait for a signal to take effect: microseconds on an idle machine, a scheduling delay on a busy one.
const limit = 10 * time.Second

// Kill kills the process. addr is where it listens: a connection that is opened there just before breaks when the kernel closes the process's sockets,
// which is a little before the process can be reaped.
func Kill(ctx context.Context, p Process, addr string) (Effect, error) {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return Effect{}, fmt.Errorf("kill: the victim does not accept connections before the fault: %w", err)
	}
	defer conn.Close()
	broken := make(chan int64, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1)) // nothing is ever sent to us: it returns when the connection breaks, or at our Close
		if errors.Is(err, net.ErrClosed) {
			broken <- 0
			return
		}
		broken <- timeline.Now()
	}()
	e := Effect{Asked: timeline.Now()}
	if err := p.Kill(); err != nil {
		return Effect{}, fmt.Errorf("kill: %w", err)
	}
	e.Effect = timeline.Now()
	// The kernel has closed the sockets by now: the break is at most a scheduling delay away.
	_ = conn.SetReadDeadline(time.Now().Add(limit))
	if e.Closed = <-broken; e.Closed != 0 {
		e.Effect = min(e.Effect, e.Closed)
	}
	return e, nil
}

// Pause freezes the process and returns when every thread is stopped.
func Pause(ctx context.Context, p Process) (Effect, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	e := Effect{Asked: timeline.Now()}
	if err := p.Pause(); err != nil {
		return Effect{}, fmt.Errorf("pause: %w", err)
	}
	if err := p.WaitPaused(ctx); err != nil {
		return Effect{}, errors.Join(fmt.Errorf("pause: %w", err), p.Resume())
	}
	e.Effect = timeline.Now()
	return e, nil
}

// Resume lets a paused process go on and returns when it was asked to.
func Resume(p Process) (int64, error) {
	at := timeline.Now()
	if err := p.Resume(); err != nil {
		return 0, fmt.Errorf("resume: %w", err)
	}
	return at, nil
}
