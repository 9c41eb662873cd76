package consul

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/backend/options"
)

// fake is an agent that answers what the test says.
func fake(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// deaf refuses connections.
func deaf(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String()
}

// storeAt begins with the first of the hosts.
func storeAt(t *testing.T, request time.Duration, hosts ...string) *Store {
	t.Helper()
	cfg := Config{Hosts: hosts, Prefix: "a", Session: time.Minute, Request: request}.withDefaults()
	s, err := newStore(cfg, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.agents.current.Store(0)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newSession(s *Store) *Session {
	return &Session{store: s, id: "sid", lost: make(chan struct{}), closed: make(chan struct{})}
}

func set(key string) []backend.Op { return []backend.Op{{Kind: backend.Set, Key: key}} }

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Consul-KnownLeader", "true")
		w.Header().Set("X-Consul-LastContact", "0")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// hang answers nothing until the client leaves, which the server sees only once it has read the request.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

func TestTxnErrors(t *testing.T) {
	failed := func(index int, what string) string {
		b, _ := json.Marshal(api.TxnResponse{Errors: api.TxnErrors{{OpIndex: index, What: what}}})
		return string(b)
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    error
	}{
		"no leader":      {answer(500, "No cluster leader"), coordination.ErrUnavailable},
		"leader lost":    {answer(500, "leadership lost while committing log"), coordination.ErrOutcomeUnknown},
		"bad gateway":    {answer(502, ""), coordination.ErrOutcomeUnknown},
		"rate limit":     {answer(429, "slow down"), coordination.ErrUnavailable},
		"too large":      {answer(413, "Request body too large"), coordination.ErrTooLarge},
		"forbidden":      {answer(403, "Permission denied"), coordination.ErrUnavailable},
		"garbage":        {answer(200, "{"), coordination.ErrOutcomeUnknown},
		"stale index":    {answer(409, failed(1, `failed to set key "a/chain", index is stale`)), coordination.ErrConflict},
		"lock delay":     {answer(409, failed(1, `failed to lock key "a/chain" due to lock delay`)), coordination.ErrUnavailable},
		"rights":         {answer(409, failed(1, "Permission denied")), coordination.ErrUnavailable},
		"session gone":   {answer(409, failed(0, `failed to check session "sid", key doesn't exist`)), coordination.ErrSessionLost},
		"session is not": {answer(409, failed(1, `invalid session "sid"`)), coordination.ErrSessionLost},
		"no answer":      {hang, coordination.ErrOutcomeUnknown},
	} {
		s := newSession(storeAt(t, 200*time.Millisecond, fake(t, c.handler)))
		_, err := s.Txn(t.Context(), nil, set("chain"))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: Txn() = %v, want %v", name, err, c.want)
		}
		for _, other := range []error{coordination.ErrUnavailable, coordination.ErrOutcomeUnknown, coordination.ErrConflict, coordination.ErrSessionLost, coordination.ErrTooLarge} {
			if other != c.want && errors.Is(err, other) {
				t.Errorf("%s: Txn() = %v, which is also %v", name, err, other)
			}
		}
		select {
		case <-s.Expired():
			if c.want != coordination.ErrSessionLost {
				t.Errorf("%s: the session counts as lost", name)
			}
		default:
			if c.want == coordination.ErrSessionLost {
				t.Errorf("%s: the session does not count as lost", name)
			}
		}
	}
}

// TestTxnIsSentOnce: an agent that refuses connections is passed over, one that took the request is not asked twice.
func TestTxnIsSentOnce(t *testing.T) {
	var first, second atomic.Int32
	a := fake(t, func(w http.ResponseWriter, _ *http.Request) { first.Add(1); answer(500, "boom")(w, nil) })
	b := fake(t, func(w http.ResponseWriter, _ *http.Request) { second.Add(1); answer(500, "boom")(w, nil) })
	s := newSession(storeAt(t, time.Second, deaf(t), a, b))
	if _, err := s.Txn(t.Context(), nil, set("chain")); !errors.Is(err, coordination.ErrOutcomeUnknown) {
		t.Errorf("Txn() = %v, want ErrOutcomeUnknown", err)
	}
	if first.Load() != 1 || second.Load() != 0 {
		t.Errorf("sent %d and %d times, want 1 and 0", first.Load(), second.Load())
	}
	// The agent that failed is left.
	if _, err := s.Txn(t.Context(), nil, set("chain")); err == nil || second.Load() != 1 {
		t.Errorf("the next transaction: %v, sent to the next agent %d times, want 1", err, second.Load())
	}
	nobody := newSession(storeAt(t, time.Second, deaf(t), deaf(t)))
	if _, err := nobody.Txn(t.Context(), nil, set("chain")); !errors.Is(err, coordination.ErrUnavailable) || errors.Is(err, coordination.ErrOutcomeUnknown) {
		t.Errorf("Txn() without agents = %v, want ErrUnavailable", err)
	}
}

func TestReadsTryEveryAgent(t *testing.T) {
	silent := fake(t, hang)
	good := fake(t, answer(200, `{"Results":[{"KV":{"Key":"a/chain","Value":"aGk=","ModifyIndex":7}}]}`))
	s := storeAt(t, 100*time.Millisecond, deaf(t), silent, good)
	e, err := s.Get(t.Context(), "chain")
	if err != nil || string(e.Value) != "hi" || e.Version != 7 {
		t.Errorf("Get() = %+v, %v, want hi at 7", e, err)
	}
}

// TestLossIsConfirmed: a deposed leader's 404 does not end a session that the others have.
func TestLossIsConfirmed(t *testing.T) {
	var gone atomic.Bool
	s := newSession(storeAt(t, time.Second, fake(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "/session/renew/"):
			answer(404, "")(w, r)
		case !r.URL.Query().Has("consistent"):
			t.Errorf("%s without consistent", r.URL)
		case gone.Load():
			answer(200, "[]")(w, r)
		default:
			answer(200, `[{"ID":"sid"}]`)(w, r)
		}
	})))
	if _, err := s.Renew(t.Context()); !errors.Is(err, coordination.ErrUnavailable) {
		t.Errorf("Renew() = %v, want ErrUnavailable", err)
	}
	gone.Store(true)
	if _, err := s.Renew(t.Context()); !errors.Is(err, coordination.ErrSessionLost) {
		t.Errorf("Renew() = %v, want ErrSessionLost", err)
	}
	if _, err := s.Txn(t.Context(), nil, set("chain")); !errors.Is(err, coordination.ErrSessionLost) {
		t.Errorf("Txn() = %v, want ErrSessionLost", err)
	}
}

func TestWatchNeverGoesBack(t *testing.T) {
	indexes := []string{"5", "9", "7", "11"}
	var asked atomic.Int32
	s := storeAt(t, time.Second, fake(t, func(w http.ResponseWriter, r *http.Request) {
		n := min(int(asked.Add(1))-1, len(indexes)-1)
		if (n == 0) != r.URL.Query().Has("consistent") || (n > 0) != r.URL.Query().Has("index") {
			t.Errorf("query %d is %s", n, r.URL.RawQuery)
		}
		w.Header().Set("X-Consul-Index", indexes[n])
		answer(200, fmt.Sprintf(`[{"Key":"a/chain","ModifyIndex":%s}]`, indexes[n]))(w, r)
	}))
	var got []uint64
	err := s.Watch(t.Context(), "chain", func(e backend.Entry) { got = append(got, e.Version) })
	if !errors.Is(err, errWentBack) || len(got) != 2 || got[1] != 9 {
		t.Errorf("Watch() told %v and returned %v, want 5, 9 and errWentBack", got, err)
	}
}

func TestWatchNeedsALeader(t *testing.T) {
	s := storeAt(t, time.Second, fake(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Consul-KnownLeader", "false")
		w.Header().Set("X-Consul-LastContact", "0")
		w.Header().Set("X-Consul-Index", "5")
		w.WriteHeader(404)
	}))
	if err := s.Watch(t.Context(), "chain", func(backend.Entry) { t.Error("told") }); !errors.Is(err, coordination.ErrUnavailable) {
		t.Errorf("Watch() = %v, want ErrUnavailable", err)
	}
}

// TestEnvironmentIsNotRead: the library takes a token from the environment, which is not where our configuration is.
func TestEnvironmentIsNotRead(t *testing.T) {
	t.Setenv("CONSUL_HTTP_TOKEN", "hunter2")
	t.Setenv("CONSUL_HTTP_ADDR", "203.0.113.1:1")
	t.Setenv("CONSUL_HTTP_SSL", "true")
	var seen atomic.Value
	s := storeAt(t, time.Second, fake(t, func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Header.Get("X-Consul-Token"))
		answer(200, `{"Results":[{"KV":{"Key":"a/chain"}}]}`)(w, r)
	}))
	if _, err := s.Get(t.Context(), "chain"); err != nil || seen.Load() != "" {
		t.Errorf("Get() = %v, sent token %v, want none", err, seen.Load())
	}
}

func TestClosed(t *testing.T) {
	s := storeAt(t, time.Second, fake(t, answer(500, "")))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "chain"); !errors.Is(err, coordination.ErrClosed) {
		t.Errorf("Get() after Close = %v, want ErrClosed", err)
	}
	if _, err := s.OpenSession(context.Background()); !errors.Is(err, coordination.ErrClosed) {
		t.Errorf("OpenSession() after Close = %v, want ErrClosed", err)
	}
}

// TestTLS reads from an agent that the configured CA vouches for, with a token, and not from one for which it does not.
func TestTLS(t *testing.T) {
	var seen atomic.Value
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Header.Get("X-Consul-Token"))
		answer(200, `{"Results":[{"KV":{"Key":"a/chain"}}]}`)(w, r)
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	server.StartTLS()
	defer server.Close()
	dir := t.TempDir()
	ca, token := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for file, data := range map[string][]byte{ca: block, token: []byte("hunter2\n")} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := Config{Hosts: []string{server.Listener.Addr().String()}, Prefix: "a", Request: 5 * time.Second, TLS: options.TLS{CA: ca}, TokenFile: token}
	store, err := NewStore(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Get(t.Context(), "chain"); err != nil || seen.Load() != "hunter2" {
		t.Errorf("Get() = %v, token %v", err, seen.Load())
	}
	distrusting, err := newStore(cfg.withDefaults(), &tls.Config{MinVersion: tls.VersionTLS12}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer distrusting.Close()
	if _, err := distrusting.Get(t.Context(), "chain"); !errors.Is(err, coordination.ErrUnavailable) {
		t.Errorf("Get() from an agent that no CA vouches for = %v, want ErrUnavailable", err)
	}
}

// TestSilentAgentsAreLeft: two agents take requests and stay silent; a caller whose time ends with the second begins its next try at the third.
func TestSilentAgentsAreLeft(t *testing.T) {
	good := fake(t, answer(200, `[{"ID":"sid"}]`))
	s := newSession(storeAt(t, 100*time.Millisecond, fake(t, hang), fake(t, hang), good))
	short := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		defer cancel()
		_, err := s.Renew(ctx)
		return err
	}
	if err := short(); err == nil {
		t.Fatal("Renew() succeeded at agents that stay silent")
	}
	if at := s.store.agents.current.Load(); at != 2 {
		t.Errorf("the next request goes to agent %d, want 2", at)
	}
}

// TestRepeatedWriteOutcome: a repeated write was not applied only if none of the agents can have applied it.
func TestRepeatedWriteOutcome(t *testing.T) {
	deaf, refuses, hangs := deaf(t), fake(t, answer(403, "Permission denied")), fake(t, hang)
	for name, c := range map[string]struct {
		hosts   []string
		unknown bool
	}{
		"refused connection, then no answer": {[]string{deaf, hangs}, true},
		"no answer, then refused connection": {[]string{hangs, deaf}, true},
		"no answer, then refused":            {[]string{hangs, refuses}, true},
		"refused connection, then refused":   {[]string{deaf, refuses}, false},
	} {
		s := newSession(storeAt(t, 300*time.Millisecond, c.hosts...))
		err := s.Close(t.Context())
		if errors.Is(err, coordination.ErrOutcomeUnknown) != c.unknown || errors.Is(err, coordination.ErrUnavailable) == c.unknown {
			t.Errorf("%s: Close() = %v, want an unknown outcome: %v", name, err, c.unknown)
		}
	}
}

// TestOpenSessionIsRefusedByTheSecond: a refusal counts whoever was asked before.
func TestOpenSessionIsRefusedByTheSecond(t *testing.T) {
	var creates atomic.Int32
	agent := func(status int, body string) string {
		return fake(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/session/create" {
				creates.Add(1)
				answer(200, `{"ID":"sid"}`)(w, r)
				return
			}
			answer(status, body)(w, r)
		})
	}
	s := storeAt(t, 10*time.Second, agent(500, "No cluster leader"), agent(400, "Bad request: as the test says"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := s.OpenSession(ctx); err == nil || !strings.Contains(err.Error(), "as the test says") || creates.Load() != 1 {
		t.Errorf("OpenSession() = %v after %d tries, want the refusal after 1", err, creates.Load())
	}
}
