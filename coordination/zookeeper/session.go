package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/backend/options"
)

// Session implements backend.Session: one session of the service, on a link of its own.
type Session struct {
	store   *Store
	link    *link
	id      string
	path    string // of the session's node
	timeout time.Duration

	mu struct {
		sync.Mutex
		proof *proof
	}
}

// openPause is between attempts to open a session while the ensemble does not answer.
const openPause = 50 * time.Millisecond

// OpenSession implements backend.Store.
func (s *Store) OpenSession(ctx context.Context) (backend.Session, error) {
	for {
		session, err := s.openOnce(ctx)
		if err == nil {
			return session, nil
		}
		if errors.Is(err, coordination.ErrClosed) {
			return nil, fmt.Errorf("open session: %w", err)
		}
		err = translate("open session", err)
		if isRefusal(err) || options.AsFault(err) != nil {
			return nil, err
		}
		s.logger.Debug("session not opened yet", "error", err)
		select {
		case <-ctx.Done():
			return nil, ended(ctx, err)
		case <-time.After(openPause):
		}
	}
}

// openOnce tries on one link until that is over or ctx ends. A session that came to be and is not used is closed.
func (s *Store) openOnce(ctx context.Context) (*Session, error) {
	if s.isClosed() {
		return nil, coordination.ErrClosed
	}
	l, err := newLink(s.cfg, s.tls, s.logger, true, func(zk.Event) {})
	if err != nil {
		return nil, err
	}
	for {
		session, err := s.establish(ctx, l)
		if err == nil {
			return session, nil
		}
		if fault := l.fault(); fault != nil {
			l.end(false)
			return nil, fault
		}
		select {
		case <-time.After(openPause):
			if s.isClosed() {
				err = coordination.ErrClosed
			} else if !isRefusal(err) {
				continue // what was made so far stays of use
			}
		case <-l.over:
		case <-ctx.Done():
		}
		l.end(false)
		return nil, err
	}
}

func (s *Store) establish(ctx context.Context, l *link) (*Session, error) {
	// Bounded here: openOnce looks between the tries whether there is a setting to blame.
	wait, cancel := context.WithTimeoutCause(ctx, s.cfg.Request, errRequestLimit)
	err := l.ready(wait)
	cancel()
	if err != nil {
		return nil, err
	}
	if err := s.authenticate(ctx, l); err != nil {
		return nil, err
	}
	id := fmt.Sprintf("%016x", uint64(l.conn.SessionID()))
	session := &Session{store: s, link: l, id: id, path: s.path(sessionDir + "/" + id), timeout: l.granted()}
	session.mu.proof = newProof(session.timeout, s.cfg.Tick)
	create := func(c *zk.Conn) (string, error) { return c.Create(session.path, nil, zk.FlagEphemeral, s.acl) }
	_, err = call(ctx, l, create)
	if errors.Is(err, zk.ErrNoNode) { // the first session ever: the sessions' directory is made last, so where it is the others are
		if err := s.makeDirectories(ctx, l); err != nil {
			return nil, err
		}
		_, err = call(ctx, l, create)
	}
	// It exists when the answer to a create was lost and the library sent it again on the same session.
	if err != nil && !errors.Is(err, zk.ErrNodeExists) {
		return nil, err
	}
	l.want() // from here on it is the caller who keeps the session
	return session, nil
}

func (s *Store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.closed
}

// ID implements backend.Session.
func (s *Session) ID() string { return s.id }

// Timeout implements backend.Session.
func (s *Session) Timeout() time.Duration { return s.timeout }

// Expired implements backend.Session.
func (s *Session) Expired() <-chan struct{} { return s.link.expired }

func (s *Session) alive() error {
	select {
	case <-s.link.expired:
		return fmt.Errorf("session %s: %w", s.id, coordination.ErrSessionLost)
	default:
	}
	select {
	case <-s.link.over:
		return fmt.Errorf("session %s: %w", s.id, coordination.ErrClosed)
	default:
		return nil
	}
}

// Renew implements backend.Session with a committed write: a ping, and Sync, are answered by servers that can no longer keep the session.
func (s *Session) Renew(ctx context.Context) (time.Time, error) {
	if err := s.alive(); err != nil {
		return time.Time{}, err
	}
	s.link.want()
	// Bounded here: while nobody asks for renewal anew, no connection is made.
	ctx, cancel := context.WithTimeoutCause(ctx, 2*s.link.request, errRequestLimit)
	defer cancel()
	if err := s.link.ready(ctx); err != nil {
		return time.Time{}, s.fail("renew", err)
	}
	connection, since := s.link.connection()
	sent := time.Now()
	_, err := call(ctx, s.link, func(c *zk.Conn) (*zk.Stat, error) { return c.Set(s.path, nil, -1) })
	if err != nil {
		return time.Time{}, s.fail("renew", err)
	}
	answered := time.Now()
	if now, _ := s.link.connection(); now != connection {
		return time.Time{}, fmt.Errorf("renew on session %s: %w: reconnected meanwhile, which proves nothing", s.id, coordination.ErrUnavailable)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.proof.committed(connection, since, sent, answered), nil
}

// fail translates an error of a write on the session, and ends the link when the service says that the session is over. The session's node
// vanishes only with the session (or by an operator's hand, who then means just that).
func (s *Session) fail(verb string, err error) error {
	verb = fmt.Sprintf("%s on session %s", verb, s.id)
	if errors.Is(err, zk.ErrSessionExpired) || errors.Is(err, zk.ErrNoNode) {
		s.link.end(true)
		return fmt.Errorf("%s: %w: %w", verb, coordination.ErrSessionLost, err)
	}
	if alive := s.alive(); alive != nil && errors.Is(err, errNotSent) {
		return fmt.Errorf("%s: %w", verb, alive)
	}
	return translateWrite(verb, err)
}

// Close implements backend.Session. Closing the connection would leave the session to expire; the library sends closeSession, but does not say whether
// it was answered. The connection does; where it saw no answer, the session's node is asked for.
func (s *Session) Close(ctx context.Context) error {
	s.awaitConnection(ctx)
	if s.link.close(ctx) {
		return nil
	}
	select {
	case <-s.link.expired:
		return nil
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout) // after that long it has expired, if nothing else
	defer cancel()
	for {
		found, err := s.store.exists(ctx, s.path)
		switch {
		case err == nil && !found:
			return nil
		case err == nil:
			return fmt.Errorf("close session %s: %w: the service still has it; it expires in %s", s.id, coordination.ErrUnavailable, s.timeout)
		case errors.Is(err, coordination.ErrClosed):
			return fmt.Errorf("close session %s: the store was closed first: %w", s.id, coordination.ErrOutcomeUnknown)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("close session %s: %w: %w", s.id, coordination.ErrOutcomeUnknown, err)
		case <-time.After(openPause):
		}
	}
}

// awaitConnection gives a connection that was just lost the chance to come back, since closeSession is sent once and needs one. The library may not have
// noticed the loss yet: only an answer tells.
func (s *Session) awaitConnection(ctx context.Context) {
	s.link.want()
	ctx, cancel := context.WithTimeout(ctx, 2*s.link.request)
	defer cancel()
	for {
		_, err := call(ctx, s.link, func(c *zk.Conn) (bool, error) {
			found, _, err := c.Exists(s.path)
			return found, err
		})
		if err == nil || s.alive() != nil {
			return
		}
		select {
		case <-ctx.Done():
			s.store.logger.Debug("session closed while disconnected", "session", s.id, "error", err)
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}
