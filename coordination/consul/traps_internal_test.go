package consul

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

// TestWaitJitter: the service answers a blocking query up to a sixteenth of the wait later than it was told to wait. The client's own limit allows for it, on top
// of what a request may take.
func TestWaitJitter(t *testing.T) {
	s := storeAt(t, 100*time.Millisecond, "127.0.0.1:1")
	const wait = 16 * time.Second
	var left time.Duration
	_ = s.read(t.Context(), s.cfg.Request, &api.QueryOptions{WaitIndex: 5, WaitTime: wait}, func(_ *api.Client, q *api.QueryOptions) (*api.QueryMeta, error) {
		deadline, ok := q.Context().Deadline()
		if left = time.Until(deadline); !ok {
			t.Error("the query has no limit")
		}
		return &api.QueryMeta{KnownLeader: true}, nil
	})
	if want := wait + wait/16; left < want || left > want+s.cfg.Request {
		t.Errorf("a blocking query of %v is given %v, want %v and up to %v more", wait, left, want, s.cfg.Request)
	}
}

// TestWatchBeginsAnewAfterAReset: the service's index went back, as after a restored snapshot. The watch ends, and the next one reads the state consistently,
// without the old index, by which it would wait for a change that has long been.
func TestWatchBeginsAnewAfterAReset(t *testing.T) {
	const before, after = "900", "3"
	var asked atomic.Int32
	s := storeAt(t, time.Second, fake(t, func(w http.ResponseWriter, r *http.Request) {
		index := after
		if asked.Add(1) == 1 {
			index = before
		} else if r.URL.Query().Get("index") == before && asked.Load() > 2 {
			t.Errorf("query %d waits for the old index", asked.Load())
		}
		w.Header().Set("X-Consul-Index", index)
		answer(200, `[{"Key":"a/chain","Value":"aGk=","ModifyIndex":`+index+`}]`)(w, r)
	}))
	if err := s.Watch(t.Context(), "chain", func(backend.Entry) {}); !errors.Is(err, errWentBack) || !errors.Is(err, coordination.ErrUnavailable) {
		t.Fatalf("Watch() = %v, want errWentBack as ErrUnavailable", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var got backend.Entry
	if err := s.Watch(ctx, "chain", func(e backend.Entry) { got = e; stop() }); !errors.Is(err, context.Canceled) || got.Version != 3 {
		t.Errorf("Watch() after the reset told version %d and returned %v, want 3", got.Version, err)
	}
}

// TestSessionIsNotBoundToAgents: the service binds a session to serfHealth and to the agent's node unless it is told not to, and takes 15 s of lock-delay for
// none. What is sent says otherwise. (The library rounds a lock-delay up to a millisecond, and cannot send zero.)
func TestSessionIsNotBoundToAgents(t *testing.T) {
	body := make(chan string, 1)
	s := storeAt(t, time.Second, fake(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/session/create" {
			answer(200, `{"Results":[]}`)(w, r)
			return
		}
		buf := make([]byte, 4096)
		n, _ := r.Body.Read(buf)
		select {
		case body <- string(buf[:n]):
		default:
		}
		answer(200, `{"ID":"sid"}`)(w, r)
	}))
	session, err := s.OpenSession(t.Context())
	if err != nil || session.ID() != "sid" {
		t.Fatalf("OpenSession() = %v", err)
	}
	sent := <-body
	for _, want := range []string{`"NodeChecks":[]`, `"Node":"regency-a"`, `"LockDelay":"1ms"`, `"Behavior":"delete"`} {
		if !strings.Contains(sent, want) {
			t.Errorf("a session is asked for with %s, want %s in it", sent, want)
		}
	}
}
