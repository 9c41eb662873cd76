package group

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/regency-project/regency/broker/cluster"
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
	current          *cluster.Current
	rules            Rules
	logger           *slog.Logger

	loaded atomic.Bool
	calls  chan func()   // to the owner; capacity 0: a caller waits until it is taken or the shard is over
	done   chan struct{} // closed when nothing takes calls any more

	seen    uint64 // the sequence number of the view whose deletions are done
	groups  map[string]*Group
	due     map[string]time.Time // group → its deadline
	next    time.Time            // no deadline is before it; zero is never
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

func newShard(partition, epoch int32, l Log, c Config) *shard {
	return &shard{
		partition: partition, epoch: epoch, log: l, current: c.Current, rules: c.Rules,
		logger: c.Log.With("topic", Topic, "partition", partition, "epoch", epoch),
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
		view, changed := s.current.Next()
		s.forgetDeleted(view)
		s.arm(timer)
		select {
		case <-changed:
		case call := <-s.calls:
			call()
		case f := <-s.landed:
			s.step(f.group, f.then)
		case <-timer.C:
			s.tickAfterCalls()
		case <-ctx.Done():
			return
		}
	}
}

// forgetDeleted lets the groups forget the topics that are deleted. A topic that is made anew under the name starts without offsets. A group can only have
// offsets of a topic that is in the view or was: commits for others are refused, and the view includes this leadership.
func (s *shard) forgetDeleted(v *cluster.View) {
	if v.Seq == s.seen {
		return
	}
	s.seen = v.Seq
	exists := func(topic string) bool { return v.Topics[topic] != nil }
	for id, g := range s.groups {
		if gone := g.without(exists); len(gone) > 0 {
			s.step(id, TopicsDeleted{Partitions: gone})
		}
	}
}

// arm sets the timer to the earliest deadline, or before it.
func (s *shard) arm(t *time.Timer) {
	if s.next.IsZero() {
		t.Reset(time.Hour)
		return
	}
	t.Reset(max(time.Until(s.next), 0))
}

// tickAfterCalls hears everybody who waits before it lets time pass: after a stall of the disk the heartbeats that came meanwhile count.
func (s *shard) tickAfterCalls() {
	for {
		select {
		case call := <-s.calls:
			call()
		default:
			s.tick()
			return
		}
	}
}

func (s *shard) tick() {
	now := time.Now()
	s.next = time.Time{}
	for id, d := range s.due {
		if !now.Before(d) {
			s.step(id, Tick{}) // schedules anew
			continue
		}
		s.sooner(d)
	}
}

func (s *shard) schedule(id string, g *Group) {
	d := g.Deadline()
	if d.IsZero() {
		delete(s.due, id)
		return
	}
	s.due[id] = d
	s.sooner(d)
}

func (s *shard) sooner(d time.Time) {
	if s.next.IsZero() || d.Before(s.next) {
		s.next = d
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
