package coordtest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/regency-project/regency/coordination"
)

func testCampaignNeedsRegistration(e *env) {
	_, s := e.process()
	if _, err := s.Campaign(e.ctx); !errors.Is(err, coordination.ErrNotRegistered) {
		e.Errorf("Campaign() before Register = %v, want ErrNotRegistered", err)
	}
}

func testOneWinner(e *env) {
	const candidates = 4
	type won struct {
		id int32
		l  coordination.Leadership
	}
	wins := make(chan won, candidates)
	ctx, cancel := context.WithCancel(e.ctx)
	var wg sync.WaitGroup
	defer func() { cancel(); wg.Wait() }()
	var co coordination.Coordinator
	for id := range int32(candidates) {
		var s coordination.Session
		co, s = e.process()
		e.register(s, id)
		wg.Go(func() {
			if l, err := s.Campaign(ctx); err == nil {
				wins <- won{id, l}
			} else if ctx.Err() == nil {
				e.Errorf("Campaign() of %d = %v", id, err)
			}
		})
	}
	next := func(what string) won {
		select {
		case w := <-wins:
			return w
		case <-time.After(patience):
			e.Fatalf("%s: no winner within %v", what, patience)
			return won{}
		}
	}
	first := next("first election")
	if st := e.status(co); st.Epoch != first.l.Epoch() || st.Holder != first.id || st.Seq != first.l.Seq() {
		e.Errorf("Status() = %+v, want epoch %d, seq %d, holder %d", st, first.l.Epoch(), first.l.Seq(), first.id)
	}
	e.commit(first.l, put("a", "1"))
	// Nobody else while the winner leads: a claim would be a commit.
	if len(wins) != 0 {
		e.Fatalf("two winners of one election")
	}
	e.resign(first.l)
	e.closed(first.l.Done(), slack, "Done of a resigned leadership")
	second := next("election after resignation")
	if second.id == first.id || second.l.Epoch() != first.l.Epoch()+1 {
		e.Errorf("second winner is %d with epoch %d, want another than %d with epoch %d", second.id, second.l.Epoch(), first.id, first.l.Epoch()+1)
	}
	if _, err := first.l.Commit(e.ctx, []coordination.Mutation{put("a", "2")}); err == nil {
		e.Errorf("Commit() after Resign succeeded")
	}
}

// testEpochs: terms end by resignation, by the session's close, by a crash and by usurpation; each next epoch is one more, and the chain has no hole.
func testEpochs(e *env) {
	co := e.coordinator()
	v := e.view(co)
	_, s := e.process()
	v.wait(0, "the bootstrap")
	e.register(s, 1)
	l := e.campaign(s)
	wantEpoch := int32(1)
	check := func(how string) {
		if l.Epoch() != wantEpoch {
			e.Fatalf("epoch after %s = %d, want %d", how, l.Epoch(), wantEpoch)
		}
		if seq := e.commit(l, put("term", how)); seq != l.Seq()+1 {
			e.Errorf("first commit of epoch %d = %d, want %d", l.Epoch(), seq, l.Seq()+1)
		}
		wantEpoch++
	}
	check("bootstrap")
	for range 2 {
		e.resign(l)
		l = e.campaign(s)
		check("resign")

		if err := s.Close(e.ctx); err != nil {
			e.Fatalf("Close() = %v", err)
		}
		_, s, l = e.leader(1)
		check("close")

		_, rival := e.process()
		e.register(rival, 2)
		usurped, err := rival.Usurp(e.ctx, l.Epoch())
		if err != nil {
			e.Fatalf("Usurp(%d) = %v", l.Epoch(), err)
		}
		if err := s.Close(e.ctx); err != nil {
			e.Fatalf("Close() of the usurped leader = %v", err)
		}
		s, l = rival, usurped
		check("usurp")

		e.resign(l)
		if err := s.Close(e.ctx); err != nil {
			e.Fatalf("Close() = %v", err)
		}
		if co.Capabilities().CrossProcess {
			c := e.child()
			c.register(3)
			if got := c.campaign(); got != wantEpoch {
				e.Fatalf("epoch of the child = %d, want %d", got, wantEpoch)
			}
			wantEpoch++
			c.kill()
		}
		_, s, l = e.leader(1)
		check("crash")
	}
	v.wait(e.status(co).Seq, "the whole history")
	v.verify()
	if epochs := v.epochs(); len(epochs) != int(l.Epoch()) {
		e.Errorf("the watch saw epochs %v, want 1 to %d without a hole", epochs, l.Epoch())
	}
}

func testUsurp(e *env) {
	co, old, l := e.leader(1)
	before := e.commit(l, put("k", "old"))
	_, s := e.process()
	e.register(s, 2)
	if _, err := s.Usurp(e.ctx, l.Epoch()-1); !errors.Is(err, coordination.ErrConflict) {
		e.Errorf("Usurp() of an epoch that is over = %v, want ErrConflict", err)
	}
	next, err := s.Usurp(e.ctx, l.Epoch())
	if err != nil {
		e.Fatalf("Usurp(%d) = %v", l.Epoch(), err)
	}
	if next.Epoch() != l.Epoch()+1 || next.Seq() != before+1 {
		e.Errorf("Usurp() = epoch %d, seq %d, want %d and %d", next.Epoch(), next.Seq(), l.Epoch()+1, before+1)
	}
	if _, err := l.Commit(e.ctx, []coordination.Mutation{put("k", "zombie")}); !errors.Is(err, coordination.ErrFenced) {
		e.Errorf("Commit() of the usurped leader = %v, want ErrFenced", err)
	}
	e.closed(l.Done(), patience, "Done of the usurped leadership")
	if !errors.Is(l.Err(), coordination.ErrFenced) {
		e.Errorf("Err() of the usurped leadership = %v, want ErrFenced", l.Err())
	}
	if got := old.State(); got != coordination.Valid {
		e.Errorf("State() of the usurped leader's session = %v, want valid: it is still a member", got)
	}
	e.commit(next, put("k", "new"))
	if got := e.snapshot(co).Records["k"]; string(got) != "new" {
		e.Errorf("k = %q, want %q", got, "new")
	}
	// Nobody needs to wait for the loser: its controller key was replaced.
	e.resign(next)
	if again := e.campaign(old); again.Epoch() != next.Epoch()+1 {
		e.Errorf("epoch of the next campaign = %d, want %d", again.Epoch(), next.Epoch()+1)
	}
}
