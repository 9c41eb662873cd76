// Package controlloop is the shell of package controller: it campaigns for the leadership, feeds events to controller.Step one at a time, and commits what it
// decides. Client is the other side: it brings a request to whichever broker leads.
package controlloop

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/controller"
	"github.com/regency-project/regency/broker/event"
	"github.com/regency-project/regency/coordination"
)

const (
	// queueSize bounds the requests that wait for a decision; beyond it they are refused as ErrBusy.
	queueSize = 256
	// retryPause is between tries while the coordination service refuses commits.
	retryPause = 50 * time.Millisecond
	// resignTimeout bounds the resignation of a broker that stops.
	resignTimeout = time.Second
)

// DefaultRebalanceDelay is how long all live replicas must be in sync before leadership goes back to the preferred ones.
const DefaultRebalanceDelay = 5 * time.Second

// Config of a Loop. ID, Coordinator, Current and Log are required.
type Config struct {
	ID          int32
	Coordinator coordination.Coordinator
	Current     *cluster.Current // set by the broker's watch of the commit chain
	Events      *event.Log
	Log         *slog.Logger
	// Registrations, when set, is told what the watch of the registrations tells. It must not block.
	Registrations func([]coordination.Registered)
	// RebalanceDelay: 0 is DefaultRebalanceDelay; negative never rebalances by itself.
	RebalanceDelay time.Duration
}

// Loop is one broker's candidacy and, while it leads, the controller.
type Loop struct {
	cfg Config
	mu  struct {
		sync.Mutex
		reported []coordination.Registered
		term     *term
	}
}

// New makes a Loop.
func New(cfg Config) *Loop {
	if cfg.RebalanceDelay == 0 {
		cfg.RebalanceDelay = DefaultRebalanceDelay
	}
	return &Loop{cfg: cfg}
}

// Run reports who comes and goes, on every broker. It returns when ctx ends, or with the error of the watch that cannot go on. No decision is made of what it is
// told: a watch may be behind, and a new controller that knew of no registration made before its claim would fence a live broker. See roster.
func (l *Loop) Run(ctx context.Context) error {
	if err := l.cfg.Coordinator.WatchRegistrations(ctx, l.registrations); err != nil {
		return fmt.Errorf("watch registrations: %w", err)
	}
	return nil
}

func (l *Loop) registrations(present []coordination.Registered) {
	l.mu.Lock()
	before := l.mu.reported
	l.mu.reported = present
	l.mu.Unlock()
	if l.cfg.Registrations != nil {
		l.cfg.Registrations(present)
	}
	l.report("registration.gone", before, present)
	l.report("registration.seen", present, before)
}

// report emits an event for each registration that is in a and not in b.
func (l *Loop) report(name string, a, b []coordination.Registered) {
	have := make(map[string]bool, len(b))
	for _, r := range b {
		have[r.Incarnation] = true
	}
	for _, r := range a {
		if !have[r.Incarnation] {
			l.cfg.Events.Emit(name, "id", r.ID, "incarnation", r.Incarnation)
			if _, err := cluster.ParseAttributes(r.Attributes); err != nil {
				l.cfg.Log.Warn("broker cannot be admitted", "broker", r.ID, "error", err)
			}
		}
	}
}

// Lead campaigns with the session and leads, again and again, until ctx ends or the session is Lost; the error says which. Run must be running.
func (l *Loop) Lead(ctx context.Context, session coordination.Session) error {
	for {
		leadership, err := session.Campaign(ctx)
		if err != nil {
			return fmt.Errorf("lead: %w", err)
		}
		if err := l.serve(ctx, leadership); err != nil {
			return fmt.Errorf("lead in epoch %d: %w", leadership.Epoch(), err)
		}
	}
}

// Leading says whether this broker is the controller, as far as it knows.
func (l *Loop) Leading() bool { return l.currentTerm() != nil }

func (l *Loop) currentTerm() *term {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.term
}

func (l *Loop) setTerm(t *term) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.term = t
}

// Submit asks for a decision and waits until it is committed. Errors: those of controller.Step; ErrNotController, ErrBusy, coordination.ErrUnavailable and
// coordination.ErrTooLarge: nothing was done; ErrUnsettled, with ctx's cause if that ended the wait: the request may still be served.
func (l *Loop) Submit(ctx context.Context, e controller.Event) (any, error) {
	t := l.currentTerm()
	if t == nil {
		return nil, ErrNotController
	}
	r := request{event: e, answer: make(chan answer, 1)}
	select {
	case t.queue <- r:
	default:
		return nil, ErrBusy
	}
	select {
	case a := <-r.answer:
		return a.reply, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnsettled, context.Cause(ctx))
	case <-t.done:
	}
	select { // what was taken from the queue was answered before the term was done
	case a := <-r.answer:
		return a.reply, a.err
	default:
		return nil, ErrNotController
	}
}
