package coordtest

import (
	"fmt"
	"time"
)

// testServerClocks: the wall clock of the service's own leader, and of a member that follows it, jumps by an hour and back by two. No session is lost or kept longer
// than it should be, commits go on, and nothing moves.
func testServerClocks(e *env) {
	if e.h.Leader == nil || e.h.ShiftClock == nil {
		e.Skip("the harness cannot shift the wall clocks of the service's members")
	}
	e.needChild()
	e.stall = e.measureStall()
	all := e.members(2)
	v := e.view(all[1].co)
	seen := e.registrations(all[1].co)
	l := e.campaign(all[0].s)
	timeout, childs := all[0].s.Timeout(), e.granted(e.coordinatorAt(e.own))
	lead := e.h.Leader(e.TB)
	members := []int{lead, (lead + 1) % len(e.h.Endpoints)}
	for _, i := range members {
		e.Cleanup(func() { e.h.ShiftClock(e.TB, i, 0) })
	}
	var seq uint64
	for _, d := range []time.Duration{time.Hour, -time.Hour, 0} {
		for _, i := range members {
			what := fmt.Sprintf("the clock of member %d went to %+v", i, d)
			e.h.ShiftClock(e.TB, i, d)
			for end := time.Now().Add(childs / 2); time.Now().Before(end); time.Sleep(childs / 20) {
				seq = e.commitEventually(l, timeout, put("n", what))
			}
			e.kept(all, what)
		}
	}
	// A deadline by the wall clock would now be an hour away.
	const id = 100
	victim := e.child()
	victim.register(id)
	seen.waitPresent(id)
	victim.kill()
	died := time.Now()
	for _, i := range members {
		e.h.ShiftClock(e.TB, i, -time.Hour)
	}
	seen.waitAbsent(id, e.bound(childs)+slack)
	e.Logf("registration gone %v after SIGKILL, bound %v", time.Since(died).Round(time.Millisecond), e.bound(childs))
	e.kept(all, "a process died while clocks went back")
	v.wait(seq, "the last commit")
	v.verify()
	if l.Err() != nil {
		e.judge(timeout, "leadership after clocks were shifted = %v", l.Err())
	}
}
