package detector

import (
	"context"
	"errors"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/regency-project/regency/coordination"
)

// Evidence of a broker's death, as the timeline names it.
const (
	refused  = "refused"  // its connection broke and a redial was refused
	replaced = "replaced" // another process answers at its address
	silent   = "silent"   // it owes more answers than it may
)

const (
	// evictFirst bounds the first try to evict; each further one has twice the time, up to evictTimeout.
	evictFirst   = 100 * time.Millisecond
	evictTimeout = time.Second
	// evictPause is after each of the first evictQuick tries; each further pause has twice the length, up to evictTimeout.
	evictPause = 10 * time.Millisecond
	evictQuick = 32
)

// patience with one try: short at first, because a request that a service without a leader has taken may wait for longer than the election lasts (etcd asks
// again for a read's index every 500 ms), and growing, because a service under load may need long for every one.
func patience(try int) time.Duration { return min(evictFirst<<min(try, 10), evictTimeout) }

// pause after one try: short for as long as a service elects another leader and refuses meanwhile, because then each pause adds to the failover; growing
// afterwards, because all who watch the dead one try, and a service that is in trouble is not helped by that.
func pause(try int) time.Duration {
	return min(evictPause<<min(max(try-evictQuick+1, 0), 10), evictTimeout)
}

// watch watches one registration: one incarnation of one broker. Its fields belong to the goroutine of run.
type watch struct {
	p   *Peers
	reg coordination.Registered
	// connect opens a connection to it.
	connect func(ctx context.Context) (asked, error)

	process  uuid.UUID // that answered under this incarnation; Nil: none has yet, and nothing is evidence
	seen     time.Time // when it answered last
	missed   int       // beats since then
	evidence string    // empty: none
	evicted  bool      // the service took the eviction, or knows the registration no more
	unknown  bool      // an eviction's answer was lost
	tries    int       // to evict
	retry    time.Time // no further try before

	attempts []*attempt // under way, the oldest first
	heard    chan word
	redials  int // since the last answer
	running  sync.WaitGroup
}

func newWatch(p *Peers, r coordination.Registered, addr string) *watch {
	connect := func(ctx context.Context) (asked, error) {
		c, err := p.cfg.Dial(ctx, addr)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
	return &watch{p: p, reg: r, connect: connect, seen: time.Now(), heard: make(chan word)}
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
		if wait := w.act(life); wait > 0 {
			again = time.After(wait)
		}
		select {
		case <-ctx.Done():
			if w.unknown && !w.evicted && life.Err() == nil { // the registration is gone, most likely by our own try whose answer was lost
				w.tell(false)
			}
			return
		case <-again:
		case <-changed: // perhaps the session by which to evict
			w.retry = time.Time{}
		case <-viewed: // perhaps whose it is to evict
		case <-redial.C:
			if len(w.attempts) < maxAttempts { // else one of them began after the break
				w.dial(ctx)
			}
		case h := <-w.heard:
			i := slices.Index(w.attempts, h.from)
			switch {
			case h.err == nil:
				w.answered(h.self)
				if i >= 0 {
					redial.Stop()
					w.only(h.from)
				}
			case i >= 0:
				w.attempts = slices.Delete(w.attempts, i, i+1)
				redial.Reset(w.broken(h.err))
			}
		case <-tick.C:
			now := time.Now()
			if w.beat(now.Sub(last)) {
				w.dial(ctx)
			}
			last = now
		}
	}
}

// act evicts, if that is to be done now, and says after which time to try again; 0: not before something changes.
func (w *watch) act(life context.Context) time.Duration {
	if w.evidence == "" || w.evicted {
		return 0
	}
	if wait := time.Until(w.retry); wait > 0 {
		return wait
	}
	if w.evict(life) {
		return 0
	}
	wait := pause(w.tries - 1)
	w.retry = time.Now().Add(wait)
	return wait
}

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
			w.evidence, w.tries, w.retry = "", 0, time.Time{}
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

// beat counts what the broker owes, and says whether to try another connection beside the present one: that can be dead without either end knowing, or its
// answer on the way.
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
	return w.missed%((limit+1)/2) == 0
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
