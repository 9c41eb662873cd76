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
func (s *session) Campaign(ctx context.Context) (coordination.Leadership, error) {
	ctx, cancel := s.merge(ctx)
	defer cancel()
	request := uuid.New()
	for {
		err := s.awaitVacancy(ctx)
		var l *leadership
		if err == nil {
			l, err = s.claim(ctx, request, s.onlyVacant)
		}
		switch {
		case err == nil && l != nil:
			return l, nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("campaign: %w", s.because(ctx))
		case errors.Is(err, coordination.ErrConflict):
			continue // somebody was faster
		case !retryable(err):
			return nil, fmt.Errorf("campaign: %w", err)
		}
		pause(ctx, retryPause)
	}
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

// awaitVacancy returns when nobody holds the controller key and this session is Valid. (Holding it ourselves counts as vacancy: a claim whose answer was lost.)
func (s *session) awaitVacancy(ctx context.Context) error {
	if err := s.awaitValid(ctx); err != nil {
		return err
	}
	wctx, cancel := context.WithCancel(ctx)
	defer cancel()
	vacant := false
	err := s.c.store.Watch(wctx, controllerKey, func(e backend.Entry) {
		if e.Version == 0 || string(e.Value) == s.holderValue() {
			vacant = true
			cancel()
		}
	})
	if vacant {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("watch the controller: %w: %w", coordination.ErrUnavailable, err)
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

func (s *session) holderValue() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.registered == nil {
		return ""
	}
	return s.mu.registered.Incarnation
}

// claim makes one try to become the leader: the controller key, epoch+1 and seq+1 in one transaction.
func (s *session) claim(ctx context.Context, request uuid.UUID, accept func(head, backend.Entry) error) (*leadership, error) {
	s.mu.Lock()
	reg := s.mu.registered
	s.mu.Unlock()
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
		return s.lead(ctx, *h, version)
	}
	if err := accept(*h, holder); err != nil {
		return nil, err
	}
	if h.epoch == math.MaxInt32 {
		return nil, errEpochs
	}
	next := head{lineage: h.lineage, epoch: h.epoch + 1, seq: h.seq + 1, holder: reg.ID, request: request, inline: true}
	own := backend.Op{Kind: backend.CreateEphemeral, Key: controllerKey, Value: []byte(reg.Incarnation)}
	if holder.Version != 0 {
		own.Kind = backend.ReplaceEphemeral
	}
	if s.State() != coordination.Valid {
		return nil, fmt.Errorf("%w: the session is not valid", coordination.ErrUnavailable)
	}
	versions, err := s.s.Txn(ctx,
		[]backend.Guard{
			{Key: chainKey, Version: version}, {Key: controllerKey, Version: holder.Version},
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
			s.registrationGone(ctx, *reg) // ends the session, if so
		}
		err = fmt.Errorf("%w: %w", errRaced, err)
	}
	if err != nil {
		return nil, fmt.Errorf("claim epoch %d: %w", next.epoch, err)
	}
	return s.lead(ctx, next, versions[0])
}
