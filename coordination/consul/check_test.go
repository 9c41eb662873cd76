package consul_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/consul"
	"github.com/regency-project/regency/coordination/ensemble"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/profile"
)

// checkTTL is longer than the profile's: on a machine that runs other tests beside, 400 ms may pass without a renewal.
const checkTTL = 2 * time.Second

// slack is what a loaded machine may add to any bound.
const slack = 5 * time.Second

// slower is the profile with checkTTL.
func slower(p profile.Profile) profile.Profile {
	settings := *p.Consul
	settings.Check = checkTTL
	p.Consul = &settings
	return p
}

func agentStore(t *testing.T, e *ensemble.Ensemble, agent int, prefix string) backend.Store {
	t.Helper()
	u, err := e.AgentURL(agent, prefix)
	if err != nil {
		t.Fatal(err)
	}
	return newStore(t, withCheck(u, checkTTL))
}

// held opens a session that holds the key "controller".
func held(t *testing.T, store backend.Store) backend.Session {
	t.Helper()
	s, err := store.OpenSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Txn(t.Context(), []backend.Guard{{Key: "controller"}}, []backend.Op{{Kind: backend.CreateEphemeral, Key: "controller"}}); err != nil {
		t.Fatal(err)
	}
	return s
}

// renewUntil renews s as package chain does until stop says that it is enough, or the session is lost, whose error it returns.
func renewUntil(t *testing.T, s backend.Session, stop func() bool) error {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !stop(); time.Sleep(s.Timeout() / 8) {
		if _, err := s.Renew(t.Context()); errors.Is(err, coordination.ErrSessionLost) {
			return err
		}
		if time.Now().After(deadline) {
			t.Fatal("not within a minute")
		}
	}
	return nil
}

func lasts(d time.Duration) func() bool {
	began := time.Now()
	return func() bool { return time.Since(began) > d }
}

// answered repeats f until the service says what became of it: on a loaded machine any single request may be lost.
func answered(t *testing.T, f func() error) error {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		err := f()
		if !errors.Is(err, coordination.ErrUnavailable) && !errors.Is(err, coordination.ErrOutcomeUnknown) || time.Now().After(deadline) {
			return err
		}
	}
}

// awaitGone returns how long the key "controller" outlived since.
func awaitGone(t *testing.T, store backend.Store, since time.Time, bound time.Duration) time.Duration {
	t.Helper()
	for {
		got, err := store.Get(t.Context(), "controller")
		if err == nil && got.Version == 0 {
			return time.Since(since)
		}
		if time.Since(since) > bound {
			t.Fatalf("the key is there %v after the last renewal (%v), want it gone within %v", time.Since(since), err, bound)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// agentChecks are the checks at an agent, by id.
func agentChecks(t *testing.T, endpoint string) map[string]struct{ Name, Status string } {
	t.Helper()
	checks := map[string]struct{ Name, Status string }{}
	fetch(t, http.MethodGet, "http://"+endpoint+"/v1/agent/checks", nil, &checks)
	return checks
}

// TestCheck holds what is promised of sessions that a check keeps.
func TestCheck(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real ensemble")
	}
	e := ensembletest.StartWith(t, ensemble.Options{Backend: profile.Consul, Profile: profile.TunedCheck, Agents: 2})
	p := slower(e.Profile())

	t.Run("LivesByRenewalsAlone", func(t *testing.T) {
		store := agentStore(t, e, 0, "check-lives")
		defer store.Close()
		if store.Capabilities().ProvableDeadline {
			t.Error("Capabilities().ProvableDeadline = true, want false: an agent's death bounds nothing from below")
		}
		s := held(t, store)
		if s.Timeout() != p.Consul.Check {
			t.Errorf("Timeout() = %v, want %v", s.Timeout(), p.Consul.Check)
		}
		if deadline, err := s.Renew(t.Context()); err != nil || !deadline.IsZero() {
			t.Errorf("Renew() = %v, %v, want the zero time", deadline, err)
		}
		if err := renewUntil(t, s, lasts(2*s.Timeout())); err != nil {
			t.Fatalf("renewed session: %v", err)
		}
		last := time.Now()
		if _, err := s.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		took := awaitGone(t, store, last, p.Detection().Upper+slack)
		t.Logf("gone %v after the last renewal, bound %v", took.Round(time.Millisecond), p.Detection().Upper)
		if took < p.Consul.Check {
			t.Errorf("gone %v after the last renewal, before the check's %v", took, p.Consul.Check)
		}
		if err := answered(t, func() error { _, err := s.Renew(t.Context()); return err }); !errors.Is(err, coordination.ErrSessionLost) {
			t.Errorf("Renew() = %v, want ErrSessionLost", err)
		}
		// A late pass makes the check good again, and the session does not come back.
		err := answered(t, func() error {
			_, err := s.Txn(t.Context(), nil, []backend.Op{{Kind: backend.Create, Key: "late"}})
			return err
		})
		if !errors.Is(err, coordination.ErrSessionLost) {
			t.Errorf("Txn() = %v, want ErrSessionLost", err)
		}
		if err := answered(t, func() error { return s.Close(t.Context()) }); err != nil {
			t.Errorf("Close() of a session that is over = %v", err)
		}
	})

	t.Run("CloseLeavesNothing", func(t *testing.T) {
		store := agentStore(t, e, 0, "check-close")
		defer store.Close()
		s := held(t, store)
		agent := e.Agents()[0].Endpoint
		if n := len(agentChecks(t, agent)); n != 1 {
			t.Errorf("%d checks at the agent, want 1", n)
		}
		if err := answered(t, func() error { return s.Close(t.Context()) }); err != nil {
			t.Fatal(err)
		}
		if got, err := store.Get(t.Context(), "controller"); err != nil || got.Version != 0 {
			t.Errorf("Get(controller) after Close = version %d, %v, want none", got.Version, err)
		}
		if left := agentChecks(t, agent); len(left) != 0 {
			t.Errorf("checks at the agent after Close: %v", left)
		}
	})

	t.Run("SweepsWhatACrashLeft", func(t *testing.T) {
		store := agentStore(t, e, 0, "check-sweep")
		defer store.Close()
		other := agentStore(t, e, 0, "check-sweep-other")
		defer other.Close()
		kept := held(t, other) // another cluster's, critical as well
		defer kept.Close(t.Context())
		held(t, store)
		awaitGone(t, store, time.Now(), p.Detection().Upper+slack)
		awaitGone(t, other, time.Now(), p.Detection().Upper+slack)
		s := held(t, store)
		defer s.Close(t.Context())
		names := map[string]int{}
		for _, c := range agentChecks(t, e.Agents()[0].Endpoint) {
			names[c.Name]++
		}
		if names["session of regency-check-sweep"] != 1 || names["session of regency-check-sweep-other"] != 1 {
			t.Errorf("checks at the agent = %v, want one of each cluster", names)
		}
	})

	t.Run("OutageOfTheServersEndsNothing", func(t *testing.T) {
		store := agentStore(t, e, 0, "check-outage")
		defer store.Close()
		s := held(t, store)
		defer s.Close(t.Context())
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		if _, err := e.StopQuorum(ctx); err != nil {
			t.Fatal(err)
		}
		if err := renewUntil(t, s, lasts(2*s.Timeout())); err != nil {
			t.Fatalf("session without servers: %v", err)
		}
		started := make(chan error, 1)
		go func() { started <- e.StartQuorum(ctx) }()
		var err error
		lost := renewUntil(t, s, func() bool {
			select {
			case err = <-started:
				return true
			default:
				return false
			}
		})
		if lost != nil || err != nil {
			t.Fatalf("session after an outage: %v; StartQuorum() = %v", lost, err)
		}
		if lost := renewUntil(t, s, lasts(2*s.Timeout())); lost != nil {
			t.Fatalf("session after an outage: %v", lost)
		}
		if got, err := store.Get(ctx, "controller"); err != nil || got.Version == 0 {
			t.Errorf("Get(controller) = version %d, %v, want it kept", got.Version, err)
		}
	})

	// Last: it leaves an agent that was dead.
	t.Run("EndsWithItsAgent", func(t *testing.T) {
		store, witness := agentStore(t, e, 0, "check-agent"), agentStore(t, e, 1, "check-agent")
		defer store.Close()
		defer witness.Close()
		s := held(t, store)
		if err := e.KillAgent(0); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		// The check stays as it was; gossip finds the agent dead, and the servers tell the session's owner.
		if err := renewUntil(t, s, func() bool { return false }); err == nil {
			t.Fatal("the session outlived its agent")
		}
		took := awaitGone(t, witness, killed, 30*time.Second)
		t.Logf("gone %v after its agent's death", took.Round(time.Millisecond))
		if took > 2*time.Second+slack {
			t.Errorf("gone %v after its agent's death, want about 0.4s: is gossip as shipped?", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := e.RestartAgent(ctx, 0); err != nil {
			t.Fatal(err)
		}
		// The agent kept the dead session's check, with what is left of its TTL.
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			passing := 0
			for _, c := range agentChecks(t, e.Agents()[0].Endpoint) {
				if c.Status == "passing" {
					passing++
				}
			}
			if passing == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the dead session's check is passing at the agent that came back")
			}
		}
		again := held(t, store)
		if n := len(agentChecks(t, e.Agents()[0].Endpoint)); n != 1 {
			t.Errorf("%d checks at the agent that came back, want 1", n)
		}
		if err := again.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}

// TestCheckNeedsItsAgent: the first host is where the check is made; that it does not answer is no reason to make it elsewhere.
func TestCheckNeedsItsAgent(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real server")
	}
	e := ensembletest.StartWith(t, ensemble.Options{Backend: profile.Consul, Profile: profile.TunedCheck, Members: 1})
	store := newStore(t, "consul://127.0.0.1:1,"+strings.Join(e.Endpoints(), ",")+"/nobody?check=400ms")
	defer store.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := store.OpenSession(ctx); !errors.Is(err, coordination.ErrUnavailable) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("OpenSession() = %v, want ErrUnavailable naming the agent", err)
	}
}

func TestCheckOptions(t *testing.T) {
	cfg, err := config("consul://a:1,b:2/p?check=400ms&renew=100ms")
	if err != nil || cfg.Check != 400*time.Millisecond || cfg.Session != 0 {
		t.Errorf("ParseURL() = %+v, %v", cfg, err)
	}
	for raw, want := range map[string]string{
		"consul://a:1/p?check=400ms&session=2s":  "session: given beside check",
		"consul://a:1/p?check=1ms":               "check: 1ms is outside",
		"consul://a:1/p?check=400ms&renew=300ms": "renew: 300ms is more than half of check",
		"consul://a:1/p?check=-400ms":            "check=-400ms: want a positive duration",
	} {
		if _, err := config(raw); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseURL(%s) = %v, want it to say %q", raw, err, want)
		}
	}
	if _, err := consul.NewStore(consul.Config{Hosts: []string{"a:1"}, Prefix: "p", Check: -1}, nil); err == nil || !strings.Contains(err.Error(), "check: -1ns is negative") {
		t.Errorf("NewStore() = %v", err)
	}
}
