package chain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

// Register implements coordination.Session. The incarnation makes a lost answer recognizable: whoever reads it back knows whose write it was.
func (s *session) Register(ctx context.Context, r coordination.Registration) (coordination.Registered, error) {
	if r.Incarnation == "" {
		r.Incarnation = uuid.NewString()
	}
	value, err := json.Marshal(r)
	if err != nil {
		return coordination.Registered{}, fmt.Errorf("register %d: %w", r.ID, err)
	}
	// Mostly nobody has the id: the first try does not look, and its guard refuses it otherwise.
	reg, err := s.registerOver(ctx, r, value, backend.Entry{Key: brokerKey(r.ID)})
	for read := false; ; read = true {
		if read {
			reg, err = s.registerOnce(ctx, r, value)
		}
		if err == nil {
			s.keepRegistration(reg)
			return reg, nil
		}
		if s.ctx.Err() != nil {
			return coordination.Registered{}, fmt.Errorf("register %d: %w", r.ID, s.Err())
		}
		if !read && errors.Is(err, coordination.ErrConflict) {
			continue
		}
		again := retryable(err) || errors.Is(err, coordination.ErrConflict)
		if !again || !pause(ctx, retryPause) {
			return coordination.Registered{}, fmt.Errorf("register %d: %w", r.ID, err)
		}
	}
}

func (s *session) registerOnce(ctx context.Context, r coordination.Registration, value []byte) (coordination.Registered, error) {
	key := brokerKey(r.ID)
	e, err := s.c.store.Get(ctx, key)
	if err != nil {
		return coordination.Registered{}, err
	}
	return s.registerOver(ctx, r, value, e)
}

// registerOver registers on e being what the id's key holds.
func (s *session) registerOver(ctx context.Context, r coordination.Registration, value []byte, e backend.Entry) (coordination.Registered, error) {
	op := backend.Op{Kind: backend.CreateEphemeral, Key: e.Key, Value: value}
	if e.Version != 0 {
		holder, err := decodeRegistration(e)
		if err != nil {
			return coordination.Registered{}, err
		}
		switch {
		case holder.Incarnation == r.Incarnation: // an earlier try whose answer was lost
			return holder, nil
		case holder.DirectoryUUID != r.DirectoryUUID:
			return coordination.Registered{}, fmt.Errorf("%w: broker %d is registered from host %q, pid %d, with data directory %s; stop it, or give this broker another id",
				coordination.ErrDuplicateID, r.ID, holder.Host, holder.PID, holder.DirectoryUUID)
		}
		op.Kind = backend.ReplaceEphemeral
	}
	versions, err := s.s.Txn(ctx, []backend.Guard{{Key: e.Key, Version: e.Version}}, []backend.Op{op})
	if err != nil {
		return coordination.Registered{}, err
	}
	return coordination.Registered{Registration: r, Revision: versions[0]}, nil
}

// keepRegistration watches the registration; another's in its place, or none, ends the session.
func (s *session) keepRegistration(reg coordination.Registered) {
	s.mu.Lock()
	s.mu.registered = &reg
	s.mu.Unlock()
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		for s.ctx.Err() == nil {
			ctx, cancel := context.WithCancel(s.ctx)
			// The watch may be answered by a server that has not yet seen our registration: only a linearizable read decides.
			_ = s.c.store.Watch(ctx, brokerKey(reg.ID), func(e backend.Entry) {
				if e.Version != reg.Revision && s.registrationGone(ctx, reg) {
					cancel()
				}
			})
			cancel()
			pause(s.ctx, retryPause)
		}
	}()
}

func (s *session) registrationGone(ctx context.Context, reg coordination.Registered) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	e, err := s.c.store.Get(ctx, brokerKey(reg.ID))
	if err != nil || e.Version == reg.Revision {
		return false
	}
	s.lose(fmt.Errorf("session %s: registration of broker %d is gone or another's: %w", s.s.ID(), reg.ID, coordination.ErrSessionLost))
	return true
}

// evictRaces is how often an eviction is sent again at once. After that many it is no race with claims and resignations, each of which is another's success,
// but a service that refuses for a reason of its own.
const (
	evictRaces    = 3
	evictPause    = 10 * time.Millisecond
	maxEvictPause = 500 * time.Millisecond
)

// Evict implements coordination.Session.
func (s *session) Evict(ctx context.Context, r coordination.Registered) error {
	pauses := backoff{from: evictPause, to: maxEvictPause}
	for n := 1; ; n++ {
		err := s.evictOnce(ctx, r)
		if err == nil {
			return nil
		}
		var conflict *coordination.ConflictError
		if !errors.As(err, &conflict) || conflict.Key != controllerKey {
			return fmt.Errorf("evict broker %d: %w", r.ID, err)
		}
		if n > evictRaces {
			pauses.wait(ctx)
		}
		if ctx.Err() != nil { // no ErrConflict: the registration still is the given one
			return fmt.Errorf("evict broker %d: refused %d times (%v): %w: %w", r.ID, n, err, coordination.ErrUnavailable, context.Cause(ctx))
		}
	}
}

// evictOnce is guarded on the controller key as well. Without that: we read that another leads; the victim claims, its last act; we delete its registration
// alone; and its controller key stays until its session expires.
func (s *session) evictOnce(ctx context.Context, r coordination.Registered) error {
	holder, err := s.c.store.Get(ctx, controllerKey)
	if err != nil {
		return err
	}
	key := brokerKey(r.ID)
	guards := []backend.Guard{{Key: key, Version: r.Revision}, {Key: controllerKey, Version: holder.Version}}
	ops := []backend.Op{{Kind: backend.Delete, Key: key}}
	if holder.Version != 0 && string(holder.Value) == r.Incarnation {
		ops = append(ops, backend.Op{Kind: backend.Delete, Key: controllerKey})
	}
	_, err = s.s.Txn(ctx, guards, ops)
	var conflict *coordination.ConflictError
	if errors.As(err, &conflict) && conflict.Guard != 0 {
		// The service names one guard that failed, perhaps not the first: if the registration is gone as well, that is what the caller must hear.
		e, rerr := s.c.store.Get(ctx, key)
		switch {
		case rerr != nil:
			return rerr
		case e.Version != r.Revision:
			return &coordination.ConflictError{Guard: 0, Key: key}
		}
		return &coordination.ConflictError{Guard: 1, Key: controllerKey}
	}
	return err
}

// WatchRegistrations implements coordination.Coordinator.
func (c *Coordinator) WatchRegistrations(ctx context.Context, fn func([]coordination.Registered)) error {
	ctx, cancel := c.merge(ctx)
	defer cancel()
	for {
		err := c.store.WatchDir(ctx, "brokers", func(entries []backend.Entry) {
			regs := make([]coordination.Registered, 0, len(entries))
			for _, e := range entries {
				reg, err := decodeRegistration(e)
				if err != nil {
					c.log.Warn("registration ignored", "key", e.Key, "error", err)
					continue
				}
				regs = append(regs, reg)
			}
			fn(regs)
		})
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.log.Debug("registration watch renewed", "error", err)
		if !pause(ctx, retryPause) {
			return context.Cause(ctx)
		}
	}
}

func decodeRegistration(e backend.Entry) (coordination.Registered, error) {
	var r coordination.Registration
	if err := json.Unmarshal(e.Value, &r); err != nil {
		return coordination.Registered{}, fmt.Errorf("decode %s: %w", e.Key, err)
	}
	return coordination.Registered{Registration: r, Revision: e.Version}, nil
}
