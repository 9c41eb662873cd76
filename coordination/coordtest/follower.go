package coordtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/regency-project/regency/coordination"
)

// testFollowerStops: a member of the service that does not lead it is stopped, and accepts connections but answers nothing. The service stays usable: commits go on, also
// those of a leader that was connected to that member, whose session is kept and whose watch goes on elsewhere; somebody new gets in. Nothing changes when it wakes.
func testFollowerStops(e *env) {
	if e.h.Leader == nil || e.h.PauseMember == nil {
		e.Skip("the harness cannot stop a member that follows")
	}
	e.stall = e.measureStall()
	ls := e.links()
	lead := e.h.Leader(e.TB)
	target := (lead + 1) % len(ls.all)
	all := []member{e.memberAt(ls, target), e.members(1)[0]}
	v, elsewhere := e.view(all[0].co), e.view(all[1].co)
	l := e.campaign(all[0].s)
	e.commit(l, put("before", "1"))

	wake := once(e.h.PauseMember(e.TB, target))
	e.Cleanup(wake)                           // before the sessions are closed, also when the test ends here
	if now := e.h.Leader(e.TB); now != lead { // the stopped member may have come to lead before it was stopped, which is another case
		e.Skipf("the service elected member %d in the place of %d before member %d was stopped", now, lead, target)
	}
	began := time.Now()
	var slowest time.Duration
	var seq uint64
	for n := 0; time.Since(began) < 3*all[0].s.Timeout(); n++ {
		asked := time.Now()
		seq = e.commitEventually(l, all[0].s.Timeout(), put("n", fmt.Sprint(n)))
		slowest = max(slowest, time.Since(asked))
		time.Sleep(10 * time.Millisecond)
	}
	e.Logf("the slowest commit while a follower was stopped: %v", slowest.Round(time.Millisecond))
	e.kept(all, "a follower was stopped")
	v.wait(seq, "the last commit, by one that was connected to the stopped member,")
	elsewhere.wait(seq, "the last commit, by one that was not,")

	fresh := member{co: e.coordinatorAt(ls.url)}
	fresh.s = e.session(fresh.co, coordination.SessionOptions{})
	fresh.r = e.registerAnyhow(fresh.s, 7)
	all = append(all, fresh)
	wake()
	e.someLost(all) // what it did to sessions would be known by then
	e.kept(all, "the follower woke")
	seq = e.commitEventually(l, all[0].s.Timeout(), put("after", "1"))
	for _, v := range []*view{v, elsewhere} {
		v.wait(seq, "the commit after the follower woke")
		v.verify()
	}
	if l.Err() != nil {
		e.judge(all[0].s.Timeout(), "leadership after a follower was stopped = %v", l.Err())
	}
}

// memberAt is a registered process, broker 9, that first reached the service by one member alone and is connected to it; the links to the others are open again.
func (e *env) memberAt(ls *links, target int) member {
	e.Helper()
	for i, l := range ls.all {
		if i != target {
			l.Cut()
		}
	}
	m := member{co: e.coordinatorAt(ls.url)}
	m.s = e.session(m.co, coordination.SessionOptions{})
	if err := e.insist(func(ctx context.Context) error { _, err := m.s.Bootstrap(ctx); return err }); err != nil {
		e.Fatalf("Bootstrap() by member %d of the service alone = %v", target, err)
	}
	m.r = e.registerAnyhow(m.s, 9)
	e.eventually(patience, "a connection to the member that will be stopped", func() error {
		if len(ls.all[target].Conns()) == 0 {
			return errors.New("none")
		}
		return nil
	})
	ls.heal()
	return m
}

// registerAnyhow registers while requests may be lost.
func (e *env) registerAnyhow(s coordination.Session, id int32) (r coordination.Registered) {
	e.Helper()
	if err := e.insist(func(ctx context.Context) (err error) { r, err = s.Register(ctx, registration(id)); return err }); err != nil {
		e.Fatalf("Register(%d) = %v", id, err)
	}
	return r
}
