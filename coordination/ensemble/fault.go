package ensemble

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/regency-project/regency/coordination/process"
)

// pauseLimit bounds the wait for SIGSTOP to take effect: microseconds on an idle machine, a scheduling delay on a busy one.
const pauseLimit = 10 * time.Second

func (e *Ensemble) member(i int) (*member, error) {
	if i < 0 || i >= len(e.members) {
		return nil, fmt.Errorf("member %d of %d %s members: no such member", i, len(e.members), e.binary.Backend)
	}
	return e.members[i], nil
}

// KillMember kills member i, counted from 0, with SIGKILL and waits until it is dead. A dead member is no error.
func (e *Ensemble) KillMember(i int) error {
	m, err := e.member(i)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.paused = false
	return m.mu.process.Kill()
}

// PauseMember stops member i with SIGSTOP and returns when all its threads are stopped.
func (e *Ensemble) PauseMember(i int) error {
	m, err := e.member(i)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.mu.process.Pause(); err != nil {
		return err
	}
	m.mu.paused = true
	ctx, cancel := context.WithTimeout(e.life, pauseLimit)
	defer cancel()
	return m.mu.process.WaitPaused(ctx)
}

// ShiftMemberClock makes the wall clock of member i differ from the machine's by d. Its monotonic clock is not affected.
func (e *Ensemble) ShiftMemberClock(i int, d time.Duration) error {
	m, err := e.member(i)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.process.ShiftWallClock(d)
}

// ResumeMember lets a paused member go on.
func (e *Ensemble) ResumeMember(i int) error {
	m, err := e.member(i)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.paused = false
	return m.mu.process.Resume()
}

// RestartMember starts a dead member again with its data and ports and waits, until ctx ends, for it to serve. A member
// that runs is killed first.
func (e *Ensemble) RestartMember(ctx context.Context, i int) error {
	if err := e.KillMember(i); err != nil {
		return err
	}
	if err := e.startMember(ctx, e.members[i]); err != nil {
		return err
	}
	return e.waitFor(ctx, fmt.Sprintf("restart %s", e.name(i)), func(ctx context.Context) error {
		return e.probeAll(ctx, i)
	})
}

// StopQuorum kills as many members as it takes to leave the ensemble without a quorum, the leader among them, and returns
// which. StartQuorum brings them back.
func (e *Ensemble) StopQuorum(ctx context.Context) ([]int, error) {
	leader, err := e.Leader(ctx)
	if err != nil && !errors.Is(err, ErrNoLeader) {
		return nil, err
	}
	order := []int{max(leader, 0)}
	for i := range e.members {
		if i != order[0] {
			order = append(order, i)
		}
	}
	// Of n members n - n/2 dead leave n/2: one too few for a majority.
	victims := order[:len(e.members)-len(e.members)/2]
	for _, i := range victims {
		if err := e.KillMember(i); err != nil {
			return nil, err
		}
	}
	return victims, nil
}

// StartQuorum starts every dead member and waits, until ctx ends, for the ensemble to serve.
func (e *Ensemble) StartQuorum(ctx context.Context) error {
	if err := e.startAll(ctx); err != nil {
		return err
	}
	return e.WaitReady(ctx)
}

// WaitReady waits until every member that should run serves and all agree on a leader. It fails at once when a member has
// ended by itself.
func (e *Ensemble) WaitReady(ctx context.Context) error {
	return e.waitFor(ctx, "wait for the ensemble to serve", func(ctx context.Context) error {
		var up []int
		for i, m := range e.Members() {
			if m.Running && !m.Paused {
				up = append(up, i)
			}
		}
		if len(up) == 0 {
			return errors.New("no member runs")
		}
		if err := e.probeAll(ctx, up...); err != nil {
			return err
		}
		return e.probeAgents(ctx)
	})
}

// waitFor repeats probe until it succeeds. Its error says what was wrong last, with the log of a member that has died.
func (e *Ensemble) waitFor(ctx context.Context, what string, probe func(context.Context) error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		last := probe(ctx)
		if last == nil {
			return nil
		}
		if err := e.deaths(); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		select {
		case <-tick.C:
		case <-e.life.Done():
			return fmt.Errorf("%s: the ensemble was closed", what)
		case <-ctx.Done():
			return fmt.Errorf("%s: %w (last: %w)\n%s", what, context.Cause(ctx), last, e.logTails())
		}
	}
}

// deaths reports members that ended other than by SIGKILL, which is how we end them.
func (e *Ensemble) deaths() error {
	for _, m := range e.all() {
		m.mu.Lock()
		p := m.mu.process
		m.mu.Unlock()
		if p == nil || p.Running() || p.Killed() {
			continue
		}
		return fmt.Errorf("%s ended by itself (%v):\n%s", m.name, p.ExitError(), p.TailLog(20))
	}
	return nil
}

func (e *Ensemble) logTails() string {
	var all string
	for _, m := range e.all() {
		all += fmt.Sprintf("--- end of the log of %s\n%s\n", m.name, process.Tail(m.logPath(), 5))
	}
	return all
}
