package backendtest

import (
	"context"
	"errors"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

// promptly bounds what must not wait for anything.
const promptly = 5 * time.Second

// storeCalls are all calls of a store, as one error each.
func storeCalls(store backend.Store) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Get": func(ctx context.Context) error { _, err := store.Get(ctx, "chain"); return err },
		"GetMany": func(ctx context.Context) error {
			_, err := store.GetMany(ctx, []string{"chain", "controller"})
			return err
		},
		"List": func(ctx context.Context) error { _, err := store.List(ctx, "records"); return err },
		"Load": func(ctx context.Context) error {
			_, _, err := store.Load(ctx, "chain", "records", func(backend.Entry) {})
			return err
		},
		"Watch": func(ctx context.Context) error { return store.Watch(ctx, "chain", func(backend.Entry) {}) },
		"WatchDir": func(ctx context.Context) error {
			return store.WatchDir(ctx, "brokers", func([]backend.Entry) {})
		},
		"OpenSession": func(ctx context.Context) error { _, err := store.OpenSession(ctx); return err },
	}
}

// sessionCalls are those of a session that may be called at any time.
func sessionCalls(s backend.Session) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Renew": func(ctx context.Context) error { _, err := s.Renew(ctx); return err },
		"Txn": func(ctx context.Context) error {
			_, err := s.Txn(ctx, nil, []backend.Op{op(backend.Create, "records/late", "1")})
			return err
		},
	}
}

func (e *env) each(calls map[string]func(context.Context) error, ctx context.Context, when string, check func(error) bool) {
	e.Helper()
	for name, call := range calls {
		began := time.Now()
		if err := call(ctx); !check(err) {
			e.Errorf("%s %s = %v", name, when, err)
		}
		if took := time.Since(began); took > promptly {
			e.Errorf("%s %s took %v", name, when, took)
		}
	}
}

func is(want error) func(error) bool {
	return func(err error) bool { return errors.Is(err, want) }
}

// testCancelled: every call returns when its context ends, with the context's error, and a transaction that says "not applied" was not.
func testCancelled(e *env) {
	s, _ := e.session()
	e.txn(s, nil, op(backend.Create, "chain", "1"))
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	e.each(storeCalls(e.store), ctx, "with a cancelled context", is(context.Canceled))
	e.each(sessionCalls(s), ctx, "with a cancelled context", func(err error) bool { return err != nil && !errors.Is(err, coordination.ErrSessionLost) })

	// While they run, too.
	ctx, cancel = context.WithCancel(e.ctx)
	defer time.AfterFunc(100*time.Millisecond, cancel).Stop()
	for _, name := range []string{"Watch", "WatchDir"} {
		began := time.Now()
		if err := storeCalls(e.store)[name](ctx); !errors.Is(err, context.Canceled) {
			e.Errorf("%s when its context ends = %v, want the context's error", name, err)
		}
		if took := time.Since(began); took > promptly {
			e.Errorf("%s returned %v after it began", name, took)
		}
	}
	for range 20 {
		key := "records/cut"
		ctx, cancel := context.WithTimeout(e.ctx, time.Millisecond)
		_, err := s.Txn(ctx, nil, []backend.Op{op(backend.Create, key, "1")})
		cancel()
		switch there := e.get(key).Version != 0; {
		case err == nil && !there:
			e.Errorf("a transaction was reported as applied and is not there")
		case err != nil && there && !errors.Is(err, coordination.ErrOutcomeUnknown):
			e.Errorf("Txn cut short = %v, and it was applied: want ErrOutcomeUnknown", err)
		case errors.Is(err, coordination.ErrOutcomeUnknown):
			return // it may come yet, and be in the next one's way
		case there:
			e.txn(s, nil, op(backend.Delete, key, ""))
		}
	}
}

// testClosed: after Close every call is ErrClosed, of a session and then of its store; a watch that runs ends.
func testClosed(e *env) {
	store := e.h.Open(e)
	s, stop := e.sessionOf(store)
	e.txn(s, nil, op(backend.Create, "chain", "1"))
	stop()
	if err := s.Close(e.ctx); err != nil {
		e.Fatalf("Session.Close() = %v", err)
	}
	e.each(sessionCalls(s), e.ctx, "after Session.Close", is(coordination.ErrClosed))
	e.holds("records/late", "", 0)

	ended, running := make(chan error, 1), make(chan struct{})
	go func() {
		told := false
		ended <- store.Watch(e.ctx, "chain", func(backend.Entry) {
			if !told {
				told = true
				close(running)
			}
		})
	}()
	select {
	case <-running:
	case err := <-ended:
		e.Fatalf("Watch() = %v", err)
	case <-time.After(patience):
		e.Fatal("the watch tells nothing")
	}
	if err := store.Close(); err != nil {
		e.Fatalf("Store.Close() = %v", err)
	}
	select {
	case err := <-ended:
		if err == nil || e.ctx.Err() != nil {
			e.Errorf("Watch() when the store is closed = %v, want an error", err)
		}
	case <-time.After(promptly):
		e.Errorf("Watch() goes on %v after Store.Close", promptly)
	}
	e.each(storeCalls(store), e.ctx, "after Store.Close", is(coordination.ErrClosed))
}
