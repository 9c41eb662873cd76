// Package faulty decorates a backend.Store with the faults of a network: a transaction that is lost, one whose answer is lost, one that arrives late.
package faulty

import (
	"context"
	"sync"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

// Fate is what happens to one transaction.
type Fate uint8

const (
	Pass       Fate = iota // nothing
	LoseBefore             // never applied; the caller hears ErrOutcomeUnknown
	LoseAfter              // applied; the caller hears ErrOutcomeUnknown
	Delay                  // the caller hears ErrOutcomeUnknown at once; it is applied when Release is called
)

// Store decorates a backend.Store.
type Store struct {
	backend.Store
	mu struct {
		sync.Mutex
		fates   []Fate
		before  func()
		delayed []func() error
	}
}

// Wrap decorates s; without orders everything passes.
func Wrap(s backend.Store) *Store { return &Store{Store: s} }

// Next orders the fates of the coming transactions, in order; after them everything passes.
func (s *Store) Next(fates ...Fate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.fates = append(s.mu.fates, fates...)
}

// BeforeNext has f run just before the next transaction is sent: the place of a race.
func (s *Store) BeforeNext(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.before = f
}

func (s *Store) race() {
	s.mu.Lock()
	f := s.mu.before
	s.mu.before = nil
	s.mu.Unlock()
	if f != nil {
		f()
	}
}

// Release applies the delayed transactions now and returns their results.
func (s *Store) Release() []error {
	s.mu.Lock()
	late := s.mu.delayed
	s.mu.delayed = nil
	s.mu.Unlock()
	var errs []error
	for _, f := range late {
		errs = append(errs, f())
	}
	return errs
}

// Delayed counts the transactions that wait for Release.
func (s *Store) Delayed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.delayed)
}

func (s *Store) fate() Fate {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.fates) == 0 {
		return Pass
	}
	f := s.mu.fates[0]
	s.mu.fates = s.mu.fates[1:]
	return f
}

// OpenSession returns a session whose transactions meet the ordered fates.
func (s *Store) OpenSession(ctx context.Context) (backend.Session, error) {
	x, err := s.Store.OpenSession(ctx)
	if err != nil {
		return nil, err
	}
	return &session{Session: x, s: s}, nil
}

type session struct {
	backend.Session
	s *Store
}

func (x *session) Txn(ctx context.Context, guards []backend.Guard, ops []backend.Op) ([]uint64, error) {
	x.s.race()
	switch x.s.fate() {
	case LoseBefore:
		return nil, coordination.ErrOutcomeUnknown
	case LoseAfter:
		if _, err := x.Session.Txn(ctx, guards, ops); err != nil {
			return nil, err
		}
		return nil, coordination.ErrOutcomeUnknown
	case Delay:
		x.s.mu.Lock()
		x.s.mu.delayed = append(x.s.mu.delayed, func() error {
			_, err := x.Session.Txn(context.WithoutCancel(ctx), guards, ops)
			return err
		})
		x.s.mu.Unlock()
		return nil, coordination.ErrOutcomeUnknown
	}
	return x.Session.Txn(ctx, guards, ops)
}
