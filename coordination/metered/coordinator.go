package metered

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/regency-project/regency/coordination"
)

// coordinator decorates a coordination.Coordinator.
type coordinator struct {
	coordination.Coordinator
	m       *Metrics
	name    string
	running sync.WaitGroup // observers of sessions and leaderships; they end with these, at the latest with the coordinator
}

// Coordinator decorates c.
func (m *Metrics) Coordinator(c coordination.Coordinator) coordination.Coordinator {
	name := c.Capabilities().Backend
	m.epoch.WithLabelValues(name).Set(0)
	return &coordinator{Coordinator: c, m: m, name: name}
}

func (c *coordinator) OpenSession(ctx context.Context, o coordination.SessionOptions) (coordination.Session, error) {
	s, err := c.Coordinator.OpenSession(ctx, o)
	if err != nil {
		return nil, err
	}
	c.m.session.WithLabelValues(c.name, "opened").Inc()
	c.running.Go(func() { c.observe(s) })
	return &session{Session: s, c: c}, nil
}

// observe follows the session's state to its end.
func (c *coordinator) observe(s coordination.Session) {
	var last coordination.State
	s.Watch(context.Background(), func(state coordination.State) { // ends with the session
		switch {
		case state == coordination.Lost && errors.Is(s.Err(), coordination.ErrClosed):
			c.m.session.WithLabelValues(c.name, "closed").Inc()
		case last != 0 || state != coordination.Valid:
			c.m.session.WithLabelValues(c.name, state.String()).Inc()
		}
		if last != 0 {
			c.m.sessions.WithLabelValues(c.name, last.String()).Dec()
		}
		if last = state; state != coordination.Lost {
			c.m.sessions.WithLabelValues(c.name, state.String()).Inc()
		}
	})
}

func (c *coordinator) Close() error {
	err := c.Coordinator.Close()
	c.running.Wait()
	return err
}

// session decorates a coordination.Session.
type session struct {
	coordination.Session
	c *coordinator
}

func (s *session) Campaign(ctx context.Context) (coordination.Leadership, error) {
	l, err := s.Session.Campaign(ctx)
	if err != nil {
		return nil, err
	}
	return s.c.claimed(l), nil
}

func (s *session) Usurp(ctx context.Context, epoch int32) (coordination.Leadership, error) {
	l, err := s.Session.Usurp(ctx, epoch)
	if err != nil {
		return nil, err
	}
	s.c.m.leadership.WithLabelValues(s.c.name, "usurped").Inc()
	return s.c.claimed(l), nil
}

// leadership decorates a coordination.Leadership.
type leadership struct {
	coordination.Leadership
	resigned atomic.Bool
}

func (c *coordinator) claimed(l coordination.Leadership) coordination.Leadership {
	c.m.leadership.WithLabelValues(c.name, "claimed").Inc()
	epoch := c.m.epoch.WithLabelValues(c.name)
	epoch.Set(float64(l.Epoch()))
	x := &leadership{Leadership: l}
	c.running.Go(func() {
		<-l.Done()
		epoch.Set(0)
		c.m.leadership.WithLabelValues(c.name, x.end()).Inc()
	})
	return x
}

// end names why the term is over.
func (l *leadership) end() string {
	if l.resigned.Load() {
		return "resigned"
	}
	return Kind(l.Err())
}

func (l *leadership) Resign(ctx context.Context) error {
	l.resigned.Store(true)
	return l.Leadership.Resign(ctx)
}
