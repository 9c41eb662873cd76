package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/etcd"
	"github.com/regency-project/regency/coordination/link"
	"github.com/regency-project/regency/coordination/profile"
)

func trapStore(t *testing.T, cfg etcd.Config) *etcd.Store {
	t.Helper()
	s, err := etcd.NewStore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestRenewalPassesDeadEndpoints: of three endpoints the one in use goes silent, without closing anything, and the next one hangs in connect. A lease of 2 s must
// not be lost over them: each try has a limit of its own, and a member that failed is not asked first again.
func TestRenewalPassesDeadEndpoints(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real member")
	}
	e := ensembletest.StartOne(t, profile.Etcd, profile.Tuned, profile.Security{})
	first, second := listen(t, e.Endpoints()[0]), listen(t, e.Endpoints()[0])
	s := trapStore(t, etcd.Config{
		Hosts: []string{first.Addr(), second.Addr(), e.Endpoints()[0]}, Prefix: "dead", Session: 2 * time.Second, Request: 200 * time.Millisecond,
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ses, err := s.OpenSession(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ses.Renew(ctx); err != nil {
		t.Fatal(err)
	}
	first.Set(link.BlackHole)
	second.Set(link.Rule{Unreachable: true})
	for began := time.Now(); time.Since(began) < 3*ses.Timeout(); time.Sleep(ses.Timeout() / 4) {
		asked := time.Now()
		deadline, err := ses.Renew(ctx)
		if err != nil {
			t.Fatalf("Renew() %v after the start = %v", time.Since(began), err)
		}
		if took := time.Since(asked); took > ses.Timeout()/2 {
			t.Errorf("Renew() took %v", took)
		}
		if left := time.Until(deadline); left < ses.Timeout()/2 {
			t.Errorf("Renew() leaves %v of %v", left, ses.Timeout())
		}
	}
	if err := ses.Close(ctx); err != nil {
		t.Error(err)
	}
}

func listen(t *testing.T, target string) *link.Link {
	t.Helper()
	l, err := link.Listen(target, link.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// TestGrantedTimeoutIsTold: the service lengthens a lease below 1.5 election timeouts, silently; what was granted is what counts.
func TestGrantedTimeoutIsTold(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real member")
	}
	e := ensembletest.StartOne(t, profile.Etcd, profile.Default, profile.Security{})
	want := e.Profile().Etcd.MinTTL()
	s := trapStore(t, etcd.Config{Hosts: e.Endpoints(), Prefix: "granted", Session: time.Second})
	ses, err := s.OpenSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ses.Close(t.Context())
	if ses.Timeout() != want || want == time.Second {
		t.Errorf("Timeout() = %v after asking for 1s, want %v", ses.Timeout(), want)
	}
	sent := time.Now()
	deadline, err := ses.Renew(t.Context())
	if err != nil || deadline.Sub(sent) <= time.Second || deadline.Sub(sent) > want {
		t.Errorf("Renew() is good for %v, %v, want nearly %v", deadline.Sub(sent), err, want)
	}
}

// TestOperatorRevokes: a lease that somebody revokes is a session that is lost, and its owner learns of it by its next renewal, not by the timeout.
func TestOperatorRevokes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real member")
	}
	e := ensembletest.StartOne(t, profile.Etcd, profile.Tuned, profile.Security{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	co, err := open(ctx, "etcd://"+e.Endpoints()[0]+"/revoked?session=60s&renew=100ms", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer co.Close()
	s, err := co.OpenSession(ctx, coordination.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var lease clientv3.LeaseID
	if _, err := fmt.Sscanf(s.ID(), "%x", &lease); err != nil {
		t.Fatal(err)
	}
	if _, err := rawClient(t, e.Endpoints(), nil).Revoke(ctx, lease); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the session does not know of the revocation")
	}
	if err := s.Err(); !errors.Is(err, coordination.ErrSessionLost) || s.State() != coordination.Lost {
		t.Errorf("Err() = %v in state %v, want ErrSessionLost", err, s.State())
	}
}

// TestMinorityIsLeft: a member without a leader answers a client for ever: its streams stay open, and progress is reported. Every request of ours requires a
// leader, so a watch on such a member ends, and says why.
func TestMinorityIsLeft(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real ensemble")
	}
	e := ensembletest.Start(t, profile.Etcd, profile.Tuned)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	leader, err := e.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// A follower that will be the only one left.
	last := (leader + 1) % 3
	s := trapStore(t, etcd.Config{Hosts: e.Endpoints()[last : last+1], Prefix: "minority", Session: 10 * time.Second, Request: 5 * time.Second})
	live := make(chan struct{}, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- s.Watch(ctx, "chain", func(backend.Entry) {
			select {
			case live <- struct{}{}:
			default:
			}
		})
	}()
	<-live
	for i := range e.Members() {
		if i != last {
			if err := e.KillMember(i); err != nil {
				t.Fatal(err)
			}
		}
	}
	select {
	case err := <-ended:
		if !errors.Is(err, coordination.ErrUnavailable) || !strings.Contains(err.Error(), "no leader") {
			t.Errorf("Watch() on a member without a leader = %v, want ErrUnavailable that says so", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the watch on a member without a leader is live")
	}
	cancel()
}
