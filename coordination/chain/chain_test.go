package chain_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/chain"
	"github.com/regency-project/regency/coordination/faulty"
	"github.com/regency-project/regency/coordination/memory"
)

// node is one process of a test: a coordinator with a fault decorator, and a registered session.
type node struct {
	*chain.Coordinator
	faults  *faulty.Store
	session coordination.Session
}

func open(t *testing.T, s *memory.Server, id int32) *node {
	t.Helper()
	f := faulty.Wrap(s.Store())
	n := &node{Coordinator: chain.New(f, chain.Options{}), faults: f}
	t.Cleanup(func() { n.Close() })
	session, err := n.OpenSession(t.Context(), coordination.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n.session = session
	if _, err := session.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Register(t.Context(), coordination.Registration{ID: id, DirectoryUUID: fmt.Sprint("dir-", id)}); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) lead(t *testing.T) coordination.Leadership {
	t.Helper()
	l, err := n.session.Campaign(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func set(key, value string) []coordination.Mutation {
	return []coordination.Mutation{{Key: key, Value: []byte(value)}}
}

// snapshot returns the state and sequence number that a new watch starts from.
func (n *node) snapshot(t *testing.T) (map[string][]byte, uint64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got coordination.Event
	n.Watch(ctx, func(e coordination.Event) {
		if e.Kind == coordination.Snapshot {
			got = e
			cancel()
		}
	})
	return got.Records, got.Seq
}

func TestCommitWithALostAnswerIsExactlyOnce(t *testing.T) {
	for _, fates := range [][]faulty.Fate{
		{faulty.LoseAfter},
		{faulty.LoseBefore},
		{faulty.LoseBefore, faulty.LoseAfter},
		{faulty.LoseBefore, faulty.LoseBefore, faulty.LoseAfter, faulty.LoseAfter},
		{faulty.Delay},
		{faulty.Delay, faulty.Delay},
		{faulty.Delay, faulty.LoseAfter},
	} {
		t.Run(fmt.Sprint(fates), func(t *testing.T) {
			n := open(t, memory.NewServer(time.Minute), 1)
			l := n.lead(t)
			n.faults.Next(fates...)
			seq, err := l.Commit(t.Context(), set("a", "1"))
			if err != nil {
				t.Fatalf("Commit = %v, want success", err)
			}
			for _, err := range n.faults.Release() {
				if !errors.Is(err, coordination.ErrConflict) {
					t.Errorf("late original = %v, want a conflict", err)
				}
			}
			next, err := l.Commit(t.Context(), set("b", "2"))
			if err != nil || next != seq+1 {
				t.Fatalf("next Commit = %d, %v, want %d", next, err, seq+1)
			}
			records, at := n.snapshot(t)
			if at != next || string(records["a"]) != "1" || string(records["b"]) != "2" {
				t.Errorf("snapshot at %d = %q, want a=1 b=2 at %d", at, records, next)
			}
		})
	}
}

func TestCommitIsUnknownWhileTheServiceIsSilentAndSettledByTheNext(t *testing.T) {
	server := memory.NewServer(time.Minute)
	n := open(t, server, 1)
	l := n.lead(t)
	if _, err := l.Commit(t.Context(), set("first", "0")); err != nil { // a term's first commit reads which records exist
		t.Fatal(err)
	}
	n.faults.Next(faulty.Delay)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	server.SetDown(true) // the commit leaves (and is delayed), but no read can settle it
	if _, err := l.Commit(ctx, set("a", "1")); !errors.Is(err, coordination.ErrOutcomeUnknown) || errors.Is(err, coordination.ErrUnavailable) {
		t.Fatalf("Commit = %v, want ErrOutcomeUnknown, and not that it was not applied", err)
	}
	server.SetDown(false)
	for _, err := range n.faults.Release() { // the original arrives after all
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Commit(t.Context(), set("b", "2")); err != nil {
		t.Fatal(err)
	}
	records, seq := n.snapshot(t)
	if string(records["a"]) != "1" || string(records["b"]) != "2" || seq != l.Seq()+3 {
		t.Errorf("snapshot at %d = %q, want a=1 b=2 at %d", seq, records, l.Seq()+3)
	}
}

func TestClaimWithALostAnswerLeadsOnce(t *testing.T) {
	for _, fate := range []faulty.Fate{faulty.LoseBefore, faulty.LoseAfter, faulty.Delay} {
		t.Run(fmt.Sprint(fate), func(t *testing.T) {
			n := open(t, memory.NewServer(time.Minute), 1)
			n.faults.Next(fate)
			l := n.lead(t)
			n.faults.Release()
			if l.Epoch() != 1 || l.Seq() != 1 {
				t.Errorf("epoch %d, seq %d, want 1 and 1", l.Epoch(), l.Seq())
			}
			if _, err := l.Commit(t.Context(), set("a", "1")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestUsurpedLeaderIsFencedAndItsLateCommitAppliesNothing(t *testing.T) {
	server := memory.NewServer(time.Minute)
	a, b := open(t, server, 1), open(t, server, 2)
	old := a.lead(t)
	if _, err := old.Commit(t.Context(), set("k", "old")); err != nil {
		t.Fatal(err)
	}
	a.faults.Next(faulty.Delay)
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the answer never comes: the commit is on the wire
	go func() { _, err := old.Commit(ctx, set("k", "zombie")); done <- err }()
	if err := <-done; !errors.Is(err, coordination.ErrOutcomeUnknown) {
		t.Fatalf("Commit = %v, want ErrOutcomeUnknown", err)
	}
	l, err := b.session.Usurp(t.Context(), old.Epoch())
	if err != nil {
		t.Fatal(err)
	}
	if l.Epoch() != old.Epoch()+1 {
		t.Errorf("epoch %d, want %d", l.Epoch(), old.Epoch()+1)
	}
	if _, err := b.session.Usurp(t.Context(), old.Epoch()); !errors.Is(err, coordination.ErrConflict) {
		t.Errorf("second Usurp = %v, want ErrConflict", err)
	}
	for _, err := range a.faults.Release() {
		if !errors.Is(err, coordination.ErrConflict) {
			t.Errorf("late commit = %v, want a conflict", err)
		}
	}
	<-old.Done()
	if err := old.Err(); !errors.Is(err, coordination.ErrFenced) {
		t.Errorf("Err = %v, want ErrFenced", err)
	}
	if _, err := old.Commit(t.Context(), set("k", "zombie")); !errors.Is(err, coordination.ErrFenced) {
		t.Errorf("Commit of the deposed = %v, want ErrFenced", err)
	}
	if records, _ := b.snapshot(t); string(records["k"]) != "old" {
		t.Errorf("k = %q, want old", records["k"])
	}
}

func TestUsurpSucceedsWhileTheHolderCommits(t *testing.T) {
	server := memory.NewServer(time.Minute)
	a, b := open(t, server, 1), open(t, server, 2)
	old := a.lead(t)
	b.faults.BeforeNext(func() {
		if _, err := old.Commit(t.Context(), set("k", "v")); err != nil {
			t.Error(err)
		}
	})
	if _, err := b.session.Usurp(t.Context(), old.Epoch()); err != nil {
		t.Fatalf("Usurp = %v, want success: the epoch was not over", err)
	}
	if records, _ := b.snapshot(t); string(records["k"]) != "v" {
		t.Errorf("k = %q, want v", records["k"])
	}
}

func TestLostRegisterAnswerLeavesOneRegistration(t *testing.T) {
	for _, fate := range []faulty.Fate{faulty.LoseBefore, faulty.LoseAfter, faulty.Delay} {
		t.Run(fmt.Sprint(fate), func(t *testing.T) {
			server := memory.NewServer(time.Minute)
			f := faulty.Wrap(server.Store())
			c := chain.New(f, chain.Options{})
			defer c.Close()
			s, err := c.OpenSession(t.Context(), coordination.SessionOptions{})
			if err != nil {
				t.Fatal(err)
			}
			f.Next(fate)
			reg, err := s.Register(t.Context(), coordination.Registration{ID: 7, DirectoryUUID: "d"})
			if err != nil {
				t.Fatal(err)
			}
			f.Release()
			ctx, cancel := context.WithCancel(t.Context())
			c.WatchRegistrations(ctx, func(rs []coordination.Registered) {
				if len(rs) != 1 || rs[0].Incarnation != reg.Incarnation || rs[0].Revision != reg.Revision {
					t.Errorf("registrations %+v, want only %+v", rs, reg)
				}
				cancel()
			})
			if s.State() == coordination.Lost {
				t.Errorf("session lost: %v", s.Err())
			}
		})
	}
}

func TestFirstCommitThatCannotLearnTheRecordsIsNotApplied(t *testing.T) {
	n := open(t, memory.NewServer(time.Minute), 1)
	if err := n.lead(t).Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	told, ended := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(ended)
		n.Watch(ctx, func(coordination.Event) { // a receiver that takes its time: the watch does not reach the claim
			select {
			case <-told:
			default:
				close(told)
			}
			<-ctx.Done()
		})
	}()
	<-told
	l := n.lead(t)
	short, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	if _, err := l.Commit(short, set("a", "1")); !errors.Is(err, coordination.ErrUnavailable) || errors.Is(err, coordination.ErrOutcomeUnknown) {
		t.Errorf("Commit = %v, want ErrUnavailable", err)
	}
	cancel()
	<-ended
	if seq, err := l.Commit(t.Context(), set("a", "1")); err != nil || seq != l.Seq()+1 {
		t.Errorf("next Commit = %d, %v, want %d", seq, err, l.Seq()+1)
	}
}

// TestClaimOnOutdatedKnowledge: a claim is sent on what the own watch saw last. What comes between is not lost, and no number is given twice.
func TestClaimOnOutdatedKnowledge(t *testing.T) {
	server := memory.NewServer(time.Minute)
	a, b := open(t, server, 1), open(t, server, 2)
	la := a.lead(t)
	loaded := make(chan struct{}, 1)
	go b.Watch(t.Context(), func(e coordination.Event) { // it learns nothing more: the receiver does not return
		loaded <- struct{}{}
		<-t.Context().Done()
	})
	<-loaded
	var last uint64
	b.faults.BeforeNext(func() {
		seq, err := la.Commit(t.Context(), set("between", "1"))
		if err != nil {
			t.Error(err)
		}
		last = seq
		if err := la.Resign(t.Context()); err != nil {
			t.Error(err)
		}
	})
	lb := b.lead(t)
	if lb.Epoch() != 2 || lb.Seq() != last+1 {
		t.Errorf("epoch %d, seq %d, want 2 and %d, the one after the commit in between", lb.Epoch(), lb.Seq(), last+1)
	}
}
