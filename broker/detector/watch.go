package detector

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/regency-project/regency/coordination"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Evidence of a broker's death, as the timeline names it.
const (
	refused  = "refused"  // its connection broke and a redial was refused
	replaced = "replaced" // another process answers at its address
	silent   = "silent"   // it owes more answers than it may
)

const (
	// evictFirst bounds the first try to evict; each further one has twice the time, up to evictTimeout. evictPause is between two.
	evictFirst   = 100 * time.Millisecond
	evictTimeout = time.Second
	evictPause   = 10 * time.Millisecond
)

// patience with one try: short at first, because a request that a service without a leader has taken may wait for longer than the election lasts (etcd asks
// again for a read's index every 500 ms), and growing, because a service under load may need long for every one.
func patience(try int) time.Duration { return min(evictFirst<<min(try, 10), evictTimeout) }

// watch watches one registration: one incarnation of one broker. Its fields belong to the goroutine of run.
type watch struct {
	p    *Peers
	reg  coordination.Registered
	addr string

	process  uuid.UUID // that answered under this incarnation; Nil: none has yet, and nothing is evidence
	seen     time.Time // when it answered last
	missed   int       // beats since then
	evidence string    // empty: none
	evicted  bool      // the service took the eviction, or knows the registration no more
	unknown  bool      // an eviction's answer was lost
	tries    int       // to evict

	now     attempt // its zero value: none is under way
	redials int     // since the last answer
	running sync.WaitGroup
}

// attempt is one connection: dialled, and asked every beat until it breaks.
type attempt struct {
	stop  context.CancelFunc
	alive chan Self
	ended chan error // capacity 1: its last word
}

func newWatch(p *Peers, r coordination.Registered, addr string) *watch {
	return &watch{p: p, reg: r, addr: addr, seen: time.Now()}
}

// run watches until ctx ends: with the registration, or with this broker.
//
// Evictions go on with life, which ends with this broker alone: the watch of the registrations may tell of the success before its own answer comes.
func (w *watch) run(ctx, life context.Context) {
	defer w.running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tick := time.NewTicker(w.p.cfg.Config.Beat)
	defer tick.Stop()
	redial := time.NewTimer(0)
	defer redial.Stop()
	last := time.Now()
	for {
		_, _, changed := w.p.next()
		_, viewed := w.p.cfg.Current.Next()
		var again <-chan time.Time // never
		if w.evidence != "" && !w.evicted && !w.evict(life) {
			again = time.After(evictPause)
		}
		select {
		case <-ctx.Done():
			if w.unknown && !w.evicted && life.Err() == nil { // the registration is gone, most likely by our own try whose answer was lost
				w.tell(false)
			}
			return
		case <-again:
		case <-changed: // perhaps the session by which to evict
		case <-viewed: // perhaps whose it is to evict
		case <-redial.C:
			w.dial(ctx)
		case s := <-w.now.alive:
			w.answered(s)
		case err := <-w.now.ended:
			w.now = attempt{}
			redial.Reset(w.broken(err))
		case <-tick.C:
			now := time.Now()
			if w.beat(now.Sub(last)) && w.now.stop != nil {
				w.now.stop()
				w.now = attempt{}
				redial.Reset(0)
			}
			last = now
		}
	}
}

func (w *watch) dial(ctx context.Context) {
	actx, stop := context.WithCancel(ctx)
	a := attempt{stop: stop, alive: make(chan Self), ended: make(chan error, 1)}
	w.now = a
	w.running.Go(func() {
		defer stop()
		a.ended <- w.ask(actx, a.alive)
	})
}

// ask is the goroutine of an attempt. It uses nothing of w that changes.
func (w *watch) ask(ctx context.Context, alive chan<- Self) error {
	conn, err := w.p.cfg.Dial(ctx, w.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	next := time.NewTicker(w.p.cfg.Config.Beat)
	defer next.Stop()
	for {
		resp, err := conn.Request(ctx, request(w.reg.ID))
		if err != nil {
			return err
		}
		s, err := read(w.reg.ID, resp.(*kmsg.BrokerHeartbeatResponse))
		if err != nil {
			return err
		}
		select {
		case alive <- s:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		select {
		case <-next.C:
		case <-conn.Done():
			return errBroken
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

var errBroken = errors.New("connection broke")

// answered judges who answered. A process is known by its own id: its incarnation changes whenever it registers anew.
func (w *watch) answered(s Self) {
	w.missed, w.redials = 0, 0
	switch {
	case w.process == uuid.Nil:
		if s.Incarnation == w.reg.Incarnation {
			w.process, w.seen = s.Process, time.Now()
		}
	case s.Process != w.process:
		w.suspect(replaced)
	default:
		w.seen = time.Now()
		if w.evidence != "" {
			w.p.cfg.Events.Emit("peer.answered", "id", w.reg.ID, "incarnation", w.reg.Incarnation)
			w.p.cfg.Log.Info("suspected broker answers again", "broker", w.reg.ID, "evidence", w.evidence)
			w.evidence = ""
		}
	}
}

// broken says when to dial again. A connection alone proves nothing when it breaks: whatever lies between may have cut it. Only the redial's refusal does: the
// machine answers and says that nobody listens, which a broker does for as long as it lives. A kill can close the connection before the listener, which then
// still takes the redial and drops it at once, so the first ones come quickly.
func (w *watch) broken(err error) time.Duration {
	beat := w.p.cfg.Config.Beat
	if errors.Is(err, syscall.ECONNREFUSED) {
		w.suspect(refused)
		return beat
	}
	pause := min(time.Duration(w.redials*w.redials)*time.Millisecond, beat)
	w.redials++
	return pause
}

// beat counts what the broker owes, and says whether to try another connection: one can be dead without either end knowing.
//
// A beat that comes late is ours to answer for: this process did not run (starved, or stopped itself), so it cannot know who else was silent.
func (w *watch) beat(gap time.Duration) (reconnect bool) {
	limit := w.p.cfg.Config.Missed
	if gap > 2*w.p.cfg.Config.Beat {
		w.missed = 0
		return false
	}
	w.missed++
	if w.missed >= limit {
		w.suspect(silent)
	}
	return w.missed%max(limit/2, 1) == 0
}

// suspect takes evidence, if the process was ever seen under this incarnation: a broker that nobody could reach from the beginning is not dead by that.
func (w *watch) suspect(evidence string) {
	if w.process == uuid.Nil || w.evidence != "" || w.p.stopping(w.reg) {
		return
	}
	w.evidence = evidence
	age := time.Since(w.seen)
	w.p.cfg.Events.Emit("peer.suspected", "id", w.reg.ID, "incarnation", w.reg.Incarnation, "evidence", evidence, "silent_ms", age.Milliseconds())
	w.p.cfg.Log.Warn("evidence that a broker is dead", "broker", w.reg.ID, "evidence", evidence, "silent", age.Round(time.Millisecond))
}

// evict acts on the evidence, if that is for this broker to do now. False: the service did not take it, try again soon.
func (w *watch) evict(ctx context.Context) bool {
	session, mine := w.p.acts(w.reg)
	if !mine {
		return true
	}
	ectx, cancel := context.WithTimeout(ctx, patience(w.tries))
	defer cancel()
	w.tries++
	err := session.Evict(ectx, w.reg)
	if err != nil && !errors.Is(err, coordination.ErrConflict) {
		w.p.cfg.Log.Debug("eviction not taken", "broker", w.reg.ID, "error", err)
		w.unknown = w.unknown || errors.Is(err, coordination.ErrOutcomeUnknown)
		return false
	}
	w.evicted = true
	if err == nil || w.unknown { // on a conflict another was faster, or its session is over; or it was our own try whose answer was lost
		w.tell(err == nil)
	}
	return true
}

func (w *watch) tell(certain bool) {
	w.p.cfg.Events.Emit("broker.evicted", "id", w.reg.ID, "incarnation", w.reg.Incarnation, "by", string(Peer), "evidence", w.evidence, "certain", certain)
	w.p.cfg.Log.Warn("broker evicted", "broker", w.reg.ID, "evidence", w.evidence, "certain", certain)
}
