package server

import (
	"context"
	"sync"
)

// budget bounds the bytes of the requests under way. One taker waits at most.
type budget struct {
	mu struct {
		sync.Mutex
		used int
	}
	limit int
	freed chan struct{} // capacity 1: full means that the taker will look again anyway
}

func newBudget(limit int) *budget {
	return &budget{limit: limit, freed: make(chan struct{}, 1)}
}

// take waits until n fit. Nothing under way lets any n in.
func (b *budget) take(ctx context.Context, n int) error {
	for !b.try(n) {
		select {
		case <-b.freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (b *budget) try(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.used > 0 && b.mu.used+n > b.limit {
		return false
	}
	b.mu.used += n
	return true
}

func (b *budget) give(n int) {
	b.mu.Lock()
	b.mu.used -= n
	b.mu.Unlock()
	select {
	case b.freed <- struct{}{}:
	default:
	}
}
