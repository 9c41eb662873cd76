package coordtest

import (
	"errors"
	"time"

	"github.com/regency-project/regency/coordination"
)

func testKilled(e *env) {
	e.needChild()
	co, s := e.process()
	seen := e.registrations(co)
	c := e.child()
	c.register(1)
	seen.waitPresent(1)
	killed := time.Now()
	c.kill()
	seen.waitAbsent(1, e.bound(s.Timeout())+slack)
	e.Logf("registration gone %v after SIGKILL, bound %v", time.Since(killed).Round(time.Millisecond), e.bound(s.Timeout()))
}

// testStopped: a process that was stopped past its session knows on waking, with its first look, that it may decide nothing, and none of its operations
// is carried out in another session.
func testStopped(e *env) {
	e.needChild()
	co, s := e.process()
	seen := e.registrations(co)
	c := e.child()
	c.register(1)
	epoch := c.campaign()
	seen.waitPresent(1)
	stopped := time.Now()
	c.stop()
	seen.waitAbsent(1, e.bound(s.Timeout())+slack)
	e.Logf("registration gone %v after SIGSTOP, bound %v", time.Since(stopped).Round(time.Millisecond), e.bound(s.Timeout()))
	// Asked before it wakes, so that no timer and no renewal of its own comes first.
	c.send(order{Op: "state"})
	c.send(order{Op: "commit", Key: "zombie"})
	c.send(order{Op: "register", ID: 3})
	c.resume()
	if got := c.receive("state").State; co.Capabilities().ProvableDeadline && got == coordination.Valid {
		e.Errorf("first State() after SIGCONT = %v, want suspect or lost", got)
	}
	r := c.receive("commit")
	if err := r.err(); err == nil {
		e.Errorf("Commit() with a session that is over succeeded")
	}
	r = c.receive("register")
	if err := r.err(); !errors.Is(err, coordination.ErrSessionLost) {
		e.Errorf("Register() with a session that is over = %v, want ErrSessionLost", err)
	}
	if got := e.present(co); len(got) != 0 {
		e.Errorf("registrations = %+v, want none: the session is over", got)
	}
	r = c.do(order{Op: "done"})
	if err := r.err(); !errors.Is(err, coordination.ErrSessionLost) {
		e.Errorf("Err() of the stopped process's session = %v, want ErrSessionLost", err)
	}
	if got := e.snapshot(co); len(got.Records) != 0 {
		e.Errorf("records = %q, want none: the commit was refused", got.Records)
	}
	// What it held is free.
	e.register(s, 1)
	if l := e.campaign(s); l.Epoch() != epoch+1 {
		e.Errorf("epoch after the stopped leader = %d, want %d", l.Epoch(), epoch+1)
	}
}

// testZombie: a leader is stopped in the middle of its commits, a successor takes over and commits, the leader wakes: nothing of it applies.
func testZombie(e *env) {
	e.needChild()
	co, s := e.process()
	v := e.view(co)
	e.register(s, 2)
	c := e.child()
	c.register(1)
	epoch := c.campaign()
	c.send(order{Op: "hammer", Key: "zombie"})
	v.wait(10, "the child's first commits")
	c.stop()
	l := e.campaign(s)
	if l.Epoch() != epoch+1 {
		e.Fatalf("successor's epoch = %d, want %d", l.Epoch(), epoch+1)
	}
	e.commit(l, put("successor", "1"))
	v.wait(l.Seq()+1, "the successor's commit")
	_, before, _, _ := v.state()

	c.resume()
	r := c.receive("hammer")
	if err := r.err(); !errors.Is(err, coordination.ErrFenced) && !errors.Is(err, coordination.ErrSessionLost) && !errors.Is(err, coordination.ErrUnavailable) {
		e.Errorf("the zombie's Commit() = %v, want fenced, session lost or unavailable", err)
	}
	if claimed := int(l.Seq()) - 1; r.Count > claimed {
		e.Errorf("the zombie was told of %d commits, but only %d precede its successor", r.Count, claimed)
	}
	if r := c.do(order{Op: "commit", Key: "late"}); r.Error == "" {
		e.Errorf("the zombie's next Commit() succeeded")
	}
	seq := e.commit(l, put("successor", "2"))
	if seq != l.Seq()+2 {
		e.Errorf("successor's second commit = %d, want %d: somebody else wrote", seq, l.Seq()+2)
	}
	v.wait(seq, "the successor's second commit")
	v.verify()
	_, after, _, _ := v.state()
	before["successor"] = []byte("2")
	if !equalRecords(before, after) {
		e.Errorf("records = %q, want %q: the zombie changed something", after, before)
	}
}
