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
	err := a.at(ctx, home, s.store.cfg.Request, func(ctx context.Context, c *api.Client) error {
		if err := s.store.sweep(ctx, c); err != nil {
			return err
		}
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
		if err := s.pass(ctx); err != nil {
			return err
		}
		err := a.at(ctx, home, s.store.cfg.Request, func(ctx context.Context, c *api.Client) (err error) {
			s.id, _, err = c.Session().Create(entry, (&api.WriteOptions{}).WithContext(ctx))
			return err
		})
		if err == nil || !errors.As(err, &missing) || !missing.says("Missing check") && !missing.says("critical state") || time.Now().After(until) {
			return err
		}
		select {
		case <-ctx.Done():
			return ended(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// openLimit bounds the wait for a new check to reach the servers. The agent sends it at once; a busy machine takes its time.
const openLimit = 5 * time.Second

// sweep removes what brokers that crashed have left at the agent: checks that are critical, whose sessions therefore are over. Nothing else does: the
// service cleans up checks of services only.
func (s *Store) sweep(ctx context.Context, c *api.Client) error {
	q := (&api.QueryOptions{}).WithContext(ctx)
	checks, err := c.Agent().ChecksWithFilterOpts(fmt.Sprintf("Name == %q and Status == %q", s.checkName(), api.HealthCritical), q)
	if err != nil {
		return err
	}
	for id := range checks {
		if err := c.Agent().CheckDeregisterOpts(id, q); err != nil {
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

// renewCheck passes the check, whoever else can be reached, and then asks whether the session exists, which the agent does not know. While the servers
// cannot say, the check must be passed all the same, and in time: the question is put once, and a failure makes the next renewal ask another agent.
func (s *Session) renewCheck(ctx context.Context) error {
	passed := s.pass(ctx)
	found, err := s.exists(ctx, s.store.agents.once, s.store.cfg.Check/4)
	var r *requestError
	switch {
	case err == nil && !found:
		return s.gone()
	case errors.As(passed, &r) && r.status == http.StatusNotFound:
		return fmt.Errorf("the agent does not know the check any more: was its data lost? (the session ends when it has told the servers): %w", passed)
	case passed != nil:
		return fmt.Errorf("the check's own agent: %w", passed)
	}
	return err
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
	var r *requestError
	if errors.As(err, &r) && r.status == http.StatusNotFound {
		return nil
	}
	return err
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
