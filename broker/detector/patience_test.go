package detector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/coordination"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The tests of this file run in a bubble: its clock is exact, whatever the machine's load.

// evictor is a session that takes evictions, or refuses them at once.
type evictor struct {
	coordination.Session
	suspect, refuses atomic.Bool
	tries, taken     atomic.Int32
}

func (e *evictor) State() coordination.State {
	if e.suspect.Load() {
		return coordination.Suspect
	}
	return coordination.Valid
}

func (e *evictor) Evict(context.Context, coordination.Registered) error {
	e.tries.Add(1)
	if e.refuses.Load() {
		return coordination.ErrUnavailable
	}
	e.taken.Add(1)
	return nil
}

// remote is a watched broker: after quick answers each takes as long as takes says for its connection (counted from 1).
type remote struct {
	self  Self
	takes func(conn int32) time.Duration
	down  atomic.Bool // it refuses connections, and breaks those that there are
	conns atomic.Int32
	open  atomic.Int32
}

type remoteConn struct {
	r    *remote
	n    int32
	asks int
}

func (r *remote) connect(context.Context) (asked, error) {
	time.Sleep(time.Millisecond)
	if r.down.Load() {
		return nil, syscall.ECONNREFUSED
	}
	r.open.Add(1)
	return &remoteConn{r: r, n: r.conns.Add(1)}, nil
}

func (c *remoteConn) Done() <-chan struct{} { return nil }
func (c *remoteConn) Close()                { c.r.open.Add(-1) }

func (c *remoteConn) Request(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	takes := time.Millisecond
	if c.asks++; c.n > 1 || c.asks > 3 {
		takes = c.r.takes(c.n)
	}
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.r.down.Load() {
		return nil, errors.New("broken")
	}
	return c.r.self.Answer(req.(*kmsg.BrokerHeartbeatRequest)), nil
}

// watched runs f while broker 1, the controller, watches r with beats of 100 ms.
func watched(t *testing.T, missed int, r *remote, f func(e *evictor)) {
	synctest.Test(t, func(t *testing.T) {
		r.self = Self{Broker: 2, Process: uuid.New(), Incarnation: "first"}
		current, e := cluster.NewCurrent(), &evictor{}
		current.Set(&cluster.View{Seq: 1, Controller: 1})
		p := NewPeers(PeersConfig{ID: 1, Config: Config{Kind: Peer, Missed: missed}, Current: current, Log: slog.New(slog.DiscardHandler)})
		p.Hold(e)
		w := newWatch(p, coordination.Registered{Registration: coordination.Registration{ID: 2, Incarnation: "first"}, Revision: 42}, "")
		w.connect = r.connect
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { w.run(ctx, ctx); close(ended) }()
		f(e)
		cancel()
		<-ended
		if n := r.open.Load(); n != 0 {
			t.Errorf("%d connections are left open", n)
		}
	})
}

// Whoever answers every request within the limit lives, though another connection was tried meanwhile.
func TestSlowAnswersAreAnswers(t *testing.T) {
	for _, missed := range []int{minMissed, minMissed + 1, DefaultMissed, DefaultMissed + 1} {
		takes := time.Duration(missed-2)*DefaultBeat - 2*time.Millisecond // README.md says why two less
		t.Run(fmt.Sprint(takes, " of ", missed), func(t *testing.T) {
			r := &remote{takes: func(int32) time.Duration { return takes }}
			watched(t, missed, r, func(e *evictor) {
				time.Sleep(time.Minute)
				if n := e.tries.Load(); n != 0 {
					t.Errorf("%d evictions of a broker that answers", n)
				}
				if n := r.open.Load(); n < 1 || n > maxAttempts {
					t.Errorf("%d connections are open", n)
				}
			})
		})
	}
}

// A connection can die without either end knowing: the second one decides, and takes its place.
func TestDeadConnectionIsReplaced(t *testing.T) {
	for _, missed := range []int{minMissed, DefaultMissed} {
		r := &remote{takes: func(conn int32) time.Duration {
			if conn == 1 {
				return time.Hour
			}
			return time.Millisecond
		}}
		watched(t, missed, r, func(e *evictor) {
			time.Sleep(time.Minute)
			if tries, conns, open := e.tries.Load(), r.conns.Load(), r.open.Load(); tries != 0 || conns != 2 || open != 1 {
				t.Errorf("missed %d: %d evictions, %d connections, %d of them open; want 0, 2 and 1", missed, tries, conns, open)
			}
		})
	}
}

func TestHealthyBrokerIsDialledOnce(t *testing.T) {
	r := &remote{takes: func(int32) time.Duration { return time.Millisecond }}
	watched(t, minMissed, r, func(e *evictor) {
		time.Sleep(time.Minute)
		if tries, conns := e.tries.Load(), r.conns.Load(); tries != 0 || conns != 1 {
			t.Errorf("%d evictions and %d connections, want 0 and 1", tries, conns)
		}
	})
}

// wantPatient checks the tries of an evictor that refuses, beginning now: quick while an election may last, and few in 30 s.
func wantPatient(t *testing.T, e *evictor) {
	t.Helper()
	time.Sleep(300 * time.Millisecond)
	if n := e.tries.Load(); n < 25 {
		t.Errorf("%d tries in the first 300 ms, want at least 25", n)
	}
	time.Sleep(29 * time.Second)
	if n := e.tries.Load(); n > 75 {
		t.Errorf("%d tries in 30 s of refusals, want 75 at most", n)
	}
}

func TestWatchIsPatientWithTheService(t *testing.T) {
	r := &remote{takes: func(int32) time.Duration { return time.Millisecond }}
	watched(t, DefaultMissed, r, func(e *evictor) {
		time.Sleep(time.Second)
		e.refuses.Store(true)
		r.down.Store(true)
		time.Sleep(110 * time.Millisecond) // until the next heartbeat
		wantPatient(t, e)
		e.refuses.Store(false)
		time.Sleep(evictTimeout)
		if n := e.taken.Load(); n != 1 {
			t.Errorf("%d evictions taken within a second of the service's return, want 1", n)
		}
	})
}

func TestGuardianIsPatientWithTheService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, e, ended := guardianWith(t)
		e.refuses.Store(true)
		g.hold(e)
		wantPatient(t, e)
		e.refuses.Store(false)
		time.Sleep(evictTimeout)
		synctest.Wait()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("evict = %v", err)
			}
		default:
			t.Error("no eviction within a second of the service's return")
		}
	})
}

// A guardian whose own session is not valid may be the one that is cut off. It acts as soon as the session is valid again.
func TestGuardianEvictsByAValidSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, e, ended := guardianWith(t)
		e.suspect.Store(true)
		g.hold(e)
		time.Sleep(5 * time.Second)
		if n := e.tries.Load(); n != 0 {
			t.Errorf("%d tries while the session was suspect", n)
		}
		e.suspect.Store(false)
		time.Sleep(2 * evictPause)
		synctest.Wait()
		if n := e.taken.Load(); n != 1 {
			t.Errorf("%d evictions taken, want 1 at once", n)
		}
		if err := <-ended; err != nil {
			t.Errorf("evict = %v", err)
		}
	})
}

// guardianWith is a guardian without a session, at its eviction, and what may become its session.
func guardianWith(t *testing.T) (*guardian, *evictor, <-chan error) {
	g := &guardian{log: slog.New(slog.DiscardHandler)}
	g.mu.changed = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	ended := make(chan error, 1)
	go func() { ended <- g.evict(ctx, coordination.Registered{}) }()
	return g, &evictor{}, ended
}
