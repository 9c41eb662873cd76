package consul

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/backend"
)

// resetting is an agent whose index is set back (to another's snapshot, or to nothing) after some answers.
type resetting struct {
	mu      sync.Mutex
	answers []string // X-Consul-Index of each; the value is its number
	asked   []string // the queries
}

func (a *resetting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	n := len(a.asked)
	a.asked = append(a.asked, r.URL.RawQuery)
	a.mu.Unlock()
	if n >= len(a.answers) {
		hang(w, r)
		return
	}
	if a.answers[n] != "" {
		w.Header().Set("X-Consul-Index", a.answers[n])
	}
	answer(200, fmt.Sprintf(`[{"Key":"a/chain","Value":"%s","ModifyIndex":%d}]`, []string{"MA==", "MQ==", "Mg==", "Mw=="}[n], 3+n))(w, r)
}

// TestIndexReset: an index that goes back, to zero or away ends the watch without telling what came with it; the next watch asks consistently and from the beginning,
// never from an index of before, at which it would wait for a change that already was.
func TestIndexReset(t *testing.T) {
	for name, reset := range map[string]string{"back": "2", "zero": "0", "gone": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			agent := &resetting{answers: []string{"5", "9", reset, "4"}}
			s := storeAt(t, 300*time.Millisecond, fake(t, agent.ServeHTTP))
			var told []string
			fn := func(e backend.Entry) { told = append(told, string(e.Value)) }
			err := s.Watch(t.Context(), "chain", fn)
			if err == nil || fmt.Sprint(told) != "[0 1]" || reset == "2" && !errors.Is(err, errWentBack) {
				t.Errorf("Watch() told %v and returned %v, want what came before the reset, and an error", told, err)
			}
			if err := s.Watch(t.Context(), "chain", fn); err == nil || fmt.Sprint(told) != "[0 1 3]" {
				t.Errorf("the next Watch() told %v and returned %v, want what is now", told, err)
			}
			agent.mu.Lock()
			defer agent.mu.Unlock()
			if len(agent.asked) < 5 {
				t.Fatalf("asked were %q", agent.asked)
			}
			for i, want := range []string{"consistent=", "index=5", "index=9", "consistent=", "index=4"} {
				if !strings.Contains(agent.asked[i], want) {
					t.Errorf("query %d was %q, want %s", i, agent.asked[i], want)
				}
			}
		})
	}
}
