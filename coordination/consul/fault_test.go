package consul_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/profile"
)

// keep renews s until the test ends, and reports its loss.
func keep(ctx context.Context, t *testing.T, s backend.Session) {
	t.Helper()
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			if _, err := s.Renew(ctx); errors.Is(err, coordination.ErrSessionLost) {
				t.Errorf("Renew() = %v", err)
				return
			}
			time.Sleep(s.Timeout() / 5)
		}
	})
	t.Cleanup(func() { stop(); running.Wait() })
}

// TestFrozenMembers freezes one server after the other: the session must survive each, and writes must go on.
func TestFrozenMembers(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real ensemble")
	}
	e := ensembletest.Start(t, profile.Consul, profile.Matched)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	store := newStore(t, ensembletest.URL(t, e, "frozen"))
	defer store.Close()
	s, err := store.OpenSession(ctx)
	if err != nil {
		t.Fatal(err)
	}
	keep(ctx, t, s)
	made, err := s.Txn(ctx, nil, []backend.Op{{Kind: backend.CreateEphemeral, Key: "controller", Value: []byte("me")}, {Kind: backend.Create, Key: "chain"}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range e.Members() {
		if err := e.PauseMember(i); err != nil {
			t.Fatal(err)
		}
		frozen := time.Now()
		for { // past the time in which the session would have ended had it stayed with the frozen server
			_, err := s.Txn(ctx, nil, []backend.Op{{Kind: backend.Set, Key: "chain"}})
			if errors.Is(err, coordination.ErrSessionLost) || ctx.Err() != nil {
				t.Fatalf("with server %d frozen for %v: Txn() = %v", i, time.Since(frozen), err)
			}
			if err == nil && time.Since(frozen) > 3*s.Timeout() {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if err := e.ResumeMember(i); err != nil {
			t.Fatal(err)
		}
		if err := e.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
	}
	got, err := store.Get(ctx, "controller")
	for err != nil && ctx.Err() == nil {
		got, err = store.Get(ctx, "controller")
	}
	if err != nil || got.Version != made[0] {
		t.Errorf("Get(controller) = version %d, %v, want %d", got.Version, err, made[0])
	}
}

// TestSessionOutlivesTheAgentsNode deregisters the nodes of all agents, as autopilot and operators do to dead ones: it ends the sessions that are bound
// to them, but not ours.
func TestSessionOutlivesTheAgentsNode(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real ensemble")
	}
	e := ensembletest.Start(t, profile.Consul, profile.Matched)
	store := newStore(t, ensembletest.URL(t, e, "nodes/a"))
	defer store.Close()
	s, err := store.OpenSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	keep(t.Context(), t, s)
	if _, err := s.Txn(t.Context(), nil, []backend.Op{{Kind: backend.CreateEphemeral, Key: "controller"}}); err != nil {
		t.Fatal(err)
	}
	base := "http://" + e.Endpoints()[0]
	var nodes []struct{ Node string }
	fetch(t, http.MethodGet, base+"/v1/catalog/nodes", nil, &nodes)
	var victim struct{ ID string } // the default binding, for comparison
	fetch(t, http.MethodPut, base+"/v1/session/create", map[string]any{"NodeChecks": []string{}}, &victim)
	removed := 0
	for _, n := range nodes {
		if strings.HasPrefix(n.Node, "regency-") {
			continue
		}
		removed++
		fetch(t, http.MethodPut, base+"/v1/catalog/deregister", map[string]any{"Node": n.Node}, nil)
	}
	if removed != len(e.Members()) {
		t.Errorf("%d agents' nodes found, want %d", removed, len(e.Members()))
	}
	var info []any
	fetch(t, http.MethodGet, base+"/v1/session/info/"+victim.ID+"?consistent", nil, &info)
	if len(info) != 0 {
		t.Error("the session bound to an agent's node survived: the test removes nothing that matters")
	}
	if got, err := store.Get(t.Context(), "controller"); err != nil || got.Version == 0 {
		t.Errorf("Get(controller) = version %d, %v, want it kept", got.Version, err)
	}
}

func fetch(t *testing.T, method, url string, in, out any) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s = %s", method, url, resp.Status)
	}
	if out != nil {
		if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
			t.Fatal(fmt.Errorf("%s %s: %w", method, url, err))
		}
	}
}

// TestLockDelay: while the service keeps what a lost session held, taking it is a matter of waiting, not a conflict.
func TestLockDelay(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real ensemble")
	}
	e := ensembletest.Start(t, profile.Consul, profile.Matched)
	raw := ensembletest.URL(t, e, "delay")
	raw = strings.Replace(raw, "lock-delay=1ns", "lock-delay=2s", 1)
	if !strings.Contains(raw, "lock-delay=2s") {
		t.Fatalf("no lock-delay in %s", raw)
	}
	store := newStore(t, raw)
	defer store.Close()
	take := []backend.Op{{Kind: backend.CreateEphemeral, Key: "controller"}}
	for try := range 2 {
		s, err := store.OpenSession(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		keep(t.Context(), t, s)
		refused := 0
		_, err = s.Txn(t.Context(), []backend.Guard{{Key: "controller"}}, take)
		for err != nil && t.Context().Err() == nil {
			if !errors.Is(err, coordination.ErrUnavailable) {
				t.Fatalf("Txn() during the lock-delay = %v, want ErrUnavailable", err)
			}
			refused++
			time.Sleep(20 * time.Millisecond)
			_, err = s.Txn(t.Context(), []backend.Guard{{Key: "controller"}}, take)
		}
		if try == 1 {
			if refused == 0 {
				t.Error("no lock-delay was seen")
			}
			break
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTTLBelowTheMinimum is refused at once, and says what to change.
func TestTTLBelowTheMinimum(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real ensemble")
	}
	e := ensembletest.Start(t, profile.Consul, profile.Default)
	store := newStore(t, fmt.Sprintf("consul://%s/short?session=1s", strings.Join(e.Endpoints(), ",")))
	defer store.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := store.OpenSession(ctx); err == nil || !strings.Contains(err.Error(), "session_ttl_min") || ctx.Err() != nil {
		t.Errorf("OpenSession() = %v, want a prompt error that names session_ttl_min", err)
	}
}
