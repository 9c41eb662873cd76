// Package coordtest holds the promises of package coordination as tests. Every backend passes the same suite, against its real server; what
// differs between backends is asked of their Capabilities and of the harness's optional faults, never of their names.
//
// A backend's test file is small:
//
//	func open(ctx context.Context, url string, logger *slog.Logger) (coordination.Coordinator, error) { … }
//	func TestMain(m *testing.M) { os.Exit(coordtest.Main(m, open)) }
//	func TestConformance(t *testing.T) {
//		… start an ensemble …
//		coordtest.Run(t, func(t *testing.T) coordtest.Harness { return coordtest.Harness{Open: open, URL: …} })
//	}
//
// Main lets the test binary run itself again as a second process that opens a session of its own, so that the suite can kill or stop it.
package coordtest

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

// Opener opens a coordinator of the cluster that the URL names.
type Opener func(ctx context.Context, url string, logger *slog.Logger) (coordination.Coordinator, error)

// Harness is a service as one test sees it.
type Harness struct {
	// Open is the backend; the same that Main was given.
	Open Opener
	// URL names a cluster that no other test uses: it must not exist yet.
	URL string
	// OtherURL names another cluster of the same service. Empty: the isolation test is skipped.
	OtherURL string
	// DetectionBound is the longest time from a process's death to the end of its registration, by the profile's formula.
	// 0: the granted timeout.
	DetectionBound time.Duration
	// StopQuorum makes the service unable to decide anything; StartQuorum brings it back and waits until it can. The suite never runs another
	// test in between. Nil: the tests of an outage are skipped.
	StopQuorum, StartQuorum func(t testing.TB)
	// OpenStore opens the store below a coordinator, for what an operator, a backup or a bug may do to it. Nil: those tests are skipped.
	OpenStore StoreOpener
	// Endpoints are the addresses on which the service's members serve clients, and Via is a cluster's URL with other addresses in their places, in the
	// same order: links that a test disturbs. Nil: the tests of disturbed links are skipped.
	Endpoints []string
	Via       func(url string, endpoints []string) string
	// WithSession is a cluster's URL with another session timeout. Nil: all of the suite's sessions have the one of URL.
	WithSession func(url string, timeout time.Duration) string
	// Patient is a cluster's URL with another timeout of each request. Nil: as it is.
	Patient func(url string, timeout time.Duration) string
	// Crowd is how many sessions the service and one process can hold at a time. 0: a thousand.
	Crowd int
	// KillLeader kills the service's own leader (SIGKILL), PauseLeader stops it (SIGSTOP); restore brings it back and waits until all members serve.
	// Restart kills all members at once and starts them again on their disks; in between it calls stopped, if that is not nil, with the directories of their
	// data. Nil: skipped.
	KillLeader, PauseLeader func(t testing.TB) (restore func())
	Restart                 func(t testing.TB, stopped func(dirs []string))
	// Leader is the index, in Endpoints, of the service's own leader. PauseMember stops a member (SIGSTOP) and returns when it has stopped; restore is as
	// above. Nil: skipped.
	Leader      func(t testing.TB) int
	PauseMember func(t testing.TB, i int) (restore func())
	// ShiftClock makes a member's wall clock differ from the machine's. Nil: skipped.
	ShiftClock func(t testing.TB, i int, d time.Duration)
}

// StoreOpener opens the store of the cluster that the URL names.
type StoreOpener func(ctx context.Context, url string, logger *slog.Logger) (backend.Store, error)

// testCase is one promise.
type testCase struct {
	name string
	f    func(e *env)
	// brisk: its processes have the sessions of the harness's URL, since their ends are waited for. All others have steady ones.
	brisk bool
}

// slack is what a loaded machine may add to any bound.
const slack = 5 * time.Second

// patience bounds every wait for something that has no bound of its own.
const patience = 30 * time.Second

// Run runs the suite. fresh is called once per test, in that test.
func Run(t *testing.T, fresh func(t *testing.T) Harness) {
	for _, c := range slices.Concat(basics, sessions, elections, ambiguities, watches, operations) {
		t.Run(c.name, func(t *testing.T) {
			e := newEnv(t, fresh(t))
			if !c.brisk {
				e.steady()
			}
			c.f(e)
		})
	}
}

// env is what the tests share: ways to open things that end with the test.
type env struct {
	testing.TB
	h       Harness
	ctx     context.Context
	logger  *slog.Logger
	stall   *stall // nil: not measured
	own     string // the harness's own URL, whatever h.URL is now
	patient bool   // h.URL has more time for each request than own
}

func newEnv(t *testing.T, h Harness) *env {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	return &env{TB: t, h: h, own: h.URL, ctx: ctx, logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

func (e *env) coordinator() coordination.Coordinator {
	e.Helper()
	return e.coordinatorAt(e.h.URL)
}

func (e *env) coordinatorAt(url string) coordination.Coordinator {
	e.Helper()
	co, err := e.h.Open(e.ctx, url, e.logger)
	if err != nil {
		e.Fatalf("Open(%s) = %v", url, err)
	}
	e.Cleanup(func() {
		if err := co.Close(); err != nil {
			e.Errorf("Coordinator.Close() = %v", err)
		}
	})
	return co
}

func (e *env) session(co coordination.Coordinator, o coordination.SessionOptions) coordination.Session {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	s, err := co.OpenSession(ctx, o)
	if err != nil {
		e.Fatalf("OpenSession() = %v", err)
	}
	e.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			e.Logf("Session.Close() = %v", err)
		}
	})
	return s
}

// process opens a coordinator and a session, and bootstraps: what a broker does first.
func (e *env) process() (coordination.Coordinator, coordination.Session) {
	e.Helper()
	co := e.coordinator()
	s := e.session(co, coordination.SessionOptions{})
	if _, err := s.Bootstrap(e.ctx); err != nil {
		e.Fatalf("Bootstrap() = %v", err)
	}
	return co, s
}

func (e *env) register(s coordination.Session, id int32) coordination.Registered {
	e.Helper()
	r, err := s.Register(e.ctx, registration(id))
	if errors.Is(err, coordination.ErrSessionLost) && e.stall != nil {
		e.judge(s.Timeout(), "Register(%d) = %v", id, err)
	}
	if err != nil {
		e.Fatalf("Register(%d) = %v", id, err)
	}
	return r
}

func (e *env) campaign(s coordination.Session) coordination.Leadership {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, patience+2*e.bound(s.Timeout()))
	defer cancel()
	l, err := s.Campaign(ctx)
	if err != nil {
		e.Fatalf("Campaign() = %v", err)
	}
	return l
}

// leader is a registered process that leads.
func (e *env) leader(id int32) (coordination.Coordinator, coordination.Session, coordination.Leadership) {
	e.Helper()
	co, s := e.process()
	e.register(s, id)
	return co, s, e.campaign(s)
}

func (e *env) commit(l coordination.Leadership, m ...coordination.Mutation) uint64 {
	e.Helper()
	seq, err := e.commitOnce(l, m...)
	if err != nil {
		e.Fatalf("Commit(%d mutations) = %v", len(m), err)
	}
	return seq
}

// commitOnce repeats what certainly was not applied: on a loaded machine, or around an election, a session may be suspect for a while.
func (e *env) commitOnce(l coordination.Leadership, m ...coordination.Mutation) (uint64, error) {
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	seq, err := l.Commit(ctx, m)
	for errors.Is(err, coordination.ErrUnavailable) && !errors.Is(err, coordination.ErrOutcomeUnknown) && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
		seq, err = l.Commit(ctx, m)
	}
	return seq, err
}

// insist repeats f while the service does not say what became of it: on a loaded machine, or around an election, any single request may be lost.
func (e *env) insist(f func(ctx context.Context) error) error { return e.insistFor(patience, f) }

func (e *env) insistFor(d time.Duration, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(e.ctx, d)
	defer cancel()
	for {
		err := f(ctx)
		if ctx.Err() != nil || !errors.Is(err, coordination.ErrOutcomeUnknown) && !errors.Is(err, coordination.ErrUnavailable) {
			return err
		}
	}
}

func (e *env) resign(l coordination.Leadership) {
	e.Helper()
	if err := e.insist(l.Resign); err != nil {
		e.Fatalf("Resign() = %v", err)
	}
}

func (e *env) evict(s coordination.Session, r coordination.Registered) error {
	unknown := false
	return e.insist(func(ctx context.Context) error {
		err := s.Evict(ctx, r)
		if unknown && errors.Is(err, coordination.ErrConflict) {
			return nil // the try whose answer was lost did it
		}
		unknown = errors.Is(err, coordination.ErrOutcomeUnknown)
		return err
	})
}

func (e *env) status(co coordination.Coordinator) coordination.Status {
	e.Helper()
	var st coordination.Status
	e.eventually(patience, "Status() answers", func() (err error) {
		st, err = co.Status(e.ctx)
		return err
	})
	return st
}

// bound is how long the end of a session that nobody renews may take.
func (e *env) bound(granted time.Duration) time.Duration {
	return max(e.h.DetectionBound, granted)
}

// eventually polls until f returns nil.
func (e *env) eventually(d time.Duration, what string, f func() error) {
	e.Helper()
	deadline := time.Now().Add(d)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			e.Fatalf("%s: not within %v: %v", what, d, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// closed waits until c is closed.
func (e *env) closed(c <-chan struct{}, d time.Duration, what string) {
	e.Helper()
	select {
	case <-c:
	case <-time.After(d):
		e.Fatalf("%s: not within %v", what, d)
	}
}

// registration of a broker; its directory UUID follows from the id, so that a restart of the same id has the same.
func registration(id int32) coordination.Registration {
	return coordination.Registration{
		ID: id, DirectoryUUID: uuid.NewMD5(uuid.Nil, []byte{byte(id)}).String(),
		Attributes: []byte(`{"listener":"127.0.0.1:9092"}`), Host: "host-a", PID: 42,
	}
}
