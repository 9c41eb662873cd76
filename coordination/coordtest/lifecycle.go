package coordtest

import (
	"context"
	"errors"
	"time"

	"github.com/regency-project/regency/coordination"
)

func testCancellation(e *env) {
	co, s, _ := e.leader(1)
	_, waiting := e.process()
	e.register(waiting, 2)
	for name, f := range map[string]func(ctx context.Context) error{
		"Watch": func(ctx context.Context) error { return co.Watch(ctx, func(coordination.Event) {}) },
		"WatchRegistrations": func(ctx context.Context) error {
			return co.WatchRegistrations(ctx, func([]coordination.Registered) {})
		},
		"Campaign": func(ctx context.Context) error { _, err := waiting.Campaign(ctx); return err },
	} {
		ctx, cancel := context.WithCancel(e.ctx)
		done := make(chan error, 1)
		go func() { done <- f(ctx) }()
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				e.Errorf("%s() = %v, want the context's error", name, err)
			}
		case <-time.After(slack):
			e.Errorf("%s() did not return within %v of its cancellation", name, slack)
		}
	}
	// The end of the session ends its campaign, the end of the coordinator its watch.
	lost := make(chan error, 1)
	go func() { _, err := waiting.Campaign(e.ctx); lost <- err }()
	for _, r := range e.present(co) {
		if r.ID == 2 {
			if err := e.evict(s, r); err != nil {
				e.Fatalf("Evict() = %v", err)
			}
		}
	}
	select {
	case err := <-lost:
		if !errors.Is(err, coordination.ErrSessionLost) {
			e.Errorf("Campaign() of a lost session = %v, want ErrSessionLost", err)
		}
	case <-time.After(patience):
		e.Errorf("Campaign() outlived its session")
	}
	short, err := e.h.Open(e.ctx, e.h.URL, e.logger)
	if err != nil {
		e.Fatalf("Open() = %v", err)
	}
	told, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		ended <- short.Watch(e.ctx, func(coordination.Event) {
			select {
			case told <- struct{}{}:
			default:
			}
		})
	}()
	e.closedOrTold(told)
	if err := short.Close(); err != nil {
		e.Errorf("Close() = %v", err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, coordination.ErrClosed) {
			e.Errorf("Watch() of a closed coordinator = %v, want ErrClosed", err)
		}
	case <-time.After(slack):
		e.Errorf("Watch() outlived its coordinator")
	}
	if _, err := short.Status(e.ctx); err == nil {
		e.Errorf("Status() after Close succeeded")
	}
}

func (e *env) closedOrTold(c <-chan struct{}) {
	e.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		e.Fatalf("a watch told nothing for %v", patience)
	}
}
