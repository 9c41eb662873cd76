package coordtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/chain"
	"github.com/regency-project/regency/coordination/faulty"
)

// wired is a registered process between whose chain and whose store requests and answers are lost or late, on orders.
func (e *env) wired(id int32) (coordination.Session, *faulty.Store) {
	e.Helper()
	co, faults := e.wiredCoordinator()
	s := e.session(co, coordination.SessionOptions{})
	if _, err := s.Bootstrap(e.ctx); err != nil {
		e.Fatalf("Bootstrap() = %v", err)
	}
	e.register(s, id)
	return s, faults
}

func (e *env) wiredCoordinator() (coordination.Coordinator, *faulty.Store) {
	e.Helper()
	if e.h.OpenStore == nil {
		e.Skip("the harness opens no store")
	}
	store, err := e.h.OpenStore(e.ctx, e.h.URL, e.logger)
	if err != nil {
		e.Fatalf("OpenStore(%s) = %v", e.h.URL, err)
	}
	faults := faulty.Wrap(store)
	co := chain.New(faults, chain.Options{Logger: e.logger})
	e.Cleanup(func() {
		if err := co.Close(); err != nil {
			e.Errorf("Coordinator.Close() = %v", err)
		}
	})
	return co, faults
}

func (e *env) usurp(s coordination.Session, epoch int32) coordination.Leadership {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	l, err := s.Usurp(ctx, epoch)
	if err != nil {
		e.Fatalf("Usurp(%d) = %v", epoch, err)
	}
	return l
}

// fenced: the leader's next commit is refused for good.
func (e *env) fenced(l coordination.Leadership, who string) {
	e.Helper()
	if _, err := l.Commit(e.ctx, []coordination.Mutation{put("zombie", who)}); !errors.Is(err, coordination.ErrFenced) || errors.Is(err, coordination.ErrOutcomeUnknown) {
		e.Errorf("Commit() of %s = %v, want ErrFenced and no doubt", who, err)
	}
}

// testLateCommit: a commit that left its leader before the takeover and arrives after it is refused by the service and changes nothing, also after its successor's
// own commits, when the numbers fit again.
func testLateCommit(e *env) {
	s, faults := e.wired(1)
	l := e.campaign(s)
	before := e.commit(l, put("k", "old"))
	faults.Next(faulty.Delay)
	ctx, cancel := context.WithCancel(e.ctx)
	faults.BeforeNext(cancel) // it is on the wire, and its sender waits no longer
	if _, err := l.Commit(ctx, []coordination.Mutation{put("k", "late"), put("late", "1")}); !errors.Is(err, coordination.ErrOutcomeUnknown) {
		e.Fatalf("Commit() whose answer never came = %v, want ErrOutcomeUnknown", err)
	}
	co, rival := e.process()
	e.register(rival, 2)
	next := e.usurp(rival, l.Epoch())
	if next.Seq() != before+1 {
		e.Errorf("claim of the successor = %d, want %d", next.Seq(), before+1)
	}
	seq := e.commit(next, put("k", "new"))
	for _, err := range faults.Release() {
		if !errors.Is(err, coordination.ErrConflict) {
			e.Errorf("the late commit = %v, want a conflict", err)
		}
	}
	e.fenced(l, "the leader whose commit was late")
	e.wantRecords(co, seq, map[string]string{"k": "new"})
}

// testLostClaim: a claim whose answer is lost, or which is applied late, makes one term and one only, whether by campaign or by usurpation.
func testLostClaim(e *env) {
	holder, _ := e.wired(1)
	s, faults := e.wired(2)
	l := e.campaign(holder)
	epoch, seq := l.Epoch(), l.Seq()
	for _, fate := range []faulty.Fate{faulty.LoseAfter, faulty.LoseBefore, faulty.Delay} {
		faults.Next(fate)
		l = e.usurp(s, epoch)
		faults.Release()
		if l.Epoch() != epoch+1 || l.Seq() != seq+1 {
			e.Errorf("usurpation with fate %d = epoch %d, seq %d, want %d and %d", fate, l.Epoch(), l.Seq(), epoch+1, seq+1)
		}
		e.resign(l)
		faults.Next(fate)
		l = e.campaign(s)
		faults.Release()
		if l.Epoch() != epoch+2 || l.Seq() != seq+2 {
			e.Errorf("campaign with fate %d = epoch %d, seq %d, want %d and %d", fate, l.Epoch(), l.Seq(), epoch+2, seq+2)
		}
		epoch, seq = l.Epoch(), e.commit(l, put("k", fmt.Sprint(fate)))
		if seq != l.Seq()+1 {
			e.Errorf("first commit = %d after a claim at %d, want the next", seq, l.Seq())
		}
	}
	// A claim that its sender gave up, applied when another leads already.
	faults.Next(faulty.Delay)
	ctx, cancel := context.WithCancel(e.ctx)
	faults.BeforeNext(cancel)
	if _, err := s.Usurp(ctx, epoch); err == nil {
		e.Fatalf("Usurp() whose answer never came succeeded")
	}
	last := e.usurp(holder, epoch)
	for _, err := range faults.Release() {
		if !errors.Is(err, coordination.ErrConflict) {
			e.Errorf("the late claim = %v, want a conflict", err)
		}
	}
	if got := e.commit(last, put("k", "last")); got != last.Seq()+1 || last.Epoch() != epoch+1 {
		e.Errorf("commit of epoch %d = %d, want epoch %d and %d", last.Epoch(), got, epoch+1, last.Seq()+1)
	}
}

// counter is a leader that counts in a record, some hundred times a second, each value made from the one before. It does leave pauses: a claim
// is a compare-and-set on what each commit changes, and one that takes longer than every pause is starved.
type counter struct {
	l     coordination.Leadership
	acked int
	err   error
	done  chan struct{}
}

func (e *env) count(l coordination.Leadership, from int) *counter {
	c := &counter{l: l, acked: from, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for c.err == nil {
			if _, c.err = e.commitOnce(l, put("counter", strconv.Itoa(c.acked+1))); c.err == nil {
				c.acked++
			}
			time.Sleep(time.Duration(rand.ExpFloat64() * float64(10*time.Millisecond)))
		}
	}()
	return c
}

// testUsurpHealthy: a healthy leader that is usurped between its commits, or in the middle of one, loses none that it was told of, and its successor finds each of them.
func testUsurpHealthy(e *env) {
	co, old, l := e.leader(1)
	v := e.view(co)
	_, rival := e.process()
	e.register(rival, 2)
	counted := 0
	for range 3 {
		c := e.count(l, counted)
		v.wait(l.Seq()+10, "ten counts")
		next := e.usurp(rival, l.Epoch())
		e.closed(c.done, patience, "the usurped leader's loop")
		if !errors.Is(c.err, coordination.ErrFenced) || errors.Is(c.err, coordination.ErrOutcomeUnknown) {
			e.Errorf("Commit() of the usurped leader = %v, want ErrFenced and no doubt", c.err)
		}
		if got := next.Seq() - l.Seq() - 1; got < uint64(c.acked-counted) { // more: a lost request was settled by a no-op
			e.Errorf("%d commits between the claims, the leader was told of %d", got, c.acked-counted)
		}
		v.wait(next.Seq(), "the successor's claim")
		counted = c.acked
		if _, records, _, _ := v.state(); string(records["counter"]) != strconv.Itoa(counted) {
			e.Errorf("counter after the claim = %q, want %d", records["counter"], counted)
		}
		l, old, rival = next, rival, old
	}
	v.verify()
}

// testUsurpRace: of several that usurp one epoch at once, one leads, the others are told that the epoch is over, and the epochs have no hole.
func testUsurpRace(e *env) {
	const rivals, rounds = 4, 4
	co, s, l := e.leader(1)
	candidates := []coordination.Session{s}
	for id := range int32(rivals - 1) {
		_, s := e.process()
		e.register(s, id+2)
		candidates = append(candidates, s)
	}
	for range rounds {
		var wg sync.WaitGroup
		results := make([]coordination.Leadership, rivals)
		for i, s := range candidates {
			wg.Go(func() {
				won, err := s.Usurp(e.ctx, l.Epoch())
				switch {
				case err == nil:
					results[i] = won
				case !errors.Is(err, coordination.ErrConflict):
					e.Errorf("Usurp(%d) of a loser = %v, want ErrConflict", l.Epoch(), err)
				}
			})
		}
		wg.Wait()
		var winner coordination.Leadership
		for _, won := range results {
			if won == nil {
				continue
			}
			if winner != nil {
				e.Fatalf("two usurped epoch %d: they lead %d and %d", l.Epoch(), winner.Epoch(), won.Epoch())
			}
			winner = won
		}
		if winner == nil {
			e.Fatalf("nobody usurped epoch %d", l.Epoch())
		}
		if winner.Epoch() != l.Epoch()+1 || winner.Seq() != l.Seq()+1 {
			e.Fatalf("epoch %d, seq %d after %d and %d, want one more", winner.Epoch(), winner.Seq(), l.Epoch(), l.Seq())
		}
		e.fenced(l, "the usurped")
		l = winner
	}
	if st := e.status(co); st.Epoch != l.Epoch() || st.Seq != l.Seq() {
		e.Errorf("Status() = %+v, want epoch %d, seq %d", st, l.Epoch(), l.Seq())
	}
}

// testResigned: when Resign has returned, no commit of the term applies any more, and those that were under way have a clear result.
func testResigned(e *env) {
	co, _, l := e.leader(1)
	v := e.view(co)
	c := e.count(l, 0)
	v.wait(l.Seq()+10, "ten counts")
	e.resign(l)
	st := e.status(co)
	e.closed(c.done, patience, "the resigned leader's loop")
	unknown := errors.Is(c.err, coordination.ErrOutcomeUnknown)
	if !errors.Is(c.err, coordination.ErrFenced) && !unknown {
		e.Errorf("Commit() around Resign = %v, want ErrFenced or ErrOutcomeUnknown", c.err)
	}
	// The last one was cut off, perhaps: it is there if nobody can tell, or in its place the no-op that settled it.
	if got := st.Seq - l.Seq(); got < uint64(c.acked) || got > uint64(c.acked)+1 {
		e.Errorf("%d commits when Resign returned, the leader was told of %d (%v)", got, c.acked, c.err)
	}
	if got := string(e.snapshot(co).Records["counter"]); got != strconv.Itoa(c.acked) && !(unknown && got == strconv.Itoa(c.acked+1)) {
		e.Errorf("counter when Resign returned = %s, the leader was told of %d (%v)", got, c.acked, c.err)
	}
	e.fenced(l, "the resigned")
	if after := e.status(co); after != st {
		e.Errorf("Status() = %+v after a resigned leader's commit, was %+v", after, st)
	}
	e.resign(l) // again: no harm
}

// testWaiterLost: who loses the session while it campaigns is told so and never leads; the next in line does.
func testWaiterLost(e *env) {
	_, _, l := e.leader(1)
	sick, healthy := e.coordinatorAt(e.own), make(chan struct{})
	s := e.session(sick, coordination.SessionOptions{Healthy: func() error {
		select {
		case <-healthy:
			return errors.New("ill on orders")
		default:
			return nil
		}
	}})
	e.register(s, 2)
	_, third := e.process()
	e.register(third, 3)
	type result struct {
		l   coordination.Leadership
		err error
	}
	wait := func(s coordination.Session) <-chan result {
		c := make(chan result, 1)
		go func() { l, err := s.Campaign(e.ctx); c <- result{l, err} }()
		return c
	}
	lost := wait(s)
	close(healthy)
	select {
	case r := <-lost:
		if !errors.Is(r.err, coordination.ErrSessionLost) {
			e.Fatalf("Campaign() of a session that ended = %v, want ErrSessionLost", r.err)
		}
	case <-time.After(e.bound(s.Timeout()) + slack + patience):
		e.Fatalf("Campaign() outlived its session")
	}
	won := wait(third)
	e.commit(l, put("k", "1")) // the leader was not disturbed
	e.resign(l)
	select {
	case r := <-won:
		if r.err != nil || r.l.Epoch() != l.Epoch()+1 {
			e.Errorf("Campaign() of the next in line = %v, %v, want epoch %d", r.l, r.err, l.Epoch()+1)
		}
	case <-time.After(patience):
		e.Errorf("nobody leads %v after the resignation", patience)
	}
	if _, err := s.Campaign(e.ctx); !errors.Is(err, coordination.ErrSessionLost) {
		e.Errorf("Campaign() on a lost session = %v, want ErrSessionLost", err)
	}
}
