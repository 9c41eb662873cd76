package consul

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/regency-project/regency/coordination"
)

const (
	// serfHealth is the check of every agent's node: the others' opinion, by gossip, of whether the agent lives.
	serfHealth = "serfHealth"
	// minCheck bounds Config.Check: what remains of less, after the way to the servers, is noise.
	minCheck = 50 * time.Millisecond
)

// checkName is what the checks of the cluster's brokers are called at their agents.
func (s *Store) checkName() string { return "session of " + s.node() }

// openChecked makes a session that a TTL check keeps: see the package comment. What it made of it is undone by the caller's drop when it fails.
func (s *Session) openChecked(ctx context.Context) error {
	a := s.store.agents
	home := a.list[0]
	s.check = s.store.node() + "-" + rand.Text()
	if err := a.at(ctx, home, s.store.cfg.Request, s.store.sweep); err != nil {
		s.store.logger.Debug("checks of the past not removed", "agent", home.address, "error", err)
	}
	err := a.at(ctx, home, s.store.cfg.Request, func(ctx context.Context, c *api.Client) error {
		return c.Agent().CheckRegisterOpts(&api.AgentCheckRegistration{
			ID: s.check, Name: s.store.checkName(),
			AgentServiceCheck: api.AgentServiceCheck{TTL: s.store.cfg.Check.String(), Status: api.HealthPassing},
		}, (&api.QueryOptions{}).WithContext(ctx))
	})
	if err != nil {
		return err
	}
	entry := &api.SessionEntry{
		Name: "regency", NodeChecks: []string{s.check, serfHealth}, Behavior: api.SessionBehaviorDelete, LockDelay: s.store.cfg.LockDelay,
	}
	// The servers learn of the check from the agent, at its next synchronisation. The check must not become critical before that.
	var missing *requestError
	for until := time.Now().Add(openLimit); ; {
		if err := s.pass(ctx); unknownCheck(err) {
			// It became critical before its first pass, and another session's sweep took it: a new try makes a new one.
			return fmt.Errorf("the check was removed again: %v", err)
		} else if err != nil {
			return err
		}
		err := a.at(ctx, home, s.store.cfg.Request, func(ctx context.Context, c *api.Client) (err error) {
			s.id, _, err = c.Session().Create(entry, (&api.WriteOptions{}).WithContext(ctx))
			return err
		})
		if err == nil {
			s.mu.confirmed = time.Now()
			return nil
		}
		if !errors.As(err, &missing) || !missing.says("Missing check") && !missing.says("critical state") || time.Now().After(until) {
			return err
		}
		select {
		case <-ctx.Done():
			return ended(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

const maxSweep = 8

// openLimit bounds the wait for a new check to reach the servers. The agent sends it at once; a busy machine takes its time.
const openLimit = 5 * time.Second

// sweep removes what brokers that crashed have left at the agent: checks that are critical, whose sessions therefore are over. Nothing else does: the
// service cleans up checks of services only. It is a convenience, at most maxSweep at a time: what is left is for the next one.
func (s *Store) sweep(ctx context.Context, c *api.Client) error {
	q := (&api.QueryOptions{}).WithContext(ctx)
	checks, err := c.Agent().ChecksWithFilterOpts(fmt.Sprintf("Name == %q and Status == %q", s.checkName(), api.HealthCritical), q)
	if err != nil {
		return err
	}
	swept := 0
	for id := range checks {
		if swept++; swept > maxSweep {
			break
		}
		// Another session's sweep may have been there first.
		var status api.StatusError
		if err := c.Agent().CheckDeregisterOpts(id, q); err != nil && (!errors.As(err, &status) || status.Code != http.StatusNotFound) {
			return err
		}
	}
	return nil
}

// pass is the renewal of the check, at the agent that runs it.
func (s *Session) pass(ctx context.Context) error {
	a := s.store.agents
	return a.at(ctx, a.list[0], s.store.cfg.Request, func(ctx context.Context, c *api.Client) error {
		return c.Agent().UpdateTTLOpts(s.check, "", api.HealthPassing, (&api.QueryOptions{}).WithContext(ctx))
	})
}

// renewCheck passes the check, whoever else can be reached, and asks whether the session exists, which the agent does not know. The check has to be passed in
// time even while the servers are slow or cannot say; so the answer is awaited for a part of the interval only, and one of a little while ago will do.
func (s *Session) renewCheck(ctx context.Context) error {
	passed := s.pass(ctx)
	q := s.ask()
	wait := time.NewTimer(s.store.cfg.Check / 4)
	defer wait.Stop()
	select {
	case <-q.done:
		if q.err == nil && !q.found {
			return s.gone()
		}
	case <-wait.C:
	case <-ctx.Done():
	}
	switch {
	case unknownCheck(passed):
		return fmt.Errorf("the agent does not know the check any more: was its data lost? (the session ends when it has told the servers): %w", passed)
	case passed != nil:
		return fmt.Errorf("the check's own agent: %w", passed)
	}
	if age := time.Since(s.confirmed()); age > 2*s.store.cfg.Check {
		return fmt.Errorf("no server has confirmed the session for %v", age.Round(time.Millisecond))
	}
	return nil
}

// question is one question to the servers, whether the session exists. Its other fields are set when done is closed.
type question struct {
	done  chan struct{}
	found bool
	err   error
}

// ask puts the question, unless one is on its way. A failure makes the next one go to another agent.
func (s *Session) ask() *question {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.mu.asked; q != nil {
		select {
		case <-q.done:
		default:
			return q
		}
	}
	q := &question{done: make(chan struct{})}
	s.mu.asked = q
	s.asking.Go(func() {
		defer close(q.done)
		sent := time.Now()
		q.found, q.err = s.exists(context.Background(), s.store.agents.once, s.store.cfg.Request)
		if q.err == nil && q.found {
			s.mu.Lock()
			s.mu.confirmed = sent
			s.mu.Unlock()
		}
	})
	return q
}

// confirmed is when the newest question was put that the servers answered with yes.
func (s *Session) confirmed() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.confirmed
}

// drop removes the check. A session that it kept is over then.
func (s *Session) drop(ctx context.Context) error {
	if s.check == "" {
		return nil
	}
	a := s.store.agents
	err := a.at(ctx, a.list[0], s.store.cfg.Request, func(ctx context.Context, c *api.Client) error {
		return c.Agent().CheckDeregisterOpts(s.check, (&api.QueryOptions{}).WithContext(ctx))
	})
	if unknownCheck(err) {
		return nil
	}
	return err
}

// unknownCheck says that the agent has no such check.
func unknownCheck(err error) bool {
	var r *requestError
	return errors.As(err, &r) && r.status == http.StatusNotFound
}

// runner is agents.once or agents.repeat.
type runner func(context.Context, time.Duration, func(context.Context, *api.Client) error) error

// gone ends the session: the service has said that it has none.
func (s *Session) gone() error {
	s.lose()
	return fmt.Errorf("session %s: the service has no such session: %w", s.id, coordination.ErrSessionLost)
}

// exists asks for the session, consistently: a deposed leader does not know of one that was made after it.
func (s *Session) exists(ctx context.Context, run runner, limit time.Duration) (found bool, err error) {
	err = run(ctx, limit, func(ctx context.Context, c *api.Client) error {
		entry, _, err := c.Session().Info(s.id, (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
		found = entry != nil
		return err
	})
	return found, err
}

// validateCheck is the part of Config.Validate that concerns sessions kept by a check.
func (c Config) validateCheck() error {
	if c.Check == 0 {
		return nil
	}
	var errs []error
	if c.Check < minCheck || c.Check > 24*time.Hour {
		errs = append(errs, fmt.Errorf("check: %s is outside %s to 24h", c.Check, minCheck))
	}
	if c.Session != 0 {
		errs = append(errs, errors.New("session: given beside check, which stands in its place"))
	}
	if c.Renew > c.Check/2 {
		errs = append(errs, fmt.Errorf("renew: %s is more than half of check %s", c.Renew, c.Check))
	}
	return errors.Join(errs...)
}
