package chain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

// session keeps a backend session renewed and judges its state.
type session struct {
	c       *Coordinator
	s       backend.Session
	healthy func() error
	ctx     context.Context // ends when the session is Lost or closed
	cancel  context.CancelCauseFunc
	running sync.WaitGroup // the renewal and registration goroutines

	mu struct {
		sync.Mutex
		deadline   time.Time // provable, or assumed where the service gives none
		told       coordination.State
		changed    chan struct{} // closed and replaced when the state changes
		err        error         // why it is over
		registered *coordination.Registered
	}
}

var _ coordination.Session = (*session)(nil)

// openMargin is the share of the timeout by which a session that was not renewed yet is Suspect before the service may end it, as after a renewal: a process must have
// the time to notice.
const openMargin = 10

// OpenSession opens a session and starts to renew it.
func (c *Coordinator) OpenSession(ctx context.Context, o coordination.SessionOptions) (coordination.Session, error) {
	ctx, cancel := c.merge(ctx)
	defer cancel()
	opened := time.Now()
	bs, err := c.store.OpenSession(ctx)
	if err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	s := &session{c: c, s: bs, healthy: o.Healthy}
	s.ctx, s.cancel = context.WithCancelCause(c.ctx)
	s.mu.changed = make(chan struct{})
	s.mu.told = coordination.Valid
	s.mu.deadline = opened.Add(bs.Timeout() - bs.Timeout()/openMargin)
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		s.renew(opened)
	}()
	return s, nil
}

func (s *session) ID() string             { return s.s.ID() }
func (s *session) Timeout() time.Duration { return s.s.Timeout() }
func (s *session) Done() <-chan struct{}  { return s.ctx.Done() }

func (s *session) State() coordination.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stateLocked(time.Now())
}

func (s *session) stateLocked(now time.Time) coordination.State {
	switch {
	case s.mu.err != nil || s.ctx.Err() != nil:
		return coordination.Lost
	case now.After(s.mu.deadline):
		return coordination.Suspect
	}
	return coordination.Valid
}

func (s *session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.err == nil && s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return s.mu.err
}

// Watch implements coordination.Session.
func (s *session) Watch(ctx context.Context, fn func(coordination.State)) {
	var last coordination.State
	for {
		state, changed := s.next()
		if state != last {
			last = state
			fn(state)
		}
		if state == coordination.Lost {
			return
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
		case <-ctx.Done():
			return
		}
	}
}

func (s *session) next() (coordination.State, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stateLocked(time.Now()), s.mu.changed
}

// tell wakes the watchers if the state is another than they were told.
func (s *session) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state := s.stateLocked(time.Now()); state != s.mu.told {
		s.mu.told = state
		close(s.mu.changed)
		s.mu.changed = make(chan struct{})
	}
}

// lose ends the session as Lost, once.
func (s *session) lose(err error) {
	s.mu.Lock()
	if s.mu.err == nil {
		s.mu.err = err
	}
	err = s.mu.err
	s.mu.Unlock()
	s.cancel(err)
	s.tell()
}

// renew is the renewal loop: one try per interval, counted from when the session was asked for, and at once again after a failure.
func (s *session) renew(opened time.Time) {
	every := s.c.opts.RenewEvery
	if every <= 0 {
		every = s.s.Timeout() / 4
	}
	suspect := time.AfterFunc(s.s.Timeout()-s.s.Timeout()/openMargin+time.Millisecond, s.tell)
	defer suspect.Stop()
	timer := time.NewTimer(max(every-time.Since(opened), 0))
	defer timer.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.s.Expired():
			s.lose(fmt.Errorf("session %s: the client learned that it expired: %w", s.s.ID(), coordination.ErrSessionLost))
			return
		case <-timer.C:
		}
		sent := time.Now()
		err := s.renewOnce(every, sent)
		switch {
		case err == nil:
			s.mu.Lock()
			left := time.Until(s.mu.deadline)
			s.mu.Unlock()
			suspect.Reset(max(left, 0) + time.Millisecond)
			timer.Reset(max(every-time.Since(sent), 0))
		case errors.Is(err, coordination.ErrSessionLost):
			s.lose(fmt.Errorf("session %s: %w", s.s.ID(), err))
			return
		default:
			s.c.log.Debug("session not renewed", "session", s.s.ID(), "error", err)
			timer.Reset(min(every, retryPause))
		}
		s.tell()
	}
}

func (s *session) renewOnce(every time.Duration, sent time.Time) error {
	if s.healthy != nil {
		if err := s.healthy(); err != nil {
			return fmt.Errorf("unhealthy, session left to lapse: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(s.ctx, max(every, 200*time.Millisecond))
	defer cancel()
	deadline, err := s.s.Renew(ctx)
	if err != nil {
		return err
	}
	if deadline.IsZero() { // nothing provable: assume what was asked for
		deadline = sent.Add(s.s.Timeout())
	}
	s.mu.Lock()
	if deadline.After(s.mu.deadline) {
		s.mu.deadline = deadline
	}
	s.mu.Unlock()
	return nil
}

// Close ends the session at the service.
func (s *session) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.mu.err == nil {
		s.mu.err = coordination.ErrClosed
	}
	s.mu.Unlock()
	s.cancel(coordination.ErrClosed)
	s.tell()
	s.running.Wait()
	return s.s.Close(ctx)
}

// Bootstrap makes the chain and the ring in one transaction.
func (s *session) Bootstrap(ctx context.Context) (coordination.Status, error) {
	for {
		st, err := s.c.Status(ctx)
		if err == nil && st.Exists {
			return st, nil
		}
		if err == nil {
			err = s.bootstrapOnce(ctx)
		}
		if err == nil || errors.Is(err, coordination.ErrConflict) {
			continue
		}
		if !retryable(err) || !pause(ctx, retryPause) {
			return coordination.Status{}, fmt.Errorf("bootstrap: %w", err)
		}
	}
}

func (s *session) bootstrapOnce(ctx context.Context) error {
	h := head{lineage: uuid.New(), holder: -1, request: uuid.New(), inline: true}
	ops := []backend.Op{{Kind: backend.Create, Key: chainKey, Value: h.encode()}}
	for slot := range uint64(RingSlots) {
		ops = append(ops, backend.Op{Kind: backend.Create, Key: slotKey(slot), Value: h.encode()})
	}
	_, err := s.s.Txn(ctx, []backend.Guard{{Key: chainKey}}, ops)
	return err
}
