package coordtest

import (
	"context"
	"errors"
	"time"

	"github.com/regency-project/regency/coordination"
)

func (e *env) needOutage() {
	if e.h.StopQuorum == nil || e.h.StartQuorum == nil {
		e.Skip("the harness cannot stop the service")
	}
}

// outage runs f while the service has no quorum.
func (e *env) outage(f func()) {
	e.Helper()
	started := false
	start := func() {
		if !started {
			started = true
			e.h.StartQuorum(e.TB)
		}
	}
	e.Cleanup(start) // before the sessions are closed, also when f ends the test
	e.h.StopQuorum(e.TB)
	f()
	start()
}

// testOutage: the service loses its quorum for three session timeouts. Afterwards all is as it was.
func testOutage(e *env) {
	e.needOutage()
	e.withSession(3 * time.Second)
	e.stall = e.measureStall()
	co, s := e.process()
	v := e.view(co)
	r := e.register(s, 1)
	_, other := e.process()
	r2 := e.register(other, 2)
	l := e.campaign(s)
	seq := e.commit(l, put("k", "before"))

	e.outage(func() {
		end := time.Now().Add(3 * s.Timeout())
		// A write fails soon, and never succeeds. Its outcome may be unknown: it may apply when the service is back.
		ctx, cancel := context.WithTimeout(e.ctx, 2*time.Second)
		began := time.Now()
		_, err := l.Commit(ctx, []coordination.Mutation{put("during", "x")})
		cancel()
		if !errors.Is(err, coordination.ErrUnavailable) && !errors.Is(err, coordination.ErrOutcomeUnknown) && !errors.Is(err, context.DeadlineExceeded) {
			e.Errorf("Commit() without a quorum = %v, want unavailable or unknown", err)
		}
		if took := time.Since(began); took > 2*time.Second+slack {
			e.Errorf("Commit() without a quorum took %v, its context 2s", took)
		}
		if _, err := co.Status(e.ctx); !errors.Is(err, coordination.ErrUnavailable) {
			e.Errorf("Status() without a quorum = %v, want ErrUnavailable", err)
		}
		if co.Capabilities().ProvableDeadline {
			e.eventually(s.Timeout()+slack, "the session is suspect", func() error {
				if got := s.State(); got != coordination.Suspect {
					return errors.New(got.String())
				}
				return nil
			})
			if _, err := l.Commit(e.ctx, []coordination.Mutation{put("during", "y")}); err == nil {
				e.Errorf("Commit() of a suspect session succeeded")
			}
		}
		select {
		case <-s.Done():
			e.Errorf("session ended during the outage: %v", s.Err())
		case <-l.Done():
			e.Errorf("leadership ended during the outage: %v", l.Err())
		case <-time.After(time.Until(end)):
		}
	})

	for name, s := range map[string]coordination.Session{"leader": s, "other": other} {
		e.eventually(patience, "the session of the "+name+" is valid again", func() error {
			switch got := s.State(); got {
			case coordination.Valid:
				return nil
			case coordination.Lost:
				e.judge(s.Timeout(), "the session of the %s after the outage: %v", name, s.Err())
				return s.Err()
			default:
				return errors.New(got.String())
			}
		})
	}
	revisions := map[int32]uint64{}
	for _, b := range e.present(co) {
		revisions[b.ID] = b.Revision
	}
	if len(revisions) != 2 || revisions[1] != r.Revision || revisions[2] != r2.Revision {
		e.Errorf("revisions after the outage = %v, want %d and %d as before", revisions, r.Revision, r2.Revision)
	}
	if st := e.status(co); st.Epoch != l.Epoch() || st.Seq > seq+2 {
		e.Errorf("Status() after the outage = %+v, want epoch %d and seq %d, or up to 2 more for the writes that were tried", st, l.Epoch(), seq)
	}
	next := e.commit(l, put("k", "after"))
	v.wait(next, "the commit after the outage")
	v.verify()
	if got := e.snapshot(e.coordinator()).Records["k"]; string(got) != "after" {
		e.Errorf("k = %q, want %q", got, "after")
	}
}

// testOutageCancellation: whatever waits for a service that does not answer returns soon after its context ended.
func testOutageCancellation(e *env) {
	e.needOutage()
	co, s := e.process()
	e.register(s, 1)
	_, waiting := e.process()
	e.register(waiting, 2)
	e.campaign(s)
	fresh, err := e.h.Open(e.ctx, e.h.URL, e.logger)
	if err != nil {
		e.Fatalf("Open() = %v", err)
	}
	e.outage(func() {
		e.returnsPromptly("Status", func(ctx context.Context) error { _, err := co.Status(ctx); return err })
		e.returnsPromptly("OpenSession", func(ctx context.Context) error {
			_, err := fresh.OpenSession(ctx, coordination.SessionOptions{})
			return err
		})
		e.returnsPromptly("Watch", func(ctx context.Context) error { return co.Watch(ctx, func(coordination.Event) {}) })
		e.returnsPromptly("WatchRegistrations", func(ctx context.Context) error {
			return co.WatchRegistrations(ctx, func([]coordination.Registered) {})
		})
		e.returnsPromptly("Campaign", func(ctx context.Context) error { _, err := waiting.Campaign(ctx); return err })
		e.returnsPromptly("Usurp", func(ctx context.Context) error { _, err := waiting.Usurp(ctx, 1); return err })
		e.returnsPromptly("Session.Close", waiting.Close)
		e.returnsPromptly("Coordinator.Close", func(context.Context) error { return errors.Join(errors.New("closed"), fresh.Close()) })
	})
}

// returnsPromptly calls f with a context that ends in 300 ms.
func (e *env) returnsPromptly(name string, f func(ctx context.Context) error) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, 300*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	select {
	case err := <-done:
		if err == nil {
			e.Errorf("%s() without a quorum succeeded", name)
		}
	case <-time.After(300*time.Millisecond + slack):
		e.Errorf("%s() did not return within %v of its context's end", name, slack)
	}
}
