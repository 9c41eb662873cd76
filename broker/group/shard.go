package group

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// maxInFlight bounds the appends of a shard that the replicas do not have yet. Beyond it commits are refused as not available now.
	maxInFlight = 4096
	// loadRetry is the pause before a load that failed is tried again.
	loadRetry = 200 * time.Millisecond
)

// shard coordinates the groups of one partition of the internal topic for the time of one leadership. Its groups belong to the goroutine of run.
type shard struct {
	partition, epoch int32
	log              Log
	rules            Rules
	logger           *slog.Logger

	loaded atomic.Bool
	calls  chan func()   // to the owner; capacity 0: a caller waits until it is taken or the shard is over
	done   chan struct{} // closed when nothing takes calls any more

	groups  map[string]*Group
	due     map[string]time.Time // group → its deadline
	tickets map[Ticket]chan<- any
	last    Ticket
	flights chan flight // to the waiter, in order
	landed  chan flight // back from it
}

// flight is an append under way.
type flight struct {
	group   string
	pending Pending
	then    Appended
}

func newShard(partition, epoch int32, l Log, rules Rules, logger *slog.Logger) *shard {
	return &shard{
		partition: partition, epoch: epoch, log: l, rules: rules,
		logger: logger.With("topic", Topic, "partition", partition, "epoch", epoch),
		calls:  make(chan func()), done: make(chan struct{}),
		due: map[string]time.Time{}, tickets: map[Ticket]chan<- any{},
		flights: make(chan flight, maxInFlight), landed: make(chan flight),
	}
}

// run loads the groups and serves them until ctx ends. Everybody who still waits is then told to find the new coordinator.
func (s *shard) run(ctx context.Context) {
	defer close(s.done)
	if !s.load(ctx) {
		return
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { s.waitForFlights(ctx); return nil })
	g.Go(func() error { s.serve(ctx); return nil })
	_ = g.Wait() // neither fails: they end with ctx
	for _, c := range s.tickets {
		c <- ErrNotCoordinator
	}
}

func (s *shard) load(ctx context.Context) bool {
	began := time.Now()
	for {
		groups, err := load(ctx, s.log, s.rules, s.logger)
		if err == nil {
			s.groups = groups
			break
		}
		if ctx.Err() != nil || errors.Is(err, ErrNotCoordinator) {
			return false
		}
		s.logger.Warn("groups not loaded, trying again", "error", err)
		select {
		case <-time.After(loadRetry):
		case <-ctx.Done():
			return false
		}
	}
	for id, g := range s.groups {
		s.schedule(id, g)
	}
	s.loaded.Store(true)
	s.logger.Info("coordinating groups", "groups", len(s.groups), "loaded_in", time.Since(began).String())
	return true
}

func (s *shard) serve(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		s.arm(timer)
		select {
		case call := <-s.calls:
			call()
		case f := <-s.landed:
			s.step(f.group, f.then)
		case <-timer.C:
			s.tick()
		case <-ctx.Done():
			return
		}
	}
}

// arm sets the timer to the earliest deadline.
func (s *shard) arm(t *time.Timer) {
	next := time.Now().Add(time.Hour)
	for _, d := range s.due {
		if d.Before(next) {
			next = d
		}
	}
	t.Reset(max(time.Until(next), 0))
}

func (s *shard) tick() {
	now := time.Now()
	for id, d := range s.due {
		if !now.Before(d) {
			s.step(id, Tick{})
		}
	}
}

func (s *shard) schedule(id string, g *Group) {
	if d := g.Deadline(); d.IsZero() {
		delete(s.due, id)
	} else {
		s.due[id] = d
	}
}

// step steps a group, making it if need be, and runs the actions. Appends that fail at once are stepped in turn.
func (s *shard) step(id string, e Event) {
	now := time.Now()
	g := s.groups[id]
	if g == nil {
		g = New(id, s.rules, now)
		s.groups[id] = g
	}
	before := g.State
	for events := []Event{e}; len(events) > 0; events = events[1:] {
		for _, a := range g.Step(now, events[0]) {
			switch a := a.(type) {
			case Reply:
				s.answer(a.Ticket, a.Body)
			case Append:
				if err := s.append(id, a, now); err != nil {
					a.Then.Err = err
					events = append(events, a.Then)
				}
			}
		}
	}
	if g.State != before {
		s.logger.Info("group changed state", "group", id, "from", before.String(), "to", g.State.String(), "generation", g.Generation, "members", len(g.members))
	}
	if g.Removable() {
		delete(s.groups, id)
		delete(s.due, id)
		return
	}
	s.schedule(id, g)
}

func (s *shard) answer(t Ticket, body any) {
	if c, ok := s.tickets[t]; ok {
		c <- body
		delete(s.tickets, t)
	}
}

func (s *shard) append(id string, a Append, now time.Time) error {
	if len(s.flights) == cap(s.flights) { // only this goroutine adds
		return fmt.Errorf("%w: %d appends under way", ErrUnavailable, maxInFlight)
	}
	p, err := s.log.Append(batch(a.Records, now))
	if err != nil {
		s.logger.Warn("group record not appended", "group", id, "error", err)
		return unacknowledged(err)
	}
	s.flights <- flight{group: id, pending: p, then: a.Then}
	return nil
}

// waitForFlights waits for one append after the other, so that they finish in the order of the log. An append counts only if the leadership under which the
// request was taken still holds when the replicas have it: a coordinator that was replaced meanwhile must not acknowledge (KAFKA-20634).
func (s *shard) waitForFlights(ctx context.Context) {
	for {
		var f flight
		select {
		case f = <-s.flights:
		case <-ctx.Done():
			return
		}
		f.then.Err = f.pending.Wait(ctx)
		if f.then.Err == nil {
			f.then.Err = s.log.Leads()
		}
		f.then.Err = unacknowledged(f.then.Err)
		select {
		case s.landed <- f:
		case <-ctx.Done():
			return
		}
	}
}

// unacknowledged says what the failure of an append means to a member: the coordinator has moved, or it cannot now.
func unacknowledged(err error) error {
	if err == nil || errors.Is(err, ErrNotCoordinator) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
