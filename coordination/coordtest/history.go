package coordtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/chain"
	"github.com/regency-project/regency/coordination/faulty"
)

// A history: several processes campaign, commit, usurp, resign, evict each other and read, at random, while their connections, the processes themselves and the service
// are disturbed, at random. What they were told, and what every watch told, must be explained by one order of all operations (see verifyHistory).
//
//	process 0, 1   in the suite's process, each behind links of its own
//	process 2, 3   in the suite's process, between whose chain and store requests are lost, late, or not answered
//	process 4      a child, which is stopped and goes on
//	observer       a watch of its own on an undisturbed connection
//
// Each process draws its steps, and the disturber its faults, from a source of its own made of the seed: the same seed gives the same steps and faults in the same
// order. How they meet in time is the machine's.

// historyOptions vary a history.
type historyOptions struct {
	seed uint64
	// length is how long the processes act; killService whether the service's own leader is disturbed, too.
	length      time.Duration
	killService bool
	patience    time.Duration // at its end
	// watch decorates the observer's coordinator, for tests of the check itself.
	watch func(coordination.Coordinator) coordination.Coordinator
	// decorate decorates the processes' own.
	decorate func(coordination.Coordinator) coordination.Coordinator
}

// historySeed is REGENCY_SEED, or a new one.
func historySeed(e *env) uint64 {
	text := os.Getenv("REGENCY_SEED")
	if text == "" {
		return rand.Uint64()
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		e.Fatalf("REGENCY_SEED=%q: want a number: %v", text, err)
	}
	return seed
}

// testHistory: whatever the processes do and whatever happens to them, commits are linearizable, an epoch has one leader, numbers are dense, and every watch tells the
// chain.
func testHistory(e *env) {
	o := historyOptions{seed: historySeed(e), length: 7 * time.Second, patience: patience}
	o.killService = o.seed%4 == 0 // it takes seconds to repair
	if soak() {
		o.length, o.killService = 2*time.Minute, true
	}
	for _, err := range e.history(o) {
		e.Errorf("%v", err)
	}
	if e.Failed() {
		e.Logf("the same steps and faults again: REGENCY_SEED=%d", o.seed)
	}
}

// history is one run and its check.
func (e *env) history(o historyOptions) []error {
	e.Helper()
	h := &historyRun{e: e, o: o, began: time.Now()}
	h.ctx, h.cancel = context.WithCancel(e.ctx)
	defer h.cancel()
	co := e.coordinator()
	if s := e.session(co, coordination.SessionOptions{}); s != nil {
		if _, err := s.Bootstrap(e.ctx); err != nil {
			e.Fatalf("Bootstrap() = %v", err)
		}
	}
	watched := co
	if o.watch != nil {
		watched = o.watch(co)
	}
	observer := h.observe("the observer", watched)
	e.eventually(patience, "the observer's snapshot", func() error {
		observer.mu.Lock()
		defer observer.mu.Unlock()
		if !observer.mu.started {
			return errors.New("none yet")
		}
		return nil
	})
	h.addLinked(0)
	h.addLinked(1)
	h.addFaulty(2)
	h.addFaulty(3)
	h.addChild(4)
	h.act()
	h.conclude(co, observer)
	h.cancel()
	if err := h.watches.Wait(); err != nil {
		h.fault("%w", err)
	}
	errs := append(h.mu.faults, verifyHistory(h.streams(), h.mu.ops, time.Minute)...)
	e.Logf("seed %d: %d operations, of them %v; %d commits by %d leaders; %d faults",
		o.seed, len(h.mu.ops), h.counts(), observer.at(), len(observer.epochs()), h.disturbances)
	return errs
}

// historyRun is a history while it is made.
type historyRun struct {
	e            *env
	o            historyOptions
	ctx          context.Context
	cancel       context.CancelFunc
	began        time.Time
	processes    []*historyProcess
	faults       []func(r *rand.Rand) // what the disturber may do; each ends what it began
	disturbances int
	watches      errgroup.Group
	mu           struct {
		sync.Mutex
		ops     []operation
		streams []*stream
		faults  []error
	}
}

// historyProcess makes steps, here or in a child.
type historyProcess struct {
	id    int32
	do    func(ctx context.Context, st step) outcome
	close func(ctx context.Context) error
}

func (h *historyRun) fault(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.faults = append(h.mu.faults, fmt.Errorf(format, args...))
}

func (h *historyRun) streams() []*stream {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.streams
}

func (h *historyRun) counts() map[opKind]int {
	n := map[opKind]int{}
	for _, op := range h.mu.ops {
		n[op.kind]++
	}
	return n
}

// observe collects what a watch tells until the history ends.
func (h *historyRun) observe(name string, co coordination.Coordinator) *stream {
	s := newStream(name)
	h.mu.Lock()
	h.mu.streams = append(h.mu.streams, s)
	h.mu.Unlock()
	h.watches.Go(func() error { return s.follow(h.ctx, co) })
	return s
}

// add makes a process of the suite's own, which watches as well as it acts.
func (h *historyRun) add(id int32, open func(ctx context.Context) (coordination.Coordinator, error)) {
	a := &actor{id: id, log: h.e.logger, open: func(ctx context.Context) (coordination.Coordinator, error) {
		co, err := open(ctx)
		if err == nil && h.o.decorate != nil {
			co = h.o.decorate(co)
		}
		if err == nil {
			h.observe(fmt.Sprintf("process %d", id), co)
		}
		return co, err
	}}
	h.processes = append(h.processes, &historyProcess{id: id, do: a.do, close: a.close})
}

// addLinked adds a process whose connections are disturbed.
func (h *historyRun) addLinked(id int32) {
	if h.e.h.Via == nil {
		return
	}
	ls := h.e.links()
	h.add(id, func(ctx context.Context) (coordination.Coordinator, error) {
		return h.e.h.Open(ctx, ls.url, h.e.logger)
	})
	h.faults = append(h.faults, linkFaults(h, ls)...)
}

// addFaulty adds a process whose transactions are disturbed.
func (h *historyRun) addFaulty(id int32) {
	if h.e.h.OpenStore == nil {
		return
	}
	store, err := h.e.h.OpenStore(h.e.ctx, h.e.h.URL, h.e.logger)
	if err != nil {
		h.e.Fatalf("OpenStore() = %v", err)
	}
	f := faulty.Wrap(store)
	h.add(id, func(context.Context) (coordination.Coordinator, error) {
		return chain.New(f, chain.Options{Logger: h.e.logger}), nil
	})
	h.faults = append(h.faults, func(r *rand.Rand) {
		fates := make([]faulty.Fate, 1+r.IntN(3))
		for i := range fates {
			fates[i] = []faulty.Fate{faulty.Pass, faulty.LoseBefore, faulty.LoseAfter, faulty.Delay}[r.IntN(4)]
		}
		f.Next(fates...)
		h.rest(r, 300*time.Millisecond)
		f.Release()
	})
}

// addChild adds a process that is stopped.
func (h *historyRun) addChild(id int32) {
	if !h.e.coordinator().Capabilities().CrossProcess {
		return
	}
	c := h.e.child()
	h.processes = append(h.processes, &historyProcess{
		id: id,
		do: func(_ context.Context, st step) outcome {
			return c.must(order{Op: "step", ID: id, URL: h.e.h.URL, Step: &st}).Outcome
		},
		close: func(context.Context) error { c.kill(); return nil }, // it may lead, and would go on to
	})
	h.faults = append(h.faults, func(r *rand.Rand) {
		c.stop()
		h.rest(r, 2500*time.Millisecond)
		c.resume()
	})
}

// rest waits up to limit, or until the history ends.
func (h *historyRun) rest(r *rand.Rand, limit time.Duration) {
	t := time.NewTimer(time.Duration(r.Int64N(int64(limit))))
	defer t.Stop()
	select {
	case <-t.C:
	case <-h.ctx.Done():
	}
}

// act lets all processes and the disturber run for the history's length.
func (h *historyRun) act() {
	var over atomic.Bool
	var wg sync.WaitGroup
	for _, p := range h.processes {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(h.o.seed, uint64(p.id)+1))
			for n := 0; !over.Load(); n++ {
				st := h.draw(r, p.id, n)
				h.record(p, st)
				time.Sleep(time.Duration(r.IntN(15)) * time.Millisecond)
			}
		})
	}
	r := rand.New(rand.NewPCG(h.o.seed, 0))
	end := time.Now().Add(h.o.length)
	for n := 0; time.Now().Before(end); n++ {
		h.rest(r, 100*time.Millisecond)
		f := h.faults[r.IntN(len(h.faults))]
		f(r)
		h.disturbances++
		if h.o.killService && n%15 == 14 {
			h.disturbService(r)
		}
	}
	over.Store(true)
	wg.Wait()
}

func (h *historyRun) disturbService(r *rand.Rand) {
	f := h.e.h.KillLeader
	if r.IntN(2) == 0 {
		f = h.e.h.PauseLeader
	}
	if f == nil {
		return
	}
	restore := once(f(h.e.TB))
	h.e.Cleanup(restore) // for the tests that come after, also when this one ends here
	h.rest(r, 3*time.Second)
	restore()
	h.disturbances++
}

// draw makes the next step of a process. It draws the same numbers whatever the step becomes.
func (h *historyRun) draw(r *rand.Rand, id int32, n int) step {
	st := step{
		Kind: "commit", Key: r.IntN(historyKeys), Also: r.IntN(3*historyKeys) - 2*historyKeys, Value: fmt.Sprintf("%d-%d", id, n),
		Evict: int32(r.IntN(5)), Limit: time.Duration(100+r.IntN(400)) * time.Millisecond,
	}
	if st.Also < 0 {
		st.Also = -1
	}
	switch k := r.IntN(100); {
	case k < 8:
		st.Kind = "status"
	case k < 14:
		st.Kind = "snapshot"
	case k < 18:
		st.Kind = "usurp"
	case k < 20:
		st.Kind = "resign"
	case k < 21:
		st.Kind = "evict"
	case k < 22:
		st.Kind = "leave"
	}
	return st
}

// record makes a step and takes down what came of it, which it returns.
func (h *historyRun) record(p *historyProcess, st step) outcome {
	call := time.Since(h.began)
	out := p.do(h.ctx, st)
	ret := time.Since(h.began)
	if out.Fault != "" {
		h.fault("process %d: %s", p.id, out.Fault)
	}
	if out.Kind == "" {
		h.e.logger.Debug("step", "process", p.id, "kind", st.Kind, "note", out.Note)
		return out
	}
	op := operation{
		client: int(p.id), kind: out.Kind, epoch: out.Epoch, seq: out.Seq, edit: out.Edit, values: out.Values,
		call: call, ret: ret, open: out.Unknown, unknown: out.Unknown,
	}
	if op.kind != opCommit && op.kind != opFenced && op.kind != opRefused {
		op.edit = noEdit
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.ops = append(h.mu.ops, op)
	return out
}

// conclude: when nothing is disturbed any more, a new process comes to lead and to commit, and the observer sees it.
func (h *historyRun) conclude(co coordination.Coordinator, observer *stream) {
	for _, p := range h.processes {
		ctx, cancel := context.WithTimeout(h.e.ctx, patience)
		if err := p.close(ctx); err != nil {
			h.fault("close process %d: %w", p.id, err)
		}
		cancel()
	}
	last := &actor{id: 9, log: h.e.logger, co: co}
	p := &historyProcess{id: last.id, do: last.do}
	st := step{Kind: "commit", Value: "the last", Also: -1, Limit: patience}
	for deadline := time.Now().Add(2 * h.o.patience); ; {
		out := h.record(p, st)
		if last.leads != nil && last.known && last.values[0] == st.Value {
			break
		}
		if time.Now().After(deadline) {
			h.fault("nobody could commit within %v of the last disturbance; the last attempt: %s", 2*h.o.patience, out.Note)
			break
		}
	}
	final := h.e.status(co)
	for deadline := time.Now().Add(h.o.patience); observer.at() < final.Seq; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.fault("the observer is at %d after %v, the chain at %d", observer.at(), h.o.patience, final.Seq)
			break
		}
	}
	if last.session != nil {
		ctx, cancel := context.WithTimeout(h.e.ctx, patience)
		defer cancel()
		if err := last.session.Close(ctx); err != nil {
			h.e.Logf("Session.Close() = %v", err)
		}
	}
}
