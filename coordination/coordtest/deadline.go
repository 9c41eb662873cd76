package coordtest

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/link"
)

// testHeldToDeadline: the service does not end a session before the deadline that the session names, however it comes that nothing is renewed: while
// State is Valid the registration is there.
func testHeldToDeadline(e *env) {
	co := e.coordinator()
	e.needDeadline(co)
	var sick atomic.Bool
	s := e.session(co, coordination.SessionOptions{Healthy: func() error {
		if sick.Load() {
			return errors.New("not healthy")
		}
		return nil
	}})
	if _, err := s.Bootstrap(e.ctx); err != nil {
		e.Fatalf("Bootstrap() = %v", err)
	}
	e.lapses(s, func() { sick.Store(true) })
}

// testSuspectBeforeGone: a process that is cut off from the whole service reads Suspect before the service ends its session, and learns of the end
// only from the service.
func testSuspectBeforeGone(e *env) {
	ls, co, s := e.linked()
	e.needDeadline(co)
	e.lapses(s, ls.cut)
	if got := s.State(); got != coordination.Suspect {
		e.Errorf("State() of a session that is gone while its process is cut off = %v, want suspect: nobody told it", got)
	}
	ls.heal()
	e.closed(s.Done(), patience, "Done of the lapsed session once the service can be asked")
	if !errors.Is(s.Err(), coordination.ErrSessionLost) {
		e.Errorf("Err() = %v, want ErrSessionLost", s.Err())
	}
}

func (e *env) needDeadline(co coordination.Coordinator) {
	e.Helper()
	if !co.Capabilities().ProvableDeadline {
		e.Skip("the service gives no provable deadline")
	}
}

// lapses ends the renewal of a session and watches it end: not while it is Valid, and not before what is left of its timeout.
func (e *env) lapses(s coordination.Session, stop func()) {
	e.Helper()
	observer := e.coordinator()
	seen := e.registrations(observer)
	r := e.register(s, 1)
	seen.waitPresent(1)
	stop()
	stopped := time.Now()
	var suspect, valid time.Time // when the session first was, and last was
	for {
		// The state first: what is gone now was gone, or not, when the state was read. The process may be stopped between any two of these, and was Valid
		// for certain only before it asked.
		asked := time.Now()
		state, gone := s.State(), seen.revision(1) != r.Revision
		now := time.Now()
		switch {
		case state == coordination.Valid && gone && s.State() == coordination.Valid:
			e.Fatalf("the registration is gone %v after the last renewal while the session is valid", now.Sub(stopped))
		case state == coordination.Valid:
			valid = asked
		case state == coordination.Suspect && suspect.IsZero():
			suspect = now
		case state == coordination.Lost && suspect.IsZero() && now.Sub(valid) < s.Timeout()/50:
			// The margin between the two is at least that long, so that a test that did look cannot miss it.
			e.Fatalf("the session was valid %v ago and is lost, want suspect in between", now.Sub(valid))
		}
		if gone {
			break
		}
		if now.Sub(stopped) > e.bound(s.Timeout())+slack {
			e.Fatalf("the registration is there %v after renewals ended, bound %v", now.Sub(stopped), e.bound(s.Timeout()))
		}
		time.Sleep(time.Millisecond)
	}
	took := time.Since(stopped)
	e.Logf("suspect %v and gone %v after renewals ended, timeout %v", suspect.Sub(stopped).Round(time.Millisecond), took.Round(time.Millisecond), s.Timeout())
	// Renewals come at least every half of the timeout.
	if took < s.Timeout()/2-s.Timeout()/10 {
		e.Errorf("the registration is gone %v after renewals ended, the session's timeout is %v", took, s.Timeout())
	}
}

// testSuspectAndBack: a process that gets no answers for longer than its session's timeout is Suspect, and Valid again with the first answer: the
// same session, since its renewals arrived.
func testSuspectAndBack(e *env) {
	// While nothing is answered, a renewal arrives only when it is the turn of a member to which a connection was made before: one in three, perhaps.
	e.withSession(3 * time.Second)
	ls, co, s := e.linked()
	e.needDeadline(co)
	observer := e.coordinator()
	seen := e.registrations(observer)
	r := e.register(s, 1)
	seen.waitPresent(1)
	id, told := s.ID(), e.states(s)
	ls.set(link.Rule{Down: link.Flow{Drop: true}})
	e.eventually(s.Timeout()+slack, "the session is suspect", func() error { return is(s, coordination.Suspect) })
	for end := time.Now().Add(s.Timeout()); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if got := s.State(); got != coordination.Suspect {
			e.Fatalf("State() without answers = %v (%v), want suspect", got, s.Err())
		}
		if got := seen.revision(1); got != r.Revision {
			e.Fatalf("revision while renewals arrive unanswered = %d, want %d", got, r.Revision)
		}
	}
	ls.heal()
	e.eventually(patience, "the session is valid again", func() error { return is(s, coordination.Valid) })
	if s.ID() != id {
		e.Errorf("ID() = %s, want %s as before", s.ID(), id)
	}
	if got := e.present(observer); len(got) != 1 || got[0].Revision != r.Revision {
		e.Errorf("registrations = %v, want revision %d as before", got, r.Revision)
	}
	if err := s.Close(e.ctx); err != nil {
		e.Errorf("Close() = %v", err)
	}
	want := []coordination.State{coordination.Valid, coordination.Suspect, coordination.Valid, coordination.Lost}
	if got := <-told; !slices.Equal(got, want) {
		e.Errorf("Session.Watch() told %v, want %v", got, want)
	}
}

func is(s coordination.Session, want coordination.State) error {
	if got := s.State(); got != want {
		return errors.Join(errors.New(got.String()), s.Err())
	}
	return nil
}
