package cluster

import (
	"context"
	"sync"
)

// Current holds the newest View of one broker. One goroutine sets it (the chain's watch); everybody reads it or waits for it.
type Current struct {
	mu struct {
		sync.Mutex
		view    *View
		changed chan struct{} // closed and replaced at every change
	}
}

// NewCurrent starts with the empty View.
func NewCurrent() *Current {
	c := &Current{}
	c.mu.view = Empty()
	c.mu.changed = make(chan struct{})
	return c
}

// View returns the newest View; never nil.
func (c *Current) View() *View {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.view
}

// Next returns the newest View and a channel that is closed when a newer one is set.
func (c *Current) Next() (*View, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.view, c.mu.changed
}

// Set publishes a newer View. An older one is ignored.
func (c *Current) Set(v *View) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v.Seq < c.mu.view.Seq {
		return
	}
	c.mu.view = v
	close(c.mu.changed)
	c.mu.changed = make(chan struct{})
}

// Wait returns the first View for which ok holds.
func (c *Current) Wait(ctx context.Context, ok func(*View) bool) (*View, error) {
	for {
		v, changed := c.Next()
		if ok(v) {
			return v, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
