package coordtest

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/regency-project/regency/coordination"
)

// marked is a registration whose requests can be told from others: its incarnation is also what the controller key holds when it leads.
func marked(id int32) coordination.Registration {
	r := registration(id)
	r.Incarnation = uuid.NewString()
	return r
}

// testLostRegistration: the answer to a registration is lost. Register finds out that it was made, and it is one that ends with the session.
func testLostRegistration(e *env) {
	ls, _, s := e.linked()
	observer := e.coordinator()
	r := marked(1)
	t := ls.trap(r.Incarnation, unanswered)
	done := make(chan error, 1)
	var got coordination.Registered
	go func() {
		var err error
		got, err = s.Register(e.ctx, r)
		done <- err
	}()
	t.await()
	var there coordination.Registered
	e.eventually(patience, "the registration is made", func() error {
		if all := e.present(observer); len(all) == 1 {
			there = all[0]
			return nil
		}
		return errors.New("absent")
	})
	ls.heal()
	if err := <-done; err != nil {
		e.Fatalf("Register() whose answer was lost = %v", err)
	}
	if got.Revision != there.Revision || got.Incarnation != r.Incarnation {
		e.Errorf("Register() = %+v, but the service holds %+v", got, there)
	}
	e.endsWithout(observer, s)
}

// endsWithout closes the session and wants nothing of it left.
func (e *env) endsWithout(observer coordination.Coordinator, s coordination.Session) {
	e.Helper()
	if err := e.insist(s.Close); err != nil {
		e.Fatalf("Close() = %v", err)
	}
	if got := e.present(observer); len(got) != 0 {
		e.Errorf("registrations after Close returned = %+v, want none", got)
	}
}

// testCancelledRegistration: the caller gave up on a registration that was made. It ends with the session, of which nobody knows that it has one.
func testCancelledRegistration(e *env) {
	ls, _, s := e.linked()
	observer := e.coordinator()
	r := marked(1)
	t := ls.trap(r.Incarnation, unanswered)
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { _, err := s.Register(ctx, r); done <- err }()
	t.await()
	e.eventually(patience, "the registration is made", func() error {
		if len(e.present(observer)) != 1 {
			return errors.New("absent")
		}
		return nil
	})
	cancel()
	e.Logf("Register() given up = %v", <-done)
	ls.heal()
	e.endsWithout(observer, s)
}

// testLateRegistration: the first request of a registration arrives after a repeated one was answered and the session was closed: nothing is registered.
// The place is free again, so that only the end of the session refuses it.
func testLateRegistration(e *env) {
	ls, _, s := e.linked()
	observer := e.coordinator()
	r := marked(1)
	t := ls.trap(r.Incarnation, late)
	if _, err := s.Register(e.ctx, r); err != nil {
		e.Fatalf("Register() whose first request is late = %v", err)
	}
	t.await()
	e.endsWithout(observer, s)
	t.release()
	if got := e.present(observer); len(got) != 0 {
		e.Errorf("registrations after a late request of a closed session = %+v, want none", got)
	}
}

// testOrphanedClaim: the answer to a claim is lost and its caller gives up. The session that unknowingly leads can campaign again, and what it holds
// ends with it.
func testOrphanedClaim(e *env) {
	ls, _, s := e.linked()
	observer, other := e.process()
	e.register(other, 2)
	r := marked(1)
	if _, err := s.Register(e.ctx, r); err != nil {
		e.Fatalf("Register() = %v", err)
	}
	t := ls.trap(r.Incarnation, unanswered)
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { _, err := s.Campaign(ctx); done <- err }()
	t.await()
	e.eventually(patience, "the claim is made", func() error {
		if st := e.status(observer); st.Epoch != 1 {
			return fmt.Errorf("epoch %d", st.Epoch)
		}
		return nil
	})
	cancel()
	e.Logf("Campaign() given up = %v", <-done)
	ls.heal()
	l := e.campaign(s)
	if l.Epoch() != 2 {
		e.Errorf("epoch of the second campaign = %d, want 2", l.Epoch())
	}
	e.endsWithoutBut(observer, s, 2)
	if l := e.campaign(other); l.Epoch() != 3 {
		e.Errorf("epoch after the orphan's session was closed = %d, want 3", l.Epoch())
	}
}

func (e *env) endsWithoutBut(observer coordination.Coordinator, s coordination.Session, other int32) {
	e.Helper()
	if err := e.insist(s.Close); err != nil {
		e.Fatalf("Close() = %v", err)
	}
	if got := e.present(observer); len(got) != 1 || got[0].ID != other {
		e.Errorf("registrations after Close returned = %+v, want only %d", got, other)
	}
}

// testLateClaim: the first request of a claim arrives after the session was closed: nobody leads by it, and the epochs stay dense.
func testLateClaim(e *env) {
	ls, _, s := e.linked()
	observer, other := e.process()
	e.register(other, 2)
	r := marked(1)
	if _, err := s.Register(e.ctx, r); err != nil {
		e.Fatalf("Register() = %v", err)
	}
	t := ls.trap(r.Incarnation, late)
	l := e.campaign(s)
	t.await()
	e.endsWithoutBut(observer, s, 2)
	t.release()
	if st := e.status(observer); st.Epoch != l.Epoch() || st.Seq != l.Seq() {
		e.Errorf("Status() after a late claim of a closed session = %+v, want epoch %d, seq %d", st, l.Epoch(), l.Seq())
	}
	if next := e.campaign(other); next.Epoch() != l.Epoch()+1 {
		e.Errorf("epoch after a late claim = %d, want %d", next.Epoch(), l.Epoch()+1)
	}
}
