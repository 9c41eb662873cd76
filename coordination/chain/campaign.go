package chain

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/google/uuid"
	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

// errEpochs: 2^31 terms; at one per second, 68 years.
var errEpochs = errors.New("controller epochs are exhausted: make a new cluster and copy the topics over")

// errRaced: the chain or the controller key changed between the read and the claim, perhaps only by a commit of the holder. Read again.
var errRaced = errors.New("raced")

// Campaign implements coordination.Session. All tries of one campaign carry one request id, so that a claim whose answer was lost, or that
// is applied late, is recognized at the next read.
//
// A process that watches the chain knows its newest record, and a vacancy is told by a watch as well, so the first try sends the claim without reading anything: its
// guards refuse it if that knowledge is outdated, and only then everything is read.
func (s *session) Campaign(ctx context.Context) (coordination.Leadership, error) {
	ctx, cancel := s.merge(ctx)
	defer cancel()
	if s.registration() == nil && ctx.Err() == nil { // not only once there is a vacancy
		return nil, fmt.Errorf("campaign: %w", coordination.ErrNotRegistered)
	}
	request := uuid.New()
	l, err := s.claimUnread(ctx, request)
	for {
		if err == nil && l == nil {
			l, err = s.claimVacancy(ctx, request)
		}
		switch {
		case l != nil:
			return l, nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("campaign: %w", s.because(ctx))
		case errors.Is(err, coordination.ErrConflict): // somebody was faster
		case !retryable(err):
			return nil, fmt.Errorf("campaign: %w", err)
		default:
			pause(ctx, retryPause)
		}
		err = nil
	}
}

// claimVacancy waits for a vacancy and claims: without reading first, unless the key is our own.
func (s *session) claimVacancy(ctx context.Context, request uuid.UUID) (*leadership, error) {
	ours, err := s.awaitVacancy(ctx)
	if err != nil {
		return nil, err
	}
	if !ours {
		if l, err := s.claimUnread(ctx, request); l != nil || err != nil && !errors.Is(err, coordination.ErrConflict) {
			return l, err
		}
	}
	return s.claim(ctx, request, s.onlyVacant)
}

// claimUnread claims on what the process's own watch saw last, as if nobody led. Nil without error: there is no such watch.
func (s *session) claimUnread(ctx context.Context, request uuid.UUID) (*leadership, error) {
	h, version, ok := s.c.keys.newest()
	reg := s.registration()
	if !ok || reg == nil || h.epoch == math.MaxInt32 || s.State() != coordination.Valid {
		return nil, nil
	}
	return s.claimOn(ctx, request, *reg, h, version, 0)
}

// onlyVacant refuses a claim over another's controller key: somebody was faster since the watch told of the vacancy.
func (s *session) onlyVacant(_ head, holder backend.Entry) error {
	if holder.Version != 0 && string(holder.Value) != s.holderValue() {
		return &coordination.ConflictError{Guard: 1, Key: controllerKey}
	}
	return nil
}

// Usurp implements coordination.Session.
func (s *session) Usurp(ctx context.Context, epoch int32) (coordination.Leadership, error) {
	ctx, cancel := s.merge(ctx)
	defer cancel()
	request := uuid.New()
	for {
		l, err := s.claim(ctx, request, func(h head, _ backend.Entry) error {
			if h.epoch != epoch {
				return fmt.Errorf("epoch is %d, not %d: %w", h.epoch, epoch, coordination.ErrConflict)
			}
			return nil
		})
		switch {
		case err == nil:
			return l, nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("usurp epoch %d: %w", epoch, s.because(ctx))
		case !retryable(err) && !errors.Is(err, errRaced):
			return nil, fmt.Errorf("usurp epoch %d: %w", epoch, err)
		}
		if !errors.Is(err, errRaced) { // a holder that commits all the time leaves gaps between its commits, not pauses
			pause(ctx, retryPause)
		}
	}
}

// merge returns a context that ends with ctx or with the session.
func (s *session) merge(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.ctx, func() { cancel(context.Cause(s.ctx)) })
	return ctx, func() { stop(); cancel(nil) }
}

func (s *session) because(ctx context.Context) error {
	if s.ctx.Err() != nil {
		return s.Err()
	}
	return context.Cause(ctx)
}

// awaitVacancy returns when nobody holds the controller key and this session is Valid. Holding it ourselves counts as vacancy: a claim whose answer was lost.
func (s *session) awaitVacancy(ctx context.Context) (ours bool, err error) {
	if err := s.awaitValid(ctx); err != nil {
		return false, err
	}
	wctx, cancel := context.WithCancel(ctx)
	defer cancel()
	vacant := false
	err = s.c.store.Watch(wctx, controllerKey, func(e backend.Entry) {
		if e.Version == 0 || string(e.Value) == s.holderValue() {
			vacant, ours = true, e.Version != 0
			cancel()
		}
	})
	if vacant {
		return ours, nil
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	return false, fmt.Errorf("watch the controller: %w: %w", coordination.ErrUnavailable, err)
}

func (s *session) awaitValid(ctx context.Context) error {
	for {
		state, changed := s.next()
		if state == coordination.Valid {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *session) registration() *coordination.Registered {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.registered
}

func (s *session) holderValue() string {
	if reg := s.registration(); reg != nil {
		return reg.Incarnation
	}
	return ""
}

// claim reads the chain and the holder and makes one try to become the leader.
func (s *session) claim(ctx context.Context, request uuid.UUID, accept func(head, backend.Entry) error) (*leadership, error) {
	reg := s.registration()
	if reg == nil {
		return nil, coordination.ErrNotRegistered
	}
	h, version, holder, err := s.c.readHeadAnd(ctx, controllerKey)
	if err != nil {
		return nil, err
	}
	if h == nil {
		return nil, fmt.Errorf("%w: the store is not bootstrapped", coordination.ErrUnavailable)
	}
	if h.request == request { // an earlier try was applied after all
		return s.lead(*h, version), nil
	}
	if err := accept(*h, holder); err != nil {
		return nil, err
	}
	if h.epoch == math.MaxInt32 {
		return nil, errEpochs
	}
	return s.claimOn(ctx, request, *reg, *h, version, holder.Version)
}

// claimOn sends the claim: the controller key, epoch+1 and seq+1 in one transaction, guarded on the chain record and the holder being what they were.
func (s *session) claimOn(ctx context.Context, request uuid.UUID, reg coordination.Registered, h head, version, holder uint64) (*leadership, error) {
	next := head{lineage: h.lineage, epoch: h.epoch + 1, seq: h.seq + 1, holder: reg.ID, request: request, inline: true}
	own := backend.Op{Kind: backend.CreateEphemeral, Key: controllerKey, Value: []byte(reg.Incarnation)}
	if holder != 0 {
		own.Kind = backend.ReplaceEphemeral
	}
	if s.State() != coordination.Valid {
		return nil, fmt.Errorf("%w: the session is not valid", coordination.ErrUnavailable)
	}
	versions, err := s.s.Txn(ctx,
		[]backend.Guard{
			{Key: chainKey, Version: version}, {Key: controllerKey, Version: holder},
			// A claim that was under way when its sender was evicted must not make one that nobody could evict any more.
			{Key: brokerKey(reg.ID), Version: reg.Revision},
		},
		[]backend.Op{
			{Kind: backend.Set, Key: chainKey, Value: next.encode()},
			{Kind: backend.Set, Key: slotKey(next.seq), Value: next.encode()},
			own,
		})
	if errors.Is(err, coordination.ErrConflict) {
		var conflict *coordination.ConflictError
		if errors.As(err, &conflict) && (conflict.Key == brokerKey(reg.ID) || conflict.Guard < 0) {
			s.registrationGone(ctx, reg) // ends the session, if so
		}
		err = fmt.Errorf("%w: %w", errRaced, err)
	}
	if err != nil {
		return nil, fmt.Errorf("claim epoch %d: %w", next.epoch, err)
	}
	return s.lead(next, versions[0]), nil
}
