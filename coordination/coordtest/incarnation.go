package coordtest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/regency-project/regency/coordination"
)

// testDuplicateRace: processes of several hosts register one broker id at the same time. One has it; the others are told so and change nothing.
func testDuplicateRace(e *env) {
	const hosts = 4
	co, _ := e.process()
	var won, refused atomic.Int32
	var wg sync.WaitGroup
	var mu sync.Mutex
	var winner coordination.Registered
	for range hosts {
		s := e.session(e.coordinator(), coordination.SessionOptions{})
		r := registration(7)
		r.DirectoryUUID, r.Host = uuid.NewString(), "host-"+uuid.NewString()
		wg.Go(func() {
			got, err := s.Register(e.ctx, r)
			switch {
			case err == nil:
				won.Add(1)
				mu.Lock()
				winner = got
				mu.Unlock()
			case errors.Is(err, coordination.ErrDuplicateID):
				refused.Add(1)
			default:
				e.Errorf("Register() = %v, want nil or ErrDuplicateID", err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || refused.Load() != hosts-1 {
		e.Fatalf("%d of %d hosts got the id and %d were refused, want one and the rest", won.Load(), hosts, refused.Load())
	}
	if got := e.present(co); len(got) != 1 || got[0].Revision != winner.Revision || got[0].Host != winner.Host {
		e.Errorf("registrations = %+v, want only the winner's %+v", got, winner)
	}
}

// testRestart: a killed leader's process is started again before the service has noticed its death. It takes its registration over at once,
// leads again when the old session is over or earlier, and the end of the old session takes nothing from it.
func testRestart(e *env) {
	e.needChild()
	observer, watching := e.process()
	bound := e.bound(watching.Timeout())
	c := e.child()
	c.register(1)
	epoch := c.campaign()
	old := e.present(observer)
	c.kill()
	died := time.Now()

	e.steady() // what is started again is not to lose its own session on a loaded machine
	co, s := e.process()
	seen := e.registrations(observer)
	r := e.register(s, 1)
	took := time.Since(died)
	if len(old) != 1 || r.Revision == old[0].Revision || r.Incarnation == old[0].Incarnation {
		e.Errorf("registration after the restart = %+v, before it = %+v: want another revision and incarnation", r, old)
	}
	e.Logf("registered again %v after SIGKILL", took.Round(time.Millisecond))
	l := e.campaign(s)
	if l.Epoch() != epoch+1 {
		e.Errorf("epoch after the restart = %d, want %d", l.Epoch(), epoch+1)
	}
	e.eventually(patience, "the new registration is told", func() error {
		if got := seen.revision(1); got != r.Revision {
			return fmt.Errorf("revision %d, want %d", got, r.Revision)
		}
		return nil
	})
	// Past the end of the old session.
	for end := died.Add(bound + time.Second); time.Now().Before(end); {
		select {
		case <-s.Done():
			e.Fatalf("the new session ended: %v", s.Err())
		case <-l.Done():
			e.Fatalf("the new leadership ended: %v", l.Err())
		case <-time.After(20 * time.Millisecond):
		}
		if got := seen.revision(1); got != r.Revision {
			e.Fatalf("revision of broker 1 = %d %v after the death of its former incarnation, want %d still", got, time.Since(died), r.Revision)
		}
	}
	if got := e.present(observer); len(got) != 1 || got[0].Revision != r.Revision {
		e.Errorf("registrations after the old session's end = %+v, want only revision %d", got, r.Revision)
	}
	e.insistCommit(l, put("k", "v"))
	if st := e.status(co); st.Epoch != epoch+1 {
		e.Errorf("Status() = %+v, want epoch %d still", st, epoch+1)
	}
}
