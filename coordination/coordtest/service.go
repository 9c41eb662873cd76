package coordtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

// soak says whether the long runs are wanted (make soak).
func soak() bool { return os.Getenv("REGENCY_SOAK") == "1" }

// member is one process of a cluster while its service is disturbed.
type member struct {
	co coordination.Coordinator
	s  coordination.Session
	r  coordination.Registered
}

func (e *env) members(n int) []member {
	e.Helper()
	var all []member
	for id := range int32(n) {
		co, s := e.process()
		all = append(all, member{co: co, s: s, r: e.register(s, id)})
	}
	return all
}

// kept: no session was lost, each is valid again, and every registration is the one that was made.
func (e *env) kept(all []member, after string) {
	e.Helper()
	for i, m := range all {
		e.eventually(patience, fmt.Sprintf("session %d is valid after %s", i, after), func() error {
			state := m.s.State()
			if state == coordination.Lost {
				e.judge(m.s.Timeout(), "session %d after %s: %v", i, after, m.s.Err())
			}
			if state != coordination.Valid {
				return errors.New(state.String())
			}
			return nil
		})
	}
	revisions := map[int32]uint64{}
	for _, r := range e.present(all[0].co) {
		revisions[r.ID] = r.Revision
	}
	for _, m := range all {
		if revisions[m.r.ID] != m.r.Revision {
			e.Errorf("registration of %d has revision %d after %s, was made with %d", m.r.ID, revisions[m.r.ID], after, m.r.Revision)
		}
	}
}

// stall is how late this process was scheduled at worst since the test began.
type stall struct{ worst atomic.Int64 }

func (e *env) measureStall() *stall {
	s := &stall{}
	ctx, cancel := context.WithCancel(e.ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		const every = 10 * time.Millisecond
		for last := time.Now(); ctx.Err() == nil; {
			time.Sleep(every)
			now := time.Now()
			s.worst.Store(max(s.worst.Load(), int64(now.Sub(last)-every)))
			last = now
		}
	})
	e.Cleanup(func() { cancel(); wg.Wait() })
	return s
}

// judge fails the test for a lost session, unless the machine was so busy that nobody could have renewed it in time.
func (e *env) judge(timeout time.Duration, format string, args ...any) {
	e.Helper()
	if worst := time.Duration(e.stall.worst.Load()); worst > timeout/10 {
		e.Skipf("the machine is too busy to judge a session of %v, this process stood still for %v: "+format, append([]any{timeout, worst}, args...)...)
	}
	e.Fatalf(format, args...)
}

// testServiceLeaderDies: the service's own leader is killed and stopped again and again. No session is lost by it, commits go on with no number missing, and a process that
// dies in the same moment is found dead within the bound, counted from the service's recovery.
func testServiceLeaderDies(e *env) {
	if e.h.KillLeader == nil || e.h.PauseLeader == nil {
		e.Skip("the service has no leader of its own")
	}
	e.stall = e.measureStall()
	all := e.members(6)
	v := e.view(all[1].co)
	seen := e.registrations(all[2].co)
	l := e.campaign(all[0].s)
	rounds := 2
	if soak() {
		rounds = 12
	}
	for _, fault := range []struct {
		name  string
		f     func(testing.TB) func()
		wakes bool
	}{{"killed", e.h.KillLeader, false}, {"stopped", e.h.PauseLeader, true}} {
		for round := range rounds {
			what := fmt.Sprintf("the service's leader was %s, round %d", fault.name, round+1)
			var victim *child
			const id = 100
			if round == 0 && all[0].co.Capabilities().CrossProcess {
				victim = e.child()
				victim.register(id)
				seen.waitPresent(id)
			}
			began := time.Now()
			restore := once(fault.f(e.TB))
			e.Cleanup(restore) // for the tests that come after, also when this one ends here
			if victim != nil {
				victim.kill()
			}
			seq := e.commitEventually(l, all[0].s.Timeout(), put("round", what))
			recovered := time.Since(began)
			if victim != nil {
				seen.waitAbsent(id, e.bound(all[0].s.Timeout())+slack)
			}
			e.Logf("%s: a commit after %v, the dead process gone after %v", what, recovered.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
			e.kept(all, what)
			restore()
			if fault.wakes && all[0].co.Capabilities().WakingServerEndsSessions && e.someLost(all) {
				e.Logf("the server that woke ended sessions, as its capabilities say")
				v.verify()
				return
			}
			e.kept(all, what+", and brought back")
			v.wait(seq, "the commit while "+what)
		}
	}
	v.verify()
	if l.Err() != nil {
		e.Errorf("leadership after the service lost its leader %d times = %v", 2*rounds, l.Err())
	}
}

// once calls f the first time only. f may end the test, after which sync.OnceFunc would panic.
func once(f func()) func() {
	var o sync.Once
	return func() { o.Do(f) }
}

// someLost gives the news the time of a session to arrive.
func (e *env) someLost(all []member) bool {
	select {
	case <-all[0].s.Done():
	case <-time.After(all[0].s.Timeout()):
	}
	return slices.ContainsFunc(all, func(m member) bool { return m.s.State() == coordination.Lost })
}

// commitEventually commits while the service may be without a leader.
func (e *env) commitEventually(l coordination.Leadership, timeout time.Duration, m coordination.Mutation) (seq uint64) {
	e.Helper()
	e.eventually(patience, "a commit", func() (err error) {
		ctx, cancel := context.WithTimeout(e.ctx, patience)
		defer cancel()
		seq, err = l.Commit(ctx, []coordination.Mutation{m})
		if errors.Is(err, coordination.ErrFenced) || errors.Is(err, coordination.ErrSessionLost) {
			e.judge(timeout, "Commit() = %v", err)
		}
		return err
	})
	return seq
}

// testServiceRestart: all of the service's members die at once and come back on their disks: what was agreed is there, sessions live on, and epochs grow from where they
// were. Later they die again and come back on a backup of those disks: who saw more than the backup holds says so and stops.
func testServiceRestart(e *env) {
	if e.h.Restart == nil {
		e.Skip("the service cannot be restarted")
	}
	e.stall = e.measureStall()
	all := e.members(3)
	watching := *e
	var stopWatching context.CancelFunc
	watching.ctx, stopWatching = context.WithCancel(e.ctx)
	v := watching.view(all[1].co)
	l := e.campaign(all[0].s)
	want := e.commit(l, put("before", "1"))
	before := e.status(all[0].co)

	var backup backup
	e.h.Restart(e.TB, backup.take(e))

	e.kept(all, "the restart")
	if st := e.status(e.coordinator()); st.Lineage != before.Lineage || st.Epoch != before.Epoch || st.Seq != want {
		e.Errorf("Status() after the restart = %+v, want %+v", st, before)
	}
	if seq := e.commitEventually(l, all[0].s.Timeout(), put("after", "1")); seq <= want {
		e.Errorf("Commit() after the restart = %d, was at %d before", seq, want)
	}
	e.resign(l)
	next := e.campaign(all[1].s)
	if next.Epoch() != l.Epoch()+1 {
		e.Errorf("epoch of the next leader = %d, want %d", next.Epoch(), l.Epoch()+1)
	}
	last := e.commit(next, put("next", "1"))
	v.wait(last, "the next leader's commit")
	v.verify()
	if got := e.snapshot(e.coordinator()).Records; len(got) != 3 {
		e.Errorf("records after the restart = %q, want before, after and next", got)
	}
	stopWatching()
	e.status(all[2].co)
	ended := make(chan error, 1)
	seen := make(chan struct{})
	go func() {
		ended <- all[2].co.Watch(e.ctx, func(ev coordination.Event) {
			if ev.Kind == coordination.Snapshot {
				close(seen)
			}
		})
	}()
	e.closed(seen, patience, "a snapshot before the restore")

	e.h.Restart(e.TB, backup.restore(e))

	if st := e.status(e.coordinator()); st.Seq != want || st.Lineage != before.Lineage {
		e.Fatalf("Status() of the restored store = %+v, want seq %d of %s as in the backup", st, want, before.Lineage)
	}
	noticed := func(what string, f func() error) {
		e.Helper()
		e.eventually(patience, what+" of a restored backup says so", func() error {
			err := f()
			if !errors.Is(err, coordination.ErrLineage) {
				return fmt.Errorf("it says %w", err)
			}
			e.wantSeqs(what, err, want, last)
			return nil
		})
	}
	noticed("Status()", func() error { _, err := all[2].co.Status(e.ctx); return err })
	noticed("Watch()", func() error { return <-ended })
	noticed("Usurp()", func() error { _, err := all[2].s.Usurp(e.ctx, next.Epoch()); return err })
	_, err := next.Commit(e.ctx, []coordination.Mutation{put("k", "v")})
	if err == nil {
		e.Errorf("Commit() of a leader whose claim is not in the restored store succeeded")
	}
	e.Logf("Commit() of a leader whose claim is not in the restored store = %v", err)
	e.closed(next.Done(), patience+e.bound(all[1].s.Timeout()), "Done of a leader whose claim is not in the restored store")
}

// wantSeqs: the error names both ends of the gap.
func (e *env) wantSeqs(what string, err error, seqs ...uint64) {
	e.Helper()
	for _, n := range seqs {
		if text := fmt.Sprintf("commit %d", n); !strings.Contains(err.Error(), text) {
			e.Errorf("%s of a store that was set back = %q, which does not name %q", what, err, text)
		}
	}
}

// backup is a copy of all members' disks, taken while none runs.
type backup struct{ copies []string }

func (b *backup) take(e *env) func(dirs []string) {
	root, err := os.MkdirTemp("", "coordtest-backup")
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { _ = os.RemoveAll(root) })
	return func(dirs []string) {
		for i, dir := range dirs {
			b.copies = append(b.copies, filepath.Join(root, fmt.Sprint(i)))
			if err := os.CopyFS(b.copies[i], os.DirFS(dir)); err != nil {
				e.Fatalf("back up %s: %v", dir, err)
			}
		}
	}
}

func (b *backup) restore(e *env) func(dirs []string) {
	return func(dirs []string) {
		for i, dir := range dirs {
			if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(b.copies[i]))); err != nil {
				e.Fatalf("restore %s: %v", dir, err)
			}
		}
	}
}

// testSetBack: the store is set back to an older state of the same lineage, as a restored backup does. Whoever saw more says so, with both numbers, and stops; who saw
// nothing cannot know (a broker's data directory does).
func testSetBack(e *env) {
	o := e.operator()
	for _, idle := range []bool{false, true} {
		_, s, l := e.leader(1)
		old := e.commit(l, put("k", "old"))
		backup := o.get("chain")
		seq := e.commit(l, put("k", "new"))

		watching := e.coordinator()
		told, ended := make(chan struct{}, 1), make(chan error, 1)
		go func() {
			ended <- watching.Watch(e.ctx, func(ev coordination.Event) {
				if ev.Seq >= seq {
					select {
					case told <- struct{}{}:
					default:
					}
				}
			})
		}()
		e.closedOrTold(told)
		reading := e.coordinator()
		e.status(reading)

		if !o.write(o.get("chain"), backend.Op{Kind: backend.Set, Key: "chain", Value: backup.Value}) {
			e.Fatalf("the chain changed under the operator")
		}
		setBack := func(what string, err error) {
			e.Helper()
			if !errors.Is(err, coordination.ErrLineage) {
				e.Errorf("%s of a store that was set back = %v, want ErrLineage", what, err)
				return
			}
			e.wantSeqs(what, err, old, seq)
		}
		_, err := reading.Status(e.ctx)
		setBack("Status()", err)
		select {
		case err := <-ended:
			setBack("Watch()", err)
		case <-time.After(patience):
			e.Errorf("Watch() of a store that was set back goes on")
		}
		if idle { // a leader that commits nothing finds out as well
			e.closed(l.Done(), patience, "Done of the leader of a store that was set back")
			setBack("Leadership.Err()", l.Err())
		}
		_, err = l.Commit(e.ctx, []coordination.Mutation{put("k", "newer")})
		setBack("Commit()", err)
		e.closed(l.Done(), patience, "Done of the leader of a store that was set back")
		_, err = s.Usurp(e.ctx, l.Epoch())
		setBack("Usurp()", err)
		if err := s.Close(e.ctx); err != nil {
			e.Errorf("Session.Close() = %v", err)
		}
		if st := e.status(e.coordinator()); st.Seq != old {
			e.Errorf("Status() of a process that saw nothing = %+v, want seq %d: nobody wrote", st, old)
		}
	}
}
