package coordtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/regency-project/regency/coordination"
)

// testLimits: MaxCommitBytes and MaxCommitMutations met exactly pass at the service, in whatever shape; one more is ErrTooLarge, changes nothing, and the
// term goes on.
func testLimits(e *env) {
	co, _, l := e.leader(1)
	caps := co.Capabilities()
	seq := e.commit(l, put("small", "1"))
	many := make([]coordination.Mutation, caps.MaxCommitMutations)
	for i := range many {
		many[i] = put(fmt.Sprintf("topics/with space/%05d", i), "v")
	}
	sized := func(m []coordination.Mutation, bytes int) []coordination.Mutation {
		for _, x := range m {
			bytes -= len(x.Key) + len(x.Value)
		}
		last := m[len(m)-1]
		last.Value = append(last.Value, strings.Repeat("\xff", bytes)...)
		return append(m[:len(m)-1:len(m)-1], last)
	}
	removals := make([]coordination.Mutation, len(many))
	for i := range removals {
		removals[i] = remove(many[i].Key)
	}
	for _, c := range []struct {
		name      string
		fits, not []coordination.Mutation
	}{
		{"one record", sized([]coordination.Mutation{put("one", "")}, caps.MaxCommitBytes), sized([]coordination.Mutation{put("one", "")}, caps.MaxCommitBytes+1)},
		{"many records", sized(many, caps.MaxCommitBytes), sized(many, caps.MaxCommitBytes+1)},
		{"deletions", removals, append(removals, remove("small"))},
		{"creations", many, append(many, put("small", "2"))},
	} {
		err := e.insist(func(ctx context.Context) error { _, err := l.Commit(ctx, c.not); return err })
		if !errors.Is(err, coordination.ErrTooLarge) {
			e.Errorf("%s: Commit() one above the limit = %v, want ErrTooLarge", c.name, err)
		}
		if st := e.status(co); st.Seq != seq {
			e.Errorf("%s: the chain is at %d after a commit that is too large, want %d", c.name, st.Seq, seq)
		}
		if got := e.commit(l, c.fits...); got != seq+1 {
			e.Errorf("%s: Commit() at the limit = %d, want %d", c.name, got, seq+1)
		}
		seq++
	}
	got := e.snapshot(co)
	if len(got.Records) != len(many)+2 || string(got.Records["small"]) != "1" || len(got.Records["one"]) != caps.MaxCommitBytes-len("one") {
		e.Errorf("snapshot has %d records, small = %q, one of %d bytes: want %d, \"1\" and %d",
			len(got.Records), got.Records["small"], len(got.Records["one"]), len(many)+2, caps.MaxCommitBytes-len("one"))
	}
	err := e.insist(func(ctx context.Context) error {
		_, err := l.Commit(ctx, []coordination.Mutation{put("", "v")})
		return err
	})
	if err == nil || l.Err() != nil {
		e.Errorf("Commit() of an empty key = %v (term: %v), want it refused and the term to go on", err, l.Err())
	}
	e.commit(l, put("small", "3"))
}

// testClosed: after Close every call is ErrClosed, and the watches that run end with it.
func testClosed(e *env) {
	co, err := e.h.Open(e.ctx, e.h.URL, e.logger)
	if err != nil {
		e.Fatalf("Open() = %v", err)
	}
	s, err := co.OpenSession(e.ctx, coordination.SessionOptions{})
	if err != nil {
		e.Fatalf("OpenSession() = %v", err)
	}
	if _, err := s.Bootstrap(e.ctx); err != nil {
		e.Fatalf("Bootstrap() = %v", err)
	}
	e.register(s, 1)
	l := e.campaign(s)
	if err := s.Close(e.ctx); err != nil {
		e.Fatalf("Session.Close() = %v", err)
	}
	wantClosed := func(when string, calls map[string]func() error) {
		e.Helper()
		for name, call := range calls {
			if err := call(); !errors.Is(err, coordination.ErrClosed) {
				e.Errorf("%s after %s = %v, want ErrClosed", name, when, err)
			}
		}
	}
	wantClosed("Session.Close", map[string]func() error{
		"Session.Err":    s.Err,
		"Leadership.Err": l.Err,
		"Register":       func() error { _, err := s.Register(e.ctx, registration(1)); return err },
		"Campaign":       func() error { _, err := s.Campaign(e.ctx); return err },
		"Usurp":          func() error { _, err := s.Usurp(e.ctx, l.Epoch()); return err },
		"Commit":         func() error { _, err := l.Commit(e.ctx, []coordination.Mutation{put("k", "v")}); return err },
		"Evict": func() error {
			return s.Evict(e.ctx, coordination.Registered{Registration: registration(1), Revision: 1})
		},
	})
	calls := map[string]func() error{
		"Status":             func() error { _, err := co.Status(e.ctx); return err },
		"OpenSession":        func() error { _, err := co.OpenSession(e.ctx, coordination.SessionOptions{}); return err },
		"Watch":              func() error { return co.Watch(e.ctx, func(coordination.Event) {}) },
		"WatchRegistrations": func() error { return co.WatchRegistrations(e.ctx, func([]coordination.Registered) {}) },
	}
	running := map[string]chan error{"Watch": make(chan error, 1), "WatchRegistrations": make(chan error, 1)}
	told := make(chan struct{}, 2)
	first := func() func() { var once sync.Once; return func() { once.Do(func() { told <- struct{}{} }) } }
	events, sets := first(), first()
	go func() { running["Watch"] <- co.Watch(e.ctx, func(coordination.Event) { events() }) }()
	go func() {
		running["WatchRegistrations"] <- co.WatchRegistrations(e.ctx, func([]coordination.Registered) { sets() })
	}()
	for range running {
		e.received(told, "the watches run")
	}
	if err := co.Close(); err != nil {
		e.Errorf("Coordinator.Close() = %v", err)
	}
	for name, c := range running {
		if err := e.receivedError(c, name+" returns"); !errors.Is(err, coordination.ErrClosed) {
			e.Errorf("%s when the coordinator is closed = %v, want ErrClosed", name, err)
		}
	}
	wantClosed("Coordinator.Close", calls)
}

func (e *env) received(c <-chan struct{}, what string) {
	e.Helper()
	e.waitFor(what, func(ctx context.Context) {
		select {
		case <-c:
		case <-ctx.Done():
		}
	})
}

func (e *env) receivedError(c <-chan error, what string) (err error) {
	e.Helper()
	e.waitFor(what, func(ctx context.Context) {
		select {
		case err = <-c:
		case <-ctx.Done():
		}
	})
	return err
}

func (e *env) waitFor(what string, f func(ctx context.Context)) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	f(ctx)
	if ctx.Err() != nil {
		e.Fatalf("%s: not within %v", what, patience)
	}
}
