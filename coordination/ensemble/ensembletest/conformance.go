package ensembletest

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/coordtest"
	"github.com/regency-project/regency/coordination/ensemble"
	"github.com/regency-project/regency/coordination/process"
	"github.com/regency-project/regency/coordination/profile"
)

// faultLimit bounds each fault and each repair of an ensemble: a JVM on a machine whose cores are busy.
const faultLimit = 2 * time.Minute

// Conformance runs the suite of package coordtest against an ensemble, each test in a cluster (prefix) of its own.
func Conformance(t *testing.T, e *ensemble.Ensemble, open coordtest.Opener, store coordtest.StoreOpener) {
	t.Helper()
	clusters := 0
	crowd := 0
	if e.Profile().Backend == profile.ZooKeeper {
		crowd = 300 // each session of ZooKeeper is a connection
	}
	coordtest.Run(t, func(t *testing.T) coordtest.Harness {
		clusters++
		return coordtest.Harness{
			Open: open, OpenStore: store,
			URL:            URL(t, e, fmt.Sprintf("conformance-%d", clusters)),
			OtherURL:       URL(t, e, fmt.Sprintf("conformance-%d-other", clusters)),
			DetectionBound: e.Profile().Detection().Upper,
			StopQuorum: func(t testing.TB) {
				within(t, "StopQuorum", func(ctx context.Context) error { _, err := e.StopQuorum(ctx); return err })
			},
			StartQuorum: func(t testing.TB) { within(t, "StartQuorum", e.StartQuorum) },
			Endpoints:   e.Endpoints(),
			Via:         Via,
			WithSession: WithSession, Patient: Patient, Crowd: crowd,
			KillLeader: func(t testing.TB) func() {
				i := leader(t, e)
				check(t, e.KillMember(i))
				return func() {
					within(t, "RestartMember", func(ctx context.Context) error { return e.RestartMember(ctx, i) })
					within(t, "WaitReady", e.WaitReady)
				}
			},
			PauseLeader: func(t testing.TB) func() { return pause(t, e, leader(t, e)) },
			Leader:      func(t testing.TB) int { return leader(t, e) },
			PauseMember: func(t testing.TB, i int) func() { return pause(t, e, i) },
			ShiftClock:  shiftClock(e),
			Restart: func(t testing.TB, stopped func([]string)) {
				var dirs []string
				for i, m := range e.Members() {
					check(t, e.KillMember(i))
					dirs = append(dirs, filepath.Join(m.Dir, "data"))
				}
				if stopped != nil {
					stopped(dirs)
				}
				within(t, "StartQuorum", e.StartQuorum)
			},
		}
	})
}

// URL names a cluster of the ensemble, with the client's half of its profile.
func URL(t testing.TB, e *ensemble.Ensemble, prefix string) string {
	t.Helper()
	u, err := e.URL(prefix)
	check(t, err)
	return u
}

// Via is the URL with other endpoints.
func Via(rawURL string, endpoints []string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		panic(err) // of our own making
	}
	u.Host = strings.Join(endpoints, ",")
	return u.String()
}

// WithSession is the URL with another session timeout, renewed at the client's own rate.
func WithSession(rawURL string, timeout time.Duration) string {
	return with(rawURL, "session", timeout.String(), "renew", "")
}

// with is the URL with other values of its keys, or without those whose value is empty.
func with(rawURL string, pairs ...string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		panic(err) // of our own making
	}
	q := u.Query()
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
		if pairs[i+1] == "" {
			q.Del(pairs[i])
		}
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// Patient is the URL with another timeout of each request.
func Patient(rawURL string, timeout time.Duration) string {
	return with(rawURL, "request", timeout.String())
}

func leader(t testing.TB, e *ensemble.Ensemble) (i int) {
	t.Helper()
	within(t, "Leader", func(ctx context.Context) (err error) { i, err = e.Leader(ctx); return err })
	return i
}

// shiftClock is nil where clocks cannot be shifted.
func shiftClock(e *ensemble.Ensemble) func(testing.TB, int, time.Duration) {
	if !process.ShiftsWallClocks {
		return nil
	}
	return func(t testing.TB, i int, d time.Duration) { check(t, e.ShiftMemberClock(i, d)) }
}

// pause stops a member. What is returned lets it go on and waits until all serve.
func pause(t testing.TB, e *ensemble.Ensemble, i int) (restore func()) {
	t.Helper()
	check(t, e.PauseMember(i))
	return func() {
		check(t, e.ResumeMember(i))
		within(t, "WaitReady", e.WaitReady)
	}
}

func within(t testing.TB, what string, f func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), faultLimit)
	defer cancel()
	if err := f(ctx); err != nil {
		t.Fatalf("%s() = %v", what, err)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
