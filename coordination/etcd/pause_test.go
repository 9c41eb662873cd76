package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/profile"
)

// TestPausedMember: with any one member stopped, sessions whose client preferred it keep their lease for many TTLs, watches go on, and
// commits succeed. A stopped member is worse than a dead one: it accepts requests and stays silent.
func TestPausedMember(t *testing.T) {
	e := ensembletest.Start(t, profile.Etcd, profile.Tuned)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	endpoints := e.Endpoints()
	for victim := range endpoints {
		t.Run(fmt.Sprintf("member %d", victim+1), func(t *testing.T) {
			// The client asks the members in the order given, so this one prefers the victim.
			order := append(append([]string(nil), endpoints[victim:]...), endpoints[:victim]...)
			u, err := profile.CoordinationURL(e.Profile(), order, fmt.Sprintf("paused-%d", victim))
			if err != nil {
				t.Fatal(err)
			}
			co, err := open(ctx, u, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer co.Close()
			s, err := co.OpenSession(ctx, coordination.SessionOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Bootstrap(ctx); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Register(ctx, coordination.Registration{ID: 1, DirectoryUUID: "d"}); err != nil {
				t.Fatal(err)
			}
			l, err := s.Campaign(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wctx, stop := context.WithCancel(ctx)
			defer func() { stop(); wg.Wait() }()
			var seen atomic.Uint64
			wg.Go(func() {
				_ = co.Watch(wctx, func(ev coordination.Event) { seen.Store(ev.Seq) })
			})
			// The first commit of a term lists the records, which a service between two leaders cannot.
			if _, err := l.Commit(ctx, []coordination.Mutation{{Key: "k"}}); err != nil {
				t.Fatal(err)
			}
			if err := e.PauseMember(victim); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := errors.Join(e.ResumeMember(victim), e.WaitReady(ctx)); err != nil {
					t.Error(err)
				}
			}()
			paused := time.Now()
			var slowest time.Duration
			var last uint64
			for n := 0; time.Since(paused) < 5*s.Timeout(); n++ {
				began := time.Now()
				seq, err := l.Commit(ctx, []coordination.Mutation{{Key: "k", Value: fmt.Append(nil, n)}})
				switch {
				case err == nil:
					last = seq
				case errors.Is(err, coordination.ErrUnavailable) && !errors.Is(err, coordination.ErrOutcomeUnknown):
					// The paused member led: until a new leader is elected nothing is provable, and the session was suspect.
				default:
					t.Fatalf("Commit() %v after the pause = %v", time.Since(paused), err)
				}
				slowest = max(slowest, time.Since(began))
			}
			t.Logf("slowest commit %v", slowest.Round(time.Millisecond))
			if slowest > 4*s.Timeout() { // a client that stays with the paused member commits nothing at all
				t.Errorf("slowest commit with one member paused took %v, want at most %v", slowest, 4*s.Timeout())
			}
			for deadline := time.Now().Add(20 * time.Second); seen.Load() < last; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("the watch is at %d, want %d", seen.Load(), last)
				}
			}
			if err := s.Err(); err != nil {
				t.Errorf("session with one member paused for %v ended: %v", time.Since(paused), err)
			}
			if err := s.Close(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}
