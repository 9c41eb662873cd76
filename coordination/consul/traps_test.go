package consul_test

import (
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/ensemble"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/profile"
)

// TestTwiceTheTTL: the service ends a session two TTLs after its last renewal, not one. What we take for proven is one; what the profile's formula tells is two.
func TestTwiceTheTTL(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real server")
	}
	e := ensembletest.StartOne(t, profile.Consul, profile.Tuned, profile.Security{})
	store := newStore(t, ensembletest.URL(t, e, "twice"))
	defer store.Close()
	s := held(t, store)
	ttl, bound := s.Timeout(), e.Profile().Detection().Upper
	before := time.Now()
	deadline, err := s.Renew(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if proven := deadline.Sub(before); proven > ttl || proven < ttl/2 {
		t.Errorf("Renew() proves %v of a TTL of %v, want most of it and no more", proven, ttl)
	}
	took := awaitGone(t, store, before, bound+slack)
	t.Logf("gone %v after the last renewal, by formula %v", took.Round(time.Millisecond), bound)
	if took < 2*ttl {
		t.Errorf("gone %v after the last renewal with a TTL of %v: is it not twice the TTL any more?", took, ttl)
	}
}

// TestTTLSessionOutlivesItsAgent: a session with a TTL is bound to no agent. The one through which it was made dies, gossip finds it dead, and the session goes on
// through the servers.
func TestTTLSessionOutlivesItsAgent(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real ensemble")
	}
	// The gossip settings of this profile find a dead agent in half a second.
	e := ensembletest.StartWith(t, ensemble.Options{Backend: profile.Consul, Profile: profile.TunedCheck, Members: 1, Agents: 1})
	hosts := append([]string{e.Agents()[0].Endpoint}, e.Endpoints()...)
	store := newStore(t, "consul://"+strings.Join(hosts, ",")+"/outlives?session=2s")
	defer store.Close()
	bound := held(t, newStore(t, withCheck(ensembletest.URL(t, e, "bound"), time.Minute))) // for comparison
	s := held(t, store)
	keep(t.Context(), t, s)
	if err := e.KillAgent(0); err != nil {
		t.Fatal(err)
	}
	witness := newStore(t, "consul://"+strings.Join(e.Endpoints(), ",")+"/bound?session=2s")
	defer witness.Close()
	awaitGone(t, witness, time.Now(), 30*time.Second)
	_ = bound.Close(t.Context())
	if _, err := s.Txn(t.Context(), nil, []backend.Op{{Kind: backend.Create, Key: "chain"}}); err != nil {
		t.Errorf("Txn() after the agent's death = %v", err)
	}
	if got, err := store.Get(t.Context(), "controller"); err != nil || got.Version == 0 {
		t.Errorf("Get(controller) = version %d, %v, want it kept", got.Version, err)
	}
}
