package coordtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/regency-project/regency/coordination"
)

// ledger is what a watch told of each commit, for counting.
type ledger struct {
	e  *env
	mu struct {
		sync.Mutex
		first, last uint64
		times       map[string][]uint64 // value → the commits that set it
	}
}

// ledger follows the commits for the rest of the test. Values must be unique among all that the test writes.
func (e *env) ledger(co coordination.Coordinator) *ledger {
	b := &ledger{e: e}
	b.mu.times = map[string][]uint64{}
	ctx, cancel := context.WithCancel(e.ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := co.Watch(ctx, b.event); ctx.Err() == nil {
			e.Errorf("Watch() ended: %v", err)
		}
	})
	e.Cleanup(func() { cancel(); wg.Wait() })
	b.wait(0)
	return b
}

func (b *ledger) event(ev coordination.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch ev.Kind {
	case coordination.Snapshot:
		if b.mu.first != 0 {
			b.e.Errorf("a second snapshot, at %d: the test has more commits than it can count", ev.Seq)
		}
		b.mu.first, b.mu.last = ev.Seq+1, ev.Seq
	case coordination.Delta:
		if ev.Seq != b.mu.last+1 {
			b.e.Errorf("commit %d is told after %d, want dense numbers", ev.Seq, b.mu.last)
		}
		b.mu.last = ev.Seq
		for _, m := range ev.Mutations {
			b.mu.times[string(m.Value)] = append(b.mu.times[string(m.Value)], ev.Seq)
		}
	}
}

func (b *ledger) wait(seq uint64) {
	b.e.Helper()
	b.e.eventually(patience, fmt.Sprintf("commit %d is told", seq), func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.mu.first == 0 || b.mu.last < seq {
			return fmt.Errorf("the watch is at %d", b.mu.last)
		}
		return nil
	})
}

func (b *ledger) commits(value string) []uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.times[value]
}

// attempt is one Commit of a unique value and what its caller was told.
type attempt struct {
	value string
	seq   uint64
	err   error
}

// audit checks every attempt against the chain: acknowledged means applied once, under the number that was told; not applied means not; unknown at most once.
func (b *ledger) audit(head uint64, attempts []attempt) {
	b.e.Helper()
	b.wait(head)
	for _, a := range attempts {
		got := b.commits(a.value)
		switch {
		case len(got) > 1:
			b.e.Errorf("%s was committed %d times: %v", a.value, len(got), got)
		case a.err == nil && (len(got) != 1 || got[0] != a.seq):
			b.e.Errorf("Commit(%s) = %d, but the chain has it at %v", a.value, a.seq, got)
		case len(got) == 1 && a.err != nil && !errors.Is(a.err, coordination.ErrOutcomeUnknown):
			b.e.Errorf("Commit(%s) = %v, but it was applied as %d", a.value, a.err, got[0])
		}
	}
}

// try commits a unique value under the key.
func (e *env) try(l coordination.Leadership, key string) attempt {
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	a := attempt{value: key + "=" + uuid.NewString()}
	a.seq, a.err = l.Commit(ctx, []coordination.Mutation{put(key, a.value)})
	return a
}

// spring commits under the key until the trap has seen it: what finds no connection, or a session that is Suspect, is refused before it is sent.
func (e *env) spring(l coordination.Leadership, key string, t *trap) (attempts []attempt) {
	e.Helper()
	for deadline := time.Now().Add(patience); ; {
		a := e.try(l, key)
		attempts = append(attempts, a)
		if a.err != nil {
			e.Logf("Commit(%s) = %v", key, a.err)
		}
		if errors.Is(a.err, coordination.ErrFenced) || errors.Is(a.err, coordination.ErrSessionLost) {
			e.Fatalf("Commit(%s) = %v, but nobody else leads", key, a.err)
		}
		select {
		case <-t.sprung:
			return attempts
		default:
		}
		if a.err == nil || time.Now().After(deadline) {
			e.Fatalf("Commit(%s) = %d, %v, but no request passed the links", key, a.seq, a.err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// testCutCommits: whatever becomes of the connection before, during or after a commit, and whenever the service hears of it, its caller is told the truth, and
// it is applied exactly once if it was acknowledged.
func testCutCommits(e *env) {
	ls, _, s := e.linked()
	observer := e.coordinator()
	e.register(s, 1)
	l := e.campaign(s)
	b := e.ledger(observer)
	var attempts []attempt
	for _, how := range []treatment{cutBefore, torn, cutDuring, unanswered, late} {
		for round := range 2 {
			key := fmt.Sprintf("%s/%d", how, round)
			t := ls.trap(key+"=", how)
			attempts = append(attempts, e.spring(l, key, t)...)
			if how == late {
				t.release()
			}
			ls.heal()
		}
	}
	b.audit(e.settled(l), attempts)
}

// settled makes sure that nothing of the leadership is pending, and returns the number of its newest commit.
func (e *env) settled(l coordination.Leadership) uint64 {
	e.Helper()
	return e.insistCommit(l)
}

// insistCommit commits in spite of answers that are lost and of moments in which the session is Suspect; it may do so more than once.
func (e *env) insistCommit(l coordination.Leadership, m ...coordination.Mutation) (seq uint64) {
	e.Helper()
	err := e.insist(func(ctx context.Context) (err error) {
		seq, err = l.Commit(ctx, m)
		return err
	})
	if err != nil {
		e.Fatalf("Commit(%d mutations) = %v", len(m), err)
	}
	return seq
}

// testLateOriginal: a commit that was held up on its way is settled on another, and overwritten; then it arrives. It changes nothing.
func testLateOriginal(e *env) {
	ls, _, s := e.linked()
	observer := e.coordinator()
	e.register(s, 1)
	l := e.campaign(s)
	b := e.ledger(observer)
	t := ls.trap("k=", late)
	attempts := e.spring(l, "k", t)
	second := e.try(l, "k")
	for second.err != nil {
		if !errors.Is(second.err, coordination.ErrUnavailable) && !errors.Is(second.err, coordination.ErrOutcomeUnknown) {
			e.Fatalf("Commit() = %v", second.err)
		}
		second = e.try(l, "k")
	}
	t.release()
	if st := e.status(observer); st.Seq != second.seq {
		e.Errorf("Status().Seq after the late arrival = %d, want %d still", st.Seq, second.seq)
	}
	if got := e.snapshot(observer).Records["k"]; string(got) != second.value {
		e.Errorf("k = %q after the late arrival, want %q", got, second.value)
	}
	ls.heal()
	b.audit(e.settled(l), append(attempts, second))
}

// testLeaderKilled: the service's own leader is killed while commits are under way. Every acknowledged commit is in the chain once, every other at
// most once, and the numbers are dense.
func testLeaderKilled(e *env) {
	if e.h.KillLeader == nil {
		e.Skip("the harness cannot kill the service's leader")
	}
	_, s := e.process()
	observer := e.coordinator()
	e.register(s, 1)
	l := e.campaign(s)
	b := e.ledger(observer)
	var mu sync.Mutex
	var attempts []attempt
	acknowledged := func() (n int) {
		mu.Lock()
		defer mu.Unlock()
		for _, a := range attempts {
			if a.err == nil {
				n++
			}
		}
		return n
	}
	ctx, stop := context.WithCancel(e.ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil && l.Err() == nil; i++ {
			// Paced, so that the watch need not skip: it counts.
			a := e.try(l, fmt.Sprintf("k%d", i%10))
			mu.Lock()
			attempts = append(attempts, a)
			mu.Unlock()
			time.Sleep(time.Millisecond)
		}
	})
	defer wg.Wait()
	defer stop()
	reach := func(n int, what string) {
		e.eventually(2*patience, what, func() error {
			if got := acknowledged(); got < n {
				return errors.Join(fmt.Errorf("%d commits acknowledged, want %d", got, n), l.Err())
			}
			return nil
		})
	}
	reach(20, "commits before")
	restore := once(e.h.KillLeader(e.TB))
	e.Cleanup(restore) // for the tests that come after, also when this one ends here
	reach(acknowledged()+20, "commits without the former leader")
	restore()
	reach(acknowledged()+20, "commits with all members back")
	stop()
	wg.Wait()
	failed := 0
	for _, a := range attempts {
		if a.err != nil {
			failed++
		}
	}
	e.Logf("%d commits, %d of them not acknowledged", len(attempts), failed)
	b.audit(e.settled(l), attempts)
}
