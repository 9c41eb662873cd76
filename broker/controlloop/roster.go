package controlloop

import (
	"context"
	"sync"

	"github.com/regency-project/regency/coordination"
)

// roster is who is registered, as far as one term knows. Its watch begins after the claim, and a watch begins with a state at least as new as its call: so the
// term decides nothing of registrations before it knows of all that were made before it, and of all that had ended.
type roster struct {
	changed chan struct{} // capacity 1: there is something newer than what was last taken
	mu      struct {
		sync.Mutex
		list  []coordination.Registered
		known bool
	}
}

func newRoster() *roster { return &roster{changed: make(chan struct{}, 1)} }

// follow watches until ctx ends.
func (r *roster) follow(ctx context.Context, cfg Config) {
	err := cfg.Coordinator.WatchRegistrations(ctx, func(list []coordination.Registered) {
		r.mu.Lock()
		r.mu.list, r.mu.known = list, true
		r.mu.Unlock()
		select {
		case r.changed <- struct{}{}:
		default:
		}
	})
	if ctx.Err() == nil { // the coordinator was closed: the term is about to end as well
		cfg.Log.Debug("the controller's watch of registrations ended", "error", err)
	}
}

// present is nothing until anything is known.
func (r *roster) present() (list []coordination.Registered, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.list, r.mu.known
}
