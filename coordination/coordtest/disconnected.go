package coordtest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/chain"
	"github.com/regency-project/regency/coordination/link"
)

// noticed bounds how long a watch may stay with a stream that died without a word.
const noticed = 3*backend.HeartbeatInterval + slack

// testOverrunWhileCut: a watch that was cut off for more commits than the ring holds gets Resync and a Snapshot in which deletions show.
func testOverrunWhileCut(e *env) {
	ls := e.links()
	co, _, l := e.leader(1)
	seq := e.commit(l, put("doomed", "1"), put("kept", "1"))
	v := e.view(e.coordinatorAt(ls.url))
	v.wait(seq, "the commit before the cut")
	ls.cut()
	last := e.commit(l, remove("doomed"), put("fleeting", "1"))
	for i := range chain.RingSlots + 4 {
		last = e.commit(l, put("counter", fmt.Sprint(i)))
	}
	last = max(last, e.commit(l, remove("fleeting"), put("made", "1")))
	if seq, _, _, _ := v.state(); seq >= last {
		e.Fatalf("the watch is at %d although it was cut off", seq)
	}
	ls.heal()
	v.wait(last, "the last commit after the cut")
	e.same(v, co, "the watch that was cut off")
	if _, _, _, resyncs := v.state(); resyncs != 1 {
		e.Errorf("the watch was told %d resyncs, want 1: %d commits passed it by", resyncs, last-seq)
	}
}

// testFleetingWhileCut: what was made and deleted again while a watch was cut off is told, as long as the ring holds it.
func testFleetingWhileCut(e *env) {
	ls := e.links()
	co, _, l := e.leader(1)
	v := e.view(e.coordinatorAt(ls.url))
	v.wait(e.commit(l, put("kept", "1")), "the commit before the cut")
	before := len(v.told())
	ls.cut()
	e.commit(l, put("fleeting", "1"))
	e.commit(l, remove("fleeting"), put("changed", "1"))
	last := e.commit(l, put("changed", "2"))
	ls.heal()
	v.wait(last, "the last commit after the cut")
	e.same(v, co, "the watch that was cut off")
	got := v.told()[before:]
	want := []string{"fleeting=1", "fleeting-", "changed=1", "changed=2"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		e.Errorf("told were %v, want %v", got, want)
	}
}

// testLargeWhileCut: a watch catches up with commits of the largest size, too: what is too much for one answer in one request's time comes in several.
func testLargeWhileCut(e *env) {
	const commits = 24
	ls := e.links()
	co, _, l := e.leader(1)
	v := e.view(e.coordinatorAt(ls.url))
	v.wait(l.Seq(), "the claim")
	value := strings.Repeat("l", co.Capabilities().MaxCommitBytes-len("large"))
	ls.cut()
	var last uint64
	for range commits {
		last = e.commit(l, put("large", value))
	}
	ls.heal()
	v.wait(last, "the last commit after the cut")
	e.same(v, co, "the watch that was cut off")
	if _, _, deltas, resyncs := v.state(); resyncs == 0 && len(deltas) < commits {
		e.Errorf("told were %d deltas, want %d", len(deltas), commits)
	}
}

// testServerSwitch: a watch that is driven from one server to the next, again and again, while commits go on, never goes back and loses nothing.
func testServerSwitch(e *env) {
	const laps = 3
	ls := e.links()
	co, _, l := e.leader(1)
	v := e.view(e.coordinatorAt(ls.url))
	v.wait(l.Seq(), "the claim")
	stop := e.hammer(l)
	for lap := range laps {
		for i := range ls.all {
			for j, other := range ls.all { // one server only, another each time
				if i != j {
					other.Cut()
				}
			}
			v.wait(e.status(co).Seq, fmt.Sprintf("lap %d, server %d: what is new", lap, i))
			ls.heal()
		}
	}
	last := stop()
	v.wait(last, "the last commit")
	e.same(v, co, "the watch")
}

// testLaggard: a server that was stopped and missed commits shows nothing older than what was told before when a watch is driven to it as it wakes, and
// a watch that begins there begins with what is.
func testLaggard(e *env) {
	if e.h.PauseLeader == nil {
		e.Skip("the harness cannot stop a member")
	}
	ls := e.links()
	co, _, l := e.leader(1)
	v := e.view(e.coordinatorAt(ls.url))
	v.wait(l.Seq(), "the claim")
	restore := once(e.h.PauseLeader(e))
	e.Cleanup(restore) // for the tests that come after, also when this one ends here
	var last uint64
	e.eventually(time.Minute, "a commit without the service's leader", func() error {
		seq, err := l.Commit(e.ctx, []coordination.Mutation{put("missed", "1")})
		last = seq
		return err
	})
	for i := range 20 {
		last = e.commit(l, put("missed", fmt.Sprint(i)))
	}
	_, s := e.process()
	reg := e.register(s, 2)
	v.wait(last, "what the stopped server missed")
	stop := e.hammer(l)
	var woken sync.WaitGroup
	woken.Go(restore)
	defer woken.Wait()
	for i := range ls.all {
		for j, other := range ls.all {
			if i != j {
				other.Cut()
			}
		}
		v.wait(e.status(co).Seq, fmt.Sprintf("what is new, by server %d", i))
		fresh := e.coordinatorAt(ls.url)
		if got := e.snapshot(fresh); got.Seq < last {
			e.Errorf("a watch begun at server %d begins at %d, want %d at least", i, got.Seq, last)
		}
		if got := e.present(fresh); !contains(got, reg) {
			e.Errorf("registrations told first by server %d are %v, want revision %d among them", i, got, reg.Revision)
		}
		ls.heal()
	}
	woken.Wait()
	last = stop()
	v.wait(last, "the last commit")
	e.same(v, co, "the watch")
}

func contains(list []coordination.Registered, want coordination.Registered) bool {
	for _, r := range list {
		if r.ID == want.ID && r.Revision == want.Revision {
			return true
		}
	}
	return false
}

// testDeadStream: an established stream that dies without a word is noticed; the watch goes on at another server, and is told alive there.
func testDeadStream(e *env) {
	ls := e.links()
	co, _, l := e.leader(1)
	v := e.view(e.coordinatorAt(ls.url))
	v.wait(l.Seq(), "the claim")
	for i, dead := range ls.all {
		dead.Set(link.BlackHole)
		began := time.Now()
		seq := e.commit(l, put("n", fmt.Sprint(i)))
		e.eventually(noticed, fmt.Sprintf("a commit while server %d is silent is watched", i), func() error {
			if at, _, _, _ := v.state(); at < seq {
				return fmt.Errorf("the watch is at %d, want %d", at, seq)
			}
			return nil
		})
		e.Logf("server %d silent: told after %v", i, time.Since(began).Round(time.Millisecond))
		before := v.alive()
		e.eventually(noticed, "alive is told", func() error {
			if v.alive() == before {
				return errors.New("it is not")
			}
			return nil
		})
		dead.Heal()
	}
	e.same(v, co, "the watch")
}

// testRegistrationSets: while brokers come and go and one follower's links are cut, each set that a follower is told is complete and never older than the one
// before; the newest is told in time.
func testRegistrationSets(e *env) {
	const brokers, lives = 3, 4
	cut := func() {}
	url := e.h.URL
	if e.h.Via != nil {
		ls := e.links()
		url = ls.url
		turn := 0
		cut = func() { ls.all[turn%len(ls.all)].Reset(); turn++ }
	}
	followers := []*registrations{e.registrations(e.coordinator()), e.registrations(e.coordinatorAt(url))}
	var wg sync.WaitGroup
	for id := range int32(brokers) {
		co := e.coordinator()
		wg.Go(func() {
			for life := range lives {
				s := e.session(co, coordination.SessionOptions{})
				if _, err := s.Bootstrap(e.ctx); err != nil {
					e.Errorf("Bootstrap() = %v", err)
					return
				}
				r, err := s.Register(e.ctx, registration(id))
				if err != nil {
					e.Errorf("Register(%d) = %v", id, err)
					return
				}
				for _, f := range followers {
					if err := f.reaches(id, r.Revision); err != nil {
						e.Errorf("life %d of broker %d: %v", life, id, err)
					}
				}
				if life == lives-1 {
					return // stays
				}
				if err := s.Close(e.ctx); err != nil {
					e.Errorf("Close() = %v", err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for end := false; !end; {
		select {
		case <-done:
			end = true
		case <-time.After(50 * time.Millisecond):
			cut()
		}
	}
	for i, f := range followers {
		for id := range int32(brokers) {
			f.waitPresent(id)
		}
		f.verify(fmt.Sprintf("follower %d", i))
	}
}

// reaches waits until the broker's present revision is told. It may be called from any goroutine.
func (r *registrations) reaches(id int32, revision uint64) error {
	for deadline := time.Now().Add(patience); r.revision(id) != revision; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("revision %d is not told within %v; the newest is %d", revision, patience, r.revision(id))
		}
	}
	return nil
}

// setOrder judges a set by those before it: a revision is never older than one that was told, and one that was told to be gone does not come back.
type setOrder struct {
	newest map[int32]uint64 // told ever
	now    map[int32]uint64
	faults []error
}

func (o *setOrder) add(set map[int32]uint64) {
	if o.newest == nil {
		o.newest = map[int32]uint64{}
	}
	for id, revision := range set {
		switch newest := o.newest[id]; {
		case revision < newest:
			o.faults = append(o.faults, fmt.Errorf("broker %d has revision %d after %d: a stale set", id, revision, newest))
		case revision == newest && o.now[id] != revision:
			o.faults = append(o.faults, fmt.Errorf("broker %d is there with revision %d again, after it was gone: a stale set", id, revision))
		}
		o.newest[id] = max(o.newest[id], revision)
	}
	o.now = set
}

func (r *registrations) verify(who string) {
	r.e.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, err := range r.mu.order.faults {
		r.e.Errorf("%s: %v", who, err)
	}
}
