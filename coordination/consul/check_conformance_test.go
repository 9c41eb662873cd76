package consul_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/coordtest"
	"github.com/regency-project/regency/coordination/ensemble"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/profile"
)

// TestConformanceCheck is the suite with sessions that a check keeps. Links are not disturbed: a process that is cut off from its own agent loses its session,
// as documented, and what follows a cut from the servers is the same as without a check. Restarts of all servers are for the long run.
func TestConformanceCheck(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real ensemble")
	}
	e := ensembletest.StartWith(t, ensemble.Options{Backend: profile.Consul, Profile: profile.TunedCheck})
	within := func(t testing.TB, what string, f func(context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := f(ctx); err != nil {
			t.Fatalf("%s() = %v", what, err)
		}
	}
	clusters := 0
	p := slower(e.Profile())
	coordtest.Run(t, func(t *testing.T) coordtest.Harness {
		clusters++
		h := coordtest.Harness{
			Open: open, OpenStore: openStore,
			URL:            withCheck(ensembletest.URL(t, e, fmt.Sprintf("check-%d", clusters)), checkTTL),
			OtherURL:       withCheck(ensembletest.URL(t, e, fmt.Sprintf("check-%d-other", clusters)), checkTTL),
			DetectionBound: p.Detection().Upper,
			WithSession:    withCheck, Crowd: 100,
			StopQuorum: func(t testing.TB) {
				within(t, "StopQuorum", func(ctx context.Context) error { _, err := e.StopQuorum(ctx); return err })
			},
			StartQuorum: func(t testing.TB) { within(t, "StartQuorum", e.StartQuorum) },
		}
		if os.Getenv("REGENCY_SOAK") == "1" {
			h.Restart = func(t testing.TB) {
				for i := range e.Members() {
					if err := e.KillMember(i); err != nil {
						t.Fatal(err)
					}
				}
				within(t, "StartQuorum", e.StartQuorum)
			}
		}
		return h
	})
}

// withCheck is the URL with another check's TTL.
func withCheck(raw string, timeout time.Duration) string {
	u, err := url.Parse(raw)
	if err != nil {
		panic(err) // of our own making
	}
	q := u.Query()
	q.Set("check", timeout.String())
	q.Del("renew")
	u.RawQuery = q.Encode()
	return u.String()
}
