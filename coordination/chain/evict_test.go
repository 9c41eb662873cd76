package chain_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/faulty"
	"github.com/regency-project/regency/coordination/memory"
)

// registered is the node's registration as others see it.
func (n *node) registered(t *testing.T, id int32) coordination.Registered {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var found coordination.Registered
	_ = n.WatchRegistrations(ctx, func(rs []coordination.Registered) {
		for _, r := range rs {
			if r.ID == id {
				found = r
			}
		}
		cancel()
	})
	if found.Revision == 0 {
		t.Fatalf("broker %d is not registered", id)
	}
	return found
}

// campaign campaigns in the background.
func (n *node) campaign(t *testing.T) <-chan coordination.Leadership {
	won := make(chan coordination.Leadership, 1)
	go func() {
		if l, err := n.session.Campaign(t.Context()); err == nil {
			won <- l
		}
	}()
	return won
}

func await[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: not within 10 s", what)
		panic("unreachable")
	}
}

// The sessions last an hour: nobody waits for one.
func TestEvictionOfTheControllerMakesTheNext(t *testing.T) {
	server := memory.NewServer(time.Hour)
	victim, other := open(t, server, 1), open(t, server, 2)
	l := victim.lead(t)
	won := other.campaign(t)
	if err := other.session.Evict(t.Context(), other.registered(t, 1)); err != nil {
		t.Fatalf("Evict = %v", err)
	}
	if next := await(t, won, "the next term"); next.Epoch() != l.Epoch()+1 {
		t.Errorf("epoch %d after %d, want one more", next.Epoch(), l.Epoch())
	}
	await(t, l.Done(), "the end of the evicted term")
	await(t, victim.session.Done(), "the end of the evicted session")
	if _, err := l.Commit(t.Context(), set("a", "zombie")); !errors.Is(err, coordination.ErrFenced) && !errors.Is(err, coordination.ErrSessionLost) {
		t.Errorf("Commit of the evicted leader = %v, want fenced or session lost", err)
	}
}

func TestEvictionLeavesAnotherController(t *testing.T) {
	server := memory.NewServer(time.Hour)
	leader, other := open(t, server, 1), open(t, server, 2)
	l := leader.lead(t)
	if err := leader.session.Evict(t.Context(), leader.registered(t, 2)); err != nil {
		t.Fatalf("Evict = %v", err)
	}
	await(t, other.session.Done(), "the end of the evicted session")
	if _, err := l.Commit(t.Context(), set("a", "1")); err != nil {
		t.Errorf("Commit of the controller that evicted another broker = %v", err)
	}
}

// The victim's last act, a claim, falls between the eviction's read and its transaction.
func TestEvictionRacesWithTheVictimsClaim(t *testing.T) {
	server := memory.NewServer(time.Hour)
	victim, other := open(t, server, 1), open(t, server, 2)
	var l coordination.Leadership
	other.faults.BeforeNext(func() { l = victim.lead(t) })
	if err := other.session.Evict(t.Context(), other.registered(t, 1)); err != nil {
		t.Fatalf("Evict = %v", err)
	}
	if next := await(t, other.campaign(t), "the next term"); next.Epoch() != l.Epoch()+1 {
		t.Errorf("epoch %d after %d, want one more", next.Epoch(), l.Epoch())
	}
}

// A claim that was sent before the eviction and arrives after it must not lead: nobody could evict it any more.
func TestLateClaimOfAnEvictedBrokerIsRefused(t *testing.T) {
	server := memory.NewServer(time.Hour)
	victim, other := open(t, server, 1), open(t, server, 2)
	victim.faults.Next(faulty.Delay, faulty.LoseBefore, faulty.LoseBefore, faulty.LoseBefore)
	_ = victim.campaign(t)
	deadline := time.Now().Add(10 * time.Second)
	for victim.faults.Delayed() == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the claim was not sent")
		}
		time.Sleep(time.Millisecond)
	}
	if err := other.session.Evict(t.Context(), other.registered(t, 1)); err != nil {
		t.Fatalf("Evict = %v", err)
	}
	for _, err := range victim.faults.Release() {
		if !errors.Is(err, coordination.ErrConflict) {
			t.Errorf("late claim = %v, want a conflict", err)
		}
	}
	if next := await(t, other.campaign(t), "the next term"); next.Epoch() != 1 {
		t.Errorf("epoch %d, want the first: the late claim was refused", next.Epoch())
	}
}
