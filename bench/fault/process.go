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
	// Stop asks with SIGTERM and returns when the process is reaped; an error if it had to be killed.
	Stop(ctx context.Context, grace time.Duration) error
	Pause() error
	WaitPaused(ctx context.Context) error
	Resume() error
}

// Victim is a process and how it comes back.
type Victim struct {
	Name    string
	Process Process
	Addr    string                      // where it listens
	Restart func(context.Context) error // starts it again with its data; after kill and stop
	Serves  func(context.Context) error // waits until it serves again; nil: that it was started is enough
}

// grace is how long a graceful stop may take. A broker that hands its leaderships over takes well below a second.
const grace = 30 * time.Second

// ends is a fault that ends processes.
type ends struct {
	verb     string
	graceful bool
	victims  []Victim
	end      func(ctx context.Context, p Process) error
	watches  []*watch
	asked    int64
	observed []int64 // when each victim was seen to be gone
}

// Kill ends processes by SIGKILL, one after the other.
func Kill(victims ...Victim) Fault {
	return &ends{verb: "kill", victims: victims, end: func(_ context.Context, p Process) error { return p.Kill() }}
}

// Stop ends processes by SIGTERM, one after the other.
func Stop(victims ...Victim) Fault {
	return &ends{verb: "stop", graceful: true, victims: victims, end: func(ctx context.Context, p Process) error { return p.Stop(ctx, grace) }}
}

// SetUp opens a connection to each victim. It breaks when the kernel closes the process's sockets, which is a little before the process can be reaped.
func (f *ends) SetUp(ctx context.Context) error {
	for _, v := range f.victims {
		w, err := newWatch(ctx, v.Addr)
		if err != nil {
			return fmt.Errorf("%s %s: it does not accept connections before the fault: %w", f.verb, v.Name, err)
		}
		f.watches = append(f.watches, w)
	}
	return nil
}

func (f *ends) Inject(ctx context.Context) error {
	f.asked = timeline.Now()
	for _, v := range f.victims {
		if err := f.end(ctx, v.Process); err != nil {
			return fmt.Errorf("%s %s: %w", f.verb, v.Name, err)
		}
		f.observed = append(f.observed, timeline.Now())
	}
	return nil
}

func (f *ends) Observe(context.Context) (Effect, error) {
	e := Effect{Asked: f.asked}
	for i, w := range f.watches {
		broke, at := w.await(), f.observed[i]
		if f.graceful { // it begins to leave when it is told; that it has left is the evidence
			at = f.asked
		} else if broke != 0 {
			at = min(at, broke)
			e.Closed = max(e.Closed, broke)
		}
		e.Effect = max(e.Effect, at)
	}
	return e, nil
}

func (f *ends) Recover(ctx context.Context) error {
	for _, v := range f.victims {
		if err := v.Restart(ctx); err != nil {
			return fmt.Errorf("start %s again: %w", v.Name, err)
		}
	}
	return nil
}

func (f *ends) AwaitRecovered(ctx context.Context) error { return serve(ctx, f.victims) }

func serve(ctx context.Context, victims []Victim) error {
	for _, v := range victims {
		if v.Serves == nil {
			continue
		}
		if err := v.Serves(ctx); err != nil {
			return fmt.Errorf("wait for %s to serve again: %w", v.Name, err)
		}
	}
	return nil
}

func (f *ends) CleanUp() error {
	for _, w := range f.watches {
		w.close()
	}
	return nil
}

// pause is a fault that freezes processes.
type pause struct {
	victims []Victim
	frozen  []Victim
	asked   int64
	effect  int64
}

// Pause freezes processes by SIGSTOP, until SIGCONT.
func Pause(victims ...Victim) Fault { return &pause{victims: victims} }

func (f *pause) SetUp(context.Context) error { return nil }

func (f *pause) Inject(context.Context) error {
	f.asked = timeline.Now()
	for _, v := range f.victims {
		if err := v.Process.Pause(); err != nil {
			return fmt.Errorf("pause %s: %w", v.Name, err)
		}
		f.frozen = append(f.frozen, v)
	}
	return nil
}

// Observe returns when every thread of every victim is stopped.
func (f *pause) Observe(ctx context.Context) (Effect, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for _, v := range f.victims {
		if err := v.Process.WaitPaused(ctx); err != nil {
			return Effect{}, fmt.Errorf("pause %s: %w", v.Name, err)
		}
	}
	f.effect = timeline.Now()
	return Effect{Asked: f.asked, Effect: f.effect}, nil
}

func (f *pause) Recover(context.Context) error { return f.CleanUp() }

func (f *pause) AwaitRecovered(ctx context.Context) error { return serve(ctx, f.victims) }

func (f *pause) CleanUp() error {
	var errs []error
	for _, v := range f.frozen {
		if err := v.Process.Resume(); err != nil {
			errs = append(errs, fmt.Errorf("resume %s: %w", v.Name, err))
		}
	}
	f.frozen = nil
	return errors.Join(errs...)
}

// watch is a connection on which nothing is ever said.
type watch struct {
	conn  net.Conn
	broke chan int64
}

func newWatch(ctx context.Context, addr string) (*watch, error) {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	w := &watch{conn: conn, broke: make(chan int64, 1)}
	go func() {
		// It returns when the connection breaks, at our close, or when the victim had something to say first, which no server here has.
		_, err := conn.Read(make([]byte, 1))
		if errors.Is(err, net.ErrClosed) {
			w.broke <- 0
			return
		}
		w.broke <- timeline.Now()
	}()
	return w, nil
}

// await returns when the connection broke; 0 when it did not. The process is gone: the break is at most a scheduling delay away.
func (w *watch) await() int64 {
	_ = w.conn.SetReadDeadline(time.Now().Add(limit))
	return <-w.broke
}

func (w *watch) close() { _ = w.conn.Close() }
