package consul

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/backend/options"
)

// Session implements backend.Session.
type Session struct {
	store *Store
	id    string
	check string // that keeps the session, at the first agent; empty: its TTL does

	lost     chan struct{}
	lostOnce sync.Once
	closed   chan struct{}
	endOnce  sync.Once

	// Of a session that a check keeps.
	asking sync.WaitGroup
	mu     struct {
		sync.Mutex
		asked     *question // the newest
		confirmed time.Time
	}
}

const (
	// openPause is between attempts to open a session while the service does not answer.
	openPause = 50 * time.Millisecond
	// nodeAddress is what the catalog shows for our node, which has no address: one reserved for documentation (RFC 5737).
	nodeAddress = "192.0.2.1"
)

// node is the name of the catalog node of the cluster.
func (s *Store) node() string { return "regency-" + strings.ReplaceAll(s.cfg.Prefix, "/", "-") }

// OpenSession implements backend.Store. A session whose creation was not answered ends by its TTL.
func (s *Store) OpenSession(ctx context.Context) (backend.Session, error) {
	var last error
	var faults options.Faults
	faulty := map[string]bool{} // agents with which no connection came about because of a setting
	for {
		session, err := s.openOnce(ctx)
		if err == nil {
			return session, nil
		}
		if last == nil || ctx.Err() == nil { // what was wrong says more than that time is up
			last = err
		}
		tries := requestErrors(err)
		switch {
		case slices.ContainsFunc(tries, func(r *requestError) bool { return r.says("Invalid Session TTL") }):
			return nil, fmt.Errorf("open session: %w (ask for a longer session=, or lower the servers' session_ttl_min)", translate("create", err))
		case slices.ContainsFunc(tries, (*requestError).refused), errors.Is(err, coordination.ErrClosed):
			return nil, translate("open session", err) // wrong in itself: trying again changes nothing
		}
		for _, r := range tries {
			if options.AsFault(r) != nil {
				faulty[r.agent] = true
			}
		}
		if s.cfg.Check > 0 && faulty[s.agents.list[0].address] || len(faulty) == len(s.agents.list) { // a check has one agent
			err = options.AtAll(err)
		}
		if fault := faults.Final(err, time.Now()); fault != nil {
			return nil, translate("open session", fault)
		}
		s.logger.Debug("session not opened yet", "error", err)
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", translate("open session", last), ended(ctx))
		case <-time.After(openPause):
		}
	}
}

func (s *Store) openOnce(ctx context.Context) (*Session, error) {
	session := &Session{store: s, lost: make(chan struct{}), closed: make(chan struct{})}
	open := session.openTTL
	if s.cfg.Check > 0 {
		open = session.openChecked
	}
	err := open(ctx)
	if err == nil {
		err = session.prove(ctx)
	}
	if err != nil {
		if dropped := session.drop(ctx); dropped != nil {
			s.logger.Debug("check not removed", "check", session.check, "error", dropped)
		}
		return nil, err
	}
	return session, nil
}

// openTTL makes a session that its TTL keeps, on the cluster's own node. The node is registered when the service lacks it: at the first session, and after an
// operator's hand.
func (s *Session) openTTL(ctx context.Context) error {
	store := s.store
	err := s.create(ctx)
	var r *requestError
	if !errors.As(err, &r) || !r.says("Missing node registration") {
		return err
	}
	err = store.agents.repeat(ctx, store.cfg.Request, func(ctx context.Context, c *api.Client) error {
		_, err := c.Catalog().Register(&api.CatalogRegistration{
			Node: store.node(), Address: nodeAddress, NodeMeta: map[string]string{"external-node": "true"},
		}, (&api.WriteOptions{}).WithContext(ctx))
		return err
	})
	if err != nil {
		return err
	}
	return s.create(ctx)
}

func (s *Session) create(ctx context.Context) error {
	store := s.store
	return store.agents.once(ctx, store.cfg.Request, func(ctx context.Context, c *api.Client) (err error) {
		s.id, _, err = c.Session().CreateNoChecks(&api.SessionEntry{
			Name: "regency", Node: store.node(), TTL: store.cfg.Session.String(), Behavior: api.SessionBehaviorDelete, LockDelay: store.cfg.LockDelay,
		}, (&api.WriteOptions{}).WithContext(ctx))
		return err
	})
}

// prove locks the session's own key. The lock may be taken again by the same session, so this can be repeated.
func (s *Session) prove(ctx context.Context) error {
	store := s.store
	return store.agents.repeat(ctx, store.cfg.Request, func(ctx context.Context, c *api.Client) error {
		ops := api.TxnOps{{KV: &api.KVTxnOp{Verb: api.KVLock, Key: s.proofKey(), Session: s.id}}}
		ok, resp, _, err := c.Txn().Txn(ops, (&api.QueryOptions{}).WithContext(ctx))
		if err == nil && !ok {
			if err = errors.New(whats(resp.Errors)); !isState(err.Error()) && !strings.Contains(err.Error(), "lock delay") {
				err = refusedToken(err)
			}
		}
		return err
	})
}

// proofKey is locked by the session as long as it lives.
func (s *Session) proofKey() string { return s.store.key(sessionDir + "/" + s.id) }

// ID implements backend.Session.
func (s *Session) ID() string { return s.id }

// Timeout implements backend.Session: the check's TTL, or the session's own, for twice which the service waits.
func (s *Session) Timeout() time.Duration {
	if s.check != "" {
		return s.store.cfg.Check
	}
	return s.store.cfg.Session
}

// Expired implements backend.Session.
func (s *Session) Expired() <-chan struct{} { return s.lost }

func (s *Session) lose() { s.lostOnce.Do(func() { close(s.lost) }) }

func (s *Session) alive() error {
	select {
	case <-s.lost:
		return fmt.Errorf("session %s: %w", s.id, coordination.ErrSessionLost)
	default:
	}
	select {
	case <-s.closed:
		return fmt.Errorf("session %s: %w", s.id, coordination.ErrClosed)
	default:
		return nil
	}
}

// Renew implements backend.Session. The deadline is explained in the package comment; a fiftieth is kept off it for clocks that run at different speeds.
func (s *Session) Renew(ctx context.Context) (time.Time, error) {
	if err := s.alive(); err != nil {
		return time.Time{}, err
	}
	verb := "renew session " + s.id
	if s.check != "" {
		err := s.renewCheck(ctx)
		if errors.Is(err, coordination.ErrSessionLost) {
			return time.Time{}, err
		}
		return time.Time{}, translate(verb, err)
	}
	var sent time.Time
	var found bool
	err := s.store.agents.repeat(ctx, s.store.cfg.Request, func(ctx context.Context, c *api.Client) error {
		sent = time.Now()
		entry, _, err := c.Session().Renew(s.id, (&api.WriteOptions{}).WithContext(ctx))
		found = entry != nil
		return err
	})
	if err == nil && !found {
		err = s.confirmLoss(ctx)
	}
	if errors.Is(err, coordination.ErrSessionLost) {
		return time.Time{}, err
	}
	if err != nil {
		return time.Time{}, translate(verb, err)
	}
	ttl := s.Timeout()
	return sent.Add(ttl - ttl/50), nil
}

// confirmLoss asks again, consistently.
func (s *Session) confirmLoss(ctx context.Context) error {
	found, err := s.exists(ctx, s.store.agents.repeat, s.store.cfg.Request)
	switch {
	case err != nil:
		return err
	case found:
		return errors.New("the agent did not know of the session yet")
	}
	return s.gone()
}

// Close implements backend.Session. Destroying is harmless to repeat, and an answer means that it is done, with the keys.
func (s *Session) Close(ctx context.Context) error {
	s.endOnce.Do(func() { close(s.closed) })
	s.asking.Wait()
	err := s.store.agents.repeat(ctx, s.store.cfg.Request, func(ctx context.Context, c *api.Client) error {
		_, err := c.Session().Destroy(s.id, (&api.WriteOptions{}).WithContext(ctx))
		return err
	})
	if dropped := s.drop(ctx); err == nil && dropped != nil {
		// The session is over, which is what counts. The check becomes critical, and the next session of this prefix at the agent removes it.
		s.store.logger.Debug("check not removed", "check", s.check, "error", dropped)
	}
	return translateWrite("close session "+s.id, err)
}
