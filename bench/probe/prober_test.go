package probe

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/regency-project/regency/bench/timeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type records struct {
	mu    sync.Mutex
	seq   uint64
	acked map[uint64]int64
}

func (r *records) Next(string, int32, int64) ([]byte, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq++
	return []byte("value"), r.seq
}

func (r *records) Acked(_ string, _ int32, seq uint64, offset int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acked[seq] = offset
}

type running struct {
	*Prober
	t    *testing.T
	recs *records
	mu   sync.Mutex
	runs []timeline.ProbeRun
	end  func()
}

func start(t *testing.T, targets []Target, brokers map[int32]*fakeBroker) *running {
	t.Helper()
	r := &running{t: t, recs: &records{acked: map[uint64]int64{}}}
	addrs := map[int32]string{}
	for id, b := range brokers {
		addrs[id] = b.addr()
	}
	p, err := New(Options{Trial: "x", Addrs: addrs, Records: r.recs, ControlTopic: "control-", Emit: func(run timeline.ProbeRun) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.runs = append(r.runs, run)
	}}, targets)
	if err != nil {
		t.Fatal(err)
	}
	r.Prober = p
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	r.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(r.end)
	return r
}

func (r *running) until(what string, holds func(Status) bool) {
	r.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds(r.Status()[0]) {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain for: %s; status %+v", what, r.Status()[0])
		}
		time.Sleep(time.Millisecond)
	}
}

func (r *running) more(n int64) {
	from := r.Status()[0].Probes
	r.until("more probes", func(s Status) bool { return s.Probes >= from+n })
}

// outage sums the failed runs up: it must lie between low and high.
func (r *running) outage() (failed time.Duration, runs []timeline.ProbeRun) {
	r.end()
	r.mu.Lock()
	defer r.mu.Unlock()
	var from, to int64
	for _, run := range r.runs {
		if !run.OK && from == 0 {
			from = run.From
		}
		if run.OK && from != 0 {
			to = run.From
		}
	}
	return time.Duration(to - from), r.runs
}

func partition(brokers ...int32) Target {
	return Target{Class: "led", Topic: "probe", Partition: 3, Brokers: brokers, First: brokers[0], Interval: 10 * time.Millisecond, Deadline: 100 * time.Millisecond}
}

func TestKilledLeaderAndItsSuccessor(t *testing.T) {
	one, two := newFakeBroker(t), newFakeBroker(t)
	two.set(refusing)
	r := start(t, []Target{partition(1, 2)}, map[int32]*fakeBroker{1: one, 2: two})
	r.until("availability", func(s Status) bool { return s.Available })
	one.set(dead)
	r.until("a failed probe", func(s Status) bool { return s.Failed && !s.Available })
	began := time.Now()
	r.more(20)
	two.set(serving)
	took := time.Since(began)
	r.until("recovery", func(s Status) bool { return s.Available })
	failed, runs := r.outage()
	if failed < took-50*time.Millisecond || failed > took+2*time.Second {
		t.Errorf("outage = %v, want about %v: %+v", failed, took, runs)
	}
	var probes int
	for _, run := range runs {
		probes += run.N
		if !run.OK && run.Error == "" {
			t.Errorf("a failed run without an error: %+v", run)
		}
	}
	if int64(probes) != r.Status()[0].Probes {
		t.Errorf("runs hold %d probes, want %d", probes, r.Status()[0].Probes)
	}
}

func TestFrozenLeaderFailsProbesByTheirDeadline(t *testing.T) {
	one, two := newFakeBroker(t), newFakeBroker(t)
	two.set(refusing)
	r := start(t, []Target{partition(1, 2)}, map[int32]*fakeBroker{1: one, 2: two})
	r.until("availability", func(s Status) bool { return s.Available })
	one.set(silent)
	r.until("a failed probe", func(s Status) bool { return s.Failed })
	r.more(50) // more than maxInFlight: the lane must not grow
	two.set(serving)
	r.until("recovery", func(s Status) bool { return s.Available })
	one.set(serving) // what it held comes late and must not count
	r.more(10)
	if failed, runs := r.outage(); failed < 300*time.Millisecond {
		t.Errorf("outage = %v, want at least the 50 probes of 10 ms less some scheduling: %+v", failed, runs)
	}
	r.recs.mu.Lock()
	defer r.recs.mu.Unlock()
	offsets := map[int64]int{}
	for _, o := range r.recs.acked {
		offsets[o]++
	}
	if len(r.recs.acked) == 0 {
		t.Error("no probe was acknowledged")
	}
}

func TestLeadershipThatMovesWithoutFailureIsNoOutage(t *testing.T) {
	one, two := newFakeBroker(t), newFakeBroker(t)
	r := start(t, []Target{partition(1, 2)}, map[int32]*fakeBroker{1: one, 2: two})
	r.until("availability", func(s Status) bool { return s.Available })
	one.set(refusing)
	r.more(20)
	if got := r.Status()[0]; got.Failed || !got.Available {
		t.Errorf("status = %+v, want available and not failed: the other replica accepted", got)
	}
}

func TestControlPlaneProbesCreateAndDelete(t *testing.T) {
	one, two := newFakeBroker(t), newFakeBroker(t)
	target := ControlPlane("control", []int32{1, 2}, 1, 10*time.Millisecond, 200*time.Millisecond)
	r := start(t, []Target{target}, map[int32]*fakeBroker{1: one, 2: two})
	r.more(10)
	one.set(dead)
	two.set(refusing)
	r.until("an outage", func(s Status) bool { return s.Failed && !s.Available })
	two.set(serving)
	r.until("recovery", func(s Status) bool { return s.Available })
	r.end()
	known := map[string]bool{}
	for _, name := range r.Leftovers() {
		known[name] = true
	}
	for _, b := range []*fakeBroker{two} { // the dead one took its topics along
		b.mu.Lock()
		for name := range b.mu.topics {
			if !known[name] {
				t.Errorf("topic %s exists and is not among the leftovers", name)
			}
		}
		b.mu.Unlock()
	}
}

func TestNewRefusesATargetWithoutAddress(t *testing.T) {
	if _, err := New(Options{Addrs: map[int32]string{1: "127.0.0.1:1"}}, []Target{partition(1, 9)}); err == nil {
		t.Error("a replica without address was taken")
	}
}

func (b *fakeBroker) commit(to int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.committed = to
}

// A new leader that does not serve yet what a consumer was shown is an outage of reads, although it answers.
func TestReadsOfWhatIsCommitted(t *testing.T) {
	one, two := newFakeBroker(t), newFakeBroker(t)
	two.set(refusing)
	r := start(t, []Target{partition(1, 2).Reads("led-read")}, map[int32]*fakeBroker{1: one, 2: two})
	r.until("availability of an empty partition", func(s Status) bool { return s.Available })
	one.commit(10)
	r.more(20)
	one.set(dead)
	r.until("a failed probe", func(s Status) bool { return s.Failed && !s.Available })
	two.commit(4)
	two.set(serving)
	r.more(20)
	if s := r.Status()[0]; s.Available {
		t.Error("available, and the newest committed record is not served")
	}
	two.commit(10)
	r.until("availability", func(s Status) bool { return s.Available })
	_, runs := r.outage()
	if runs[0].Class != "led-read" || len(r.recs.acked) != 0 {
		t.Errorf("class %q, %d records written", runs[0].Class, len(r.recs.acked))
	}
	for _, run := range runs {
		if !run.OK && run.Error == "" {
			t.Errorf("a failed run without an error: %+v", run)
		}
	}
}
