package detector

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/regency-project/regency/broker/event"
	"github.com/regency-project/regency/coordination"
)

const (
	// actLimit is how long a guardian tries to evict. Where the service is away for longer, the broker's session has ended as well by the time it is back.
	actLimit = 30 * time.Second
	// maxMessage bounds a line on the pipe.
	maxMessage = 1 << 20
)

// Open opens what a guardian works with, from the settings that the broker sent. It waits for the service until ctx ends.
type Open func(ctx context.Context, broker int32, settings json.RawMessage) (coordination.Coordinator, *event.Log, *slog.Logger, error)

// guardian is the process beside a broker.
type guardian struct {
	co     coordination.Coordinator
	events *event.Log
	log    *slog.Logger
	mu     struct {
		sync.Mutex
		session coordination.Session // nil while there is none
		changed chan struct{}        // closed and replaced when session changes
	}
}

// RunGuardian is a guardian's whole life: it reads from its broker until the pipe ends, and when that comes without a good-bye, evicts the broker. It returns
// then, or after having tried for 30 s. It is a client with a session of its own, opened in advance, and is never registered.
//
// The broker alone holds the other end of the pipe, so its end is certain evidence, whatever the machine's load: there is nothing to tune. What it does not
// show is a broker that is stopped or whose machine is gone; for these the session's end remains.
func RunGuardian(in io.Reader, open Open) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxMessage)
	lines.Split(wholeLines)
	var first message
	if err := next(lines, &first); err != nil {
		return fmt.Errorf("guardian: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	life := make(chan lived, 1)
	go func() { life <- follow(lines) }()

	g := &guardian{log: slog.New(slog.DiscardHandler)}
	g.mu.changed = make(chan struct{})
	opening := make(chan error, 1)
	go func() { opening <- g.open(ctx, first, open) }()
	var l lived
	var ended bool
	var err error
	select {
	case err = <-opening:
	case l = <-life: // the broker ended before we could reach the service
		ended = true
		if l.idle() {
			cancel()
		} else {
			defer time.AfterFunc(actLimit, cancel).Stop()
		}
		err = <-opening
	}
	if err != nil {
		if l.idle() && ended {
			return l.err
		}
		return fmt.Errorf("guardian: %w", err)
	}
	var keeping sync.WaitGroup
	keeping.Go(func() { g.keepSession(ctx) })
	if !ended {
		l = <-life
	}
	err = g.finish(ctx, first.Broker, l)
	cancel()
	keeping.Wait()
	return errors.Join(err, g.co.Close(), g.events.Close())
}

// lived is what a broker told until it ended.
type lived struct {
	registered *coordination.Registered
	bye        bool
	end        time.Time
	err        error
}

// idle: there is nothing to do.
//
// An error is not the pipe's end: whatever stands behind it, such as a line that nobody understands, the broker may well live.
func (l lived) idle() bool { return l.bye || l.registered == nil || l.err != nil }

func follow(lines *bufio.Scanner) (l lived) {
	for {
		var m message
		err := next(lines, &m)
		switch {
		case err != nil:
			l.end = time.Now()
			if !errors.Is(err, io.EOF) {
				l.err = fmt.Errorf("guardian: the broker is left alone: %w", err)
			}
			return l
		case m.Bye:
			l.bye, l.end = true, time.Now()
			return l
		case m.Registered != nil:
			l.registered = m.Registered
		}
	}
}

// wholeLines is a bufio.SplitFunc for which a line ends with its newline alone: what a broker had begun to write when it died is part of the pipe's end.
func wholeLines(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF {
		return len(data), nil, nil
	}
	return 0, nil, nil
}

func next(lines *bufio.Scanner, m *message) error {
	if !lines.Scan() {
		if err := lines.Err(); err != nil {
			return fmt.Errorf("read from the broker: %w", err)
		}
		return io.EOF
	}
	if err := json.Unmarshal(lines.Bytes(), m); err != nil {
		return fmt.Errorf("read from the broker: %w; the guardian is started by a broker, not by hand", err)
	}
	return nil
}

func (g *guardian) open(ctx context.Context, first message, open Open) (err error) {
	g.co, g.events, g.log, err = open(ctx, first.Broker, first.Settings)
	return err
}

// keepSession has a session open until ctx ends.
func (g *guardian) keepSession(ctx context.Context) {
	for ctx.Err() == nil {
		s, err := g.co.OpenSession(ctx, coordination.SessionOptions{})
		if err != nil {
			g.log.Warn("guardian has no session", "error", err)
			select {
			case <-time.After(evictTimeout):
			case <-ctx.Done():
			}
			continue
		}
		g.hold(s)
		g.events.Emit("guardian.ready", "session", s.ID())
		select {
		case <-s.Done():
		case <-ctx.Done():
		}
		g.hold(nil)
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), evictTimeout)
		_ = s.Close(cctx) // it expires by itself
		cancel()
	}
}

func (g *guardian) hold(s coordination.Session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.session = s
	close(g.mu.changed)
	g.mu.changed = make(chan struct{})
}

func (g *guardian) held() (coordination.Session, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.session, g.mu.changed
}

// finish does what the broker's end calls for.
func (g *guardian) finish(ctx context.Context, id int32, l lived) error {
	if l.idle() {
		return l.err
	}
	ctx, cancel := context.WithTimeout(ctx, actLimit)
	defer cancel()
	r := *l.registered
	// Nothing, not even a line of the log, goes before the first try.
	err := g.evict(ctx, r)
	g.events.Emit("guardian.acted", "id", r.ID, "incarnation", r.Incarnation, "took_ms", time.Since(l.end).Milliseconds())
	switch {
	case err == nil:
		g.events.Emit("broker.evicted", "id", r.ID, "incarnation", r.Incarnation, "by", string(Guardian), "evidence", "pipe")
		g.log.Warn("broker died; evicted by its guardian", "broker", id, "took", time.Since(l.end).Round(time.Millisecond))
	case errors.Is(err, coordination.ErrConflict):
		g.log.Info("broker died; its registration was gone already", "broker", id)
	default:
		return fmt.Errorf("evict broker %d: not within %v; its session ends by itself: %w", id, actLimit, err)
	}
	return nil
}

// evict tries until the service says what became of it, or ctx ends. While the session is not valid it waits: this process may be the one that is cut off.
func (g *guardian) evict(ctx context.Context, r coordination.Registered) error {
	last := errors.New("the guardian had no valid session")
	for try := 0; ; {
		s, changed := g.held()
		wait := evictPause // after which the session's state is looked at again, which asks nobody
		if s != nil && s.State() == coordination.Valid {
			ectx, cancel := context.WithTimeout(ctx, patience(try))
			err := s.Evict(ectx, r)
			cancel()
			if err == nil || errors.Is(err, coordination.ErrConflict) {
				return err
			}
			last, wait = err, pause(try)
			try++
		}
		select {
		case <-changed:
		case <-time.After(wait):
		case <-ctx.Done():
			return last
		}
	}
}
