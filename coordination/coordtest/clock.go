package coordtest

import (
	"fmt"
	"runtime"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/link"
)

// testWallClock: a process whose wall clock jumps by an hour, and back by two, keeps its session and its leadership as if nothing had happened, and still
// finds out in time that it may decide nothing when the service is out of reach. (Those of the service's members: testServerClocks.)
func testWallClock(e *env) {
	e.needChild()
	e.stall = e.measureStall()
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		e.Skip("a process's wall clock is shifted on linux/amd64 only")
	}
	ls := e.links()
	co := e.coordinator()
	seen := e.registrations(co)
	c := e.clockedChild(ls.url)
	c.register(1)
	c.campaign()
	seen.waitPresent(1)
	revision := e.present(co)[0].Revision
	timeout := e.granted(co)

	shift := func(seconds int64) {
		e.Helper()
		e.eventually(patience, "the child's session is valid", func() error {
			if got := c.must(order{Op: "state"}).State; got != coordination.Valid {
				return fmt.Errorf("it is %v", got)
			}
			return nil
		})
		c.must(order{Op: "clock", Shift: seconds})
		if got := c.must(order{Op: "state"}).State; got != coordination.Valid {
			e.judge(timeout, "State() just after the wall clock went to %+d s = %v, want valid", seconds, got)
		}
	}
	for i, seconds := range []int64{3600, -3600, 3600} {
		shift(seconds)
		for end := time.Now().Add(timeout); time.Now().Before(end); time.Sleep(timeout / 10) {
			if r := c.do(order{Op: "commit", Key: fmt.Sprint("clock/", i)}); r.Error != "" {
				e.judge(timeout, "Commit() after the wall clock went to %+d s = %v", seconds, r.err())
			}
		}
	}
	if got := e.present(co); len(got) != 1 || got[0].Revision != revision {
		e.Errorf("registrations = %+v, want the one of revision %d", got, revision)
	}

	// An hour back in the moment in which the service is out of reach: a deadline by the wall clock would now be an hour away.
	shift(-3600)
	began := time.Now()
	ls.set(link.BlackHole)
	if co.Capabilities().ProvableDeadline {
		e.eventually(timeout+slack, "the cut-off child's session is suspect", func() error {
			if got := c.must(order{Op: "state"}).State; got == coordination.Valid {
				return fmt.Errorf("it is %v", got)
			}
			return nil
		})
	}
	seen.waitAbsent(1, e.bound(timeout)+slack)
	e.Logf("registration gone %v after the black hole, bound %v", time.Since(began).Round(time.Millisecond), e.bound(timeout))
	ls.heal()
}

// granted is the timeout that the service grants.
func (e *env) granted(co coordination.Coordinator) time.Duration {
	e.Helper()
	return e.session(co, coordination.SessionOptions{}).Timeout()
}
