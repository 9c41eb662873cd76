package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/backend/options"
)

// session is a lease and the session key bound to it.
type session struct {
	store   *Store
	lease   clientv3.LeaseID
	key     string // relative to the prefix
	timeout time.Duration

	expireOnce sync.Once
	expired    chan struct{}
	closed     atomic.Bool // by the caller
}

// alive says whether the session can be used.
func (ses *session) alive(verb string) error {
	if ses.closed.Load() {
		return fmt.Errorf("%s on session %s: %w", verb, ses.ID(), coordination.ErrClosed)
	}
	select {
	case <-ses.expired:
		return fmt.Errorf("%s on session %s: %w", verb, ses.ID(), coordination.ErrSessionLost)
	default:
		return nil
	}
}

var _ backend.Session = (*session)(nil)

// OpenSession implements backend.Store.
func (s *Store) OpenSession(ctx context.Context) (backend.Session, error) {
	retry := time.NewTicker(100 * time.Millisecond)
	defer retry.Stop()
	var faults options.Faults
	for {
		ses, err := s.grant(ctx)
		if err == nil {
			return ses, nil
		}
		if errors.Is(err, coordination.ErrClosed) || refused(err) {
			return nil, translateRead(ctx, "open session", err)
		}
		if fault := faults.Final(err, time.Now()); fault != nil {
			return nil, translateRead(ctx, "open session", fault)
		}
		select {
		case <-ctx.Done():
			// The last try says more than the end of the wait.
			return nil, fmt.Errorf("open session: %w: %w: %v", context.Cause(ctx), coordination.ErrUnavailable, err)
		case <-retry.C:
		}
	}
}

// grant makes a lease and its session key. A lease whose answer or key was lost ends by itself.
func (s *Store) grant(ctx context.Context) (*session, error) {
	ttl := int64((s.cfg.Session + time.Second - 1) / time.Second)
	ses := &session{store: s, expired: make(chan struct{})}
	err := s.ms.each(ctx, func(ctx context.Context, m *member) error {
		resp, err := m.client.Grant(ctx, ttl)
		if err != nil {
			return err
		}
		ses.lease, ses.timeout = resp.ID, time.Duration(resp.TTL)*time.Second
		ses.key = fmt.Sprintf("%s/%016x", sessionsDir, uint64(resp.ID))
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = s.ms.each(ctx, func(ctx context.Context, m *member) error {
		_, err := m.client.Put(ctx, s.prefix+ses.key, "", clientv3.WithLease(ses.lease))
		return err
	})
	return ses, err
}

func (ses *session) ID() string { return fmt.Sprintf("%016x", uint64(ses.lease)) }

func (ses *session) Timeout() time.Duration { return ses.timeout }

func (ses *session) Expired() <-chan struct{} { return ses.expired }

func (ses *session) expire() { ses.expireOnce.Do(func() { close(ses.expired) }) }

func (ses *session) lost(verb string) error {
	ses.expire()
	return fmt.Errorf("%s: %w: the service ended lease %s", verb, coordination.ErrSessionLost, ses.ID())
}

// Renew implements backend.Session. A lease lives on the raft leader, and a leader that was stopped can, on waking, renew leases for an
// instant before it learns that it was replaced; the successor never hears of such a renewal. So a linearizable read through the same member follows:
// when it shows the same raft term as the renewal's answer, the leader that renewed was still the leader after it. A renewal in one term is
// kept by the leaders of all later terms: they restart every lease in full.
func (ses *session) Renew(ctx context.Context) (time.Time, error) {
	if err := ses.alive("renew"); err != nil {
		return time.Time{}, err
	}
	var deadline time.Time
	err := ses.store.ms.each(ctx, func(ctx context.Context, m *member) error {
		sent := time.Now()
		alive, err := m.client.KeepAliveOnce(ctx, ses.lease)
		if err != nil {
			return err
		}
		confirm, err := m.client.Get(ctx, ses.store.prefix+ses.key, clientv3.WithKeysOnly())
		if err != nil {
			return err
		}
		if alive.RaftTerm != confirm.Header.GetRaftTerm() {
			return fmt.Errorf("the leader changed during the renewal (raft term %d, then %d)", alive.RaftTerm, confirm.Header.GetRaftTerm())
		}
		ttl := time.Duration(alive.TTL) * time.Second
		deadline = sent.Add(ttl - ttl/50)
		return nil
	})
	switch {
	case isLeaseGone(err):
		return time.Time{}, ses.lost("renew")
	case err != nil:
		return time.Time{}, translateRead(ctx, "renew", err)
	}
	return deadline, nil
}

// Close implements backend.Session: the revocation deletes the lease's keys in the same raft entry. The connections are the store's.
func (ses *session) Close(ctx context.Context) error {
	ses.closed.Store(true)
	defer ses.expire()
	for {
		err := ses.store.ms.each(ctx, func(ctx context.Context, m *member) error {
			_, err := m.client.Revoke(ctx, ses.lease)
			return err
		})
		if err == nil || isLeaseGone(err) {
			return nil
		}
		if ctx.Err() != nil || errors.Is(err, coordination.ErrClosed) || refused(err) {
			return translateRead(ctx, "close session", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}
