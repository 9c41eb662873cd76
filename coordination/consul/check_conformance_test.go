package consul_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/coordtest"
	"github.com/regency-project/regency/coordination/ensemble"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/profile"
)

// TestConformanceCheck is the suite with sessions that a check keeps. Gossip is as shipped: on a machine as busy as one that runs tests, the profile's takes a live
// agent for dead now and then, which ends its sessions. Links are not disturbed: a process that is cut off from its own agent loses its session,
// as documented, and what follows a cut from the servers is the same as without a check.
func TestConformanceCheck(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real ensemble")
	}
	e := ensembletest.StartWith(t, ensemble.Options{Backend: profile.Consul, Profile: profile.Matched, Agents: 1})
	within := func(t testing.TB, what string, f func(context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := f(ctx); err != nil {
			t.Fatalf("%s() = %v", what, err)
		}
	}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, m := range append(e.Agents(), e.Members()...) { // why sessions were lost
			log, _ := os.ReadFile(m.LogPath)
			for line := range strings.Lines(string(log)) {
				if strings.Contains(line, "missed TTL") || strings.Contains(line, "Failed") || strings.Contains(line, "Suspect") || strings.Contains(line, "leadership") {
					t.Log(m.Name, strings.TrimSpace(line))
				}
			}
		}
	})
	clusters := 0
	p, err := profile.Lookup(profile.Consul, profile.TunedCheck)
	if err != nil {
		t.Fatal(err)
	}
	p = slower(p)
	coordtest.Run(t, func(t *testing.T) coordtest.Harness {
		if why := unsuited[path.Base(t.Name())]; why != "" {
			t.Skip(why)
		}
		if slow[path.Base(t.Name())] && os.Getenv("REGENCY_SOAK") != "1" {
			t.Skip("set REGENCY_SOAK=1: it is slow, and does not depend on what keeps the session")
		}
		clusters++
		return coordtest.Harness{
			Open: open, OpenStore: openStore,
			URL:            withCheck(ensembletest.URL(t, e, fmt.Sprintf("check-%d", clusters)), checkTTL),
			OtherURL:       withCheck(ensembletest.URL(t, e, fmt.Sprintf("check-%d-other", clusters)), checkTTL),
			DetectionBound: p.Detection().Upper,
			WithSession:    withCheck,
			Patient:        ensembletest.Patient,
			StopQuorum: func(t testing.TB) {
				within(t, "StopQuorum", func(ctx context.Context) error { _, err := e.StopQuorum(ctx); return err })
			},
			StartQuorum: func(t testing.TB) { within(t, "StartQuorum", e.StartQuorum) },
		}
	})
}

// unsuited are cases that ask of one agent what it is not for.
var unsuited = map[string]string{
	"ThousandSessionsLostAtOnce": "each process has an agent of its own, and one session at it",
}

// slow are the cases of the suite that would take the most of its time.
var slow = map[string]bool{
	"NothingLeaks": true, "HistoryIsLinearizable": true, "SlowConsumerStallsNobody": true, "StoreSetBackIsAnotherLineage": true,
	"CancellationDuringOutage": true, "RingOverrun": true, "EpochsAreDense": true,
}

// withCheck is the URL with another check's TTL.
func withCheck(raw string, timeout time.Duration) string {
	u, err := url.Parse(raw)
	if err != nil {
		panic(err) // of our own making
	}
	q := u.Query()
	q.Del("session")
	q.Set("check", timeout.String())
	q.Del("renew")
	u.RawQuery = q.Encode()
	return u.String()
}
