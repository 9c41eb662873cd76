// Package probe measures availability from outside. Real clients hide coordination time behind retries, back-off and cached metadata; a probe is one
// small request on a connection of its own that succeeds by its deadline or has failed.
//
// Each target (a partition, or the control plane) is probed open loop: probe n is due at start + n × interval, whatever became of the others. While
// the target is available a probe goes to the broker that accepted the last one, and on an error at once to the other replicas too; while it is not, a probe
// goes to every replica. The target was available at the probe's intended time if one of them accepts by the deadline.
package probe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"

	"github.com/regency-project/regency/bench/timeline"
)

// Target is what is probed.
type Target struct {
	Class     string
	Topic     string // "" for the control plane
	Partition int32  // -1 for the control plane
	Brokers   []int32
	First     int32 // the broker that is asked first: the leader
	Fetch     bool  // read, not written
	Interval  time.Duration
	Deadline  time.Duration
}

// ControlPlane returns the target of control-plane probes.
func ControlPlane(class string, brokers []int32, first int32, interval, deadline time.Duration) Target {
	return Target{Class: class, Partition: -1, Brokers: brokers, First: first, Interval: interval, Deadline: deadline}
}

// Records gives probes their values and learns what became of them. Its methods are called from many goroutines.
type Records interface {
	// Next returns a value to write to the partition, and the number to acknowledge it by.
	Next(topic string, partition int32, intended int64) (value []byte, seq uint64)
	Acked(topic string, partition int32, seq uint64, offset int64)
}

// Options of a Prober.
type Options struct {
	Trial   string
	Addrs   map[int32]string // of every broker
	Records Records
	Emit    func(timeline.ProbeRun)
	// ControlTopic prefixes the names of topics that control-plane probes make.
	ControlTopic string
}

// Prober probes until its context ends.
type Prober struct {
	o       Options
	targets []*target

	mu struct {
		sync.Mutex
		leftovers []string
		delay     *hdrhistogram.Histogram // microseconds
	}
}

type target struct {
	Target
	p     *Prober
	read  reading           // of a Fetch target
	lanes map[int32][]*lane // of each broker; probe n takes number n modulo their count

	mu struct {
		sync.Mutex
		tracker *tracker
		current int32 // who accepted last
		name    string
	}
}

// New makes a prober; Run starts it.
func New(o Options, targets []Target) (*Prober, error) {
	p := &Prober{o: o}
	p.mu.delay = hdrhistogram.New(1, time.Minute.Microseconds(), 3)
	for _, t := range targets {
		if t.Interval <= 0 || t.Deadline < t.Interval {
			return nil, fmt.Errorf("probe %s/%d: interval %v and deadline %v do not fit", t.Topic, t.Partition, t.Interval, t.Deadline)
		}
		for _, id := range append([]int32{t.First}, t.Brokers...) {
			if _, ok := o.Addrs[id]; !ok {
				return nil, fmt.Errorf("probe %s/%d: broker %d has no address", t.Topic, t.Partition, id)
			}
		}
		tg := &target{Target: t, p: p}
		tg.mu.current = t.First
		tg.mu.tracker = newTracker(timeline.ProbeRun{Trial: o.Trial, Class: t.Class, Topic: t.Topic, Partition: t.Partition}, o.Emit)
		p.targets = append(p.targets, tg)
	}
	return p, nil
}

// Run probes until ctx ends, waits for what is in flight, and emits the last runs.
func (p *Prober) Run(ctx context.Context) error {
	var group errgroup.Group
	for _, t := range p.targets {
		group.Go(func() error { return t.run(ctx) })
	}
	return group.Wait()
}

// Status is a target's state as of its newest resolved probe.
type Status struct {
	Target    Target
	Available bool // the newest probes are timeline.Successes in a row
	Failed    bool // a probe has failed since the start
	Probes    int64
}

// Status returns all targets' states.
func (p *Prober) Status() []Status {
	var list []Status
	for _, t := range p.targets {
		t.mu.Lock()
		list = append(list, Status{Target: t.Target, Available: t.mu.tracker.available(), Failed: t.mu.tracker.failed, Probes: t.mu.tracker.next})
		t.mu.Unlock()
	}
	return list
}

// Leftovers returns the topics that control-plane probes made. Those that were deleted are among them: a creation that was answered late, by another broker,
// can have made one again.
func (p *Prober) Leftovers() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.mu.leftovers)
}

// Delay tells how late probes were sent.
func (p *Prober) Delay() (p99, worst time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	us := func(v int64) time.Duration { return time.Duration(v) * time.Microsecond }
	return us(p.mu.delay.ValueAtQuantile(99)), us(p.mu.delay.Max())
}

func (p *Prober) late(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.mu.delay.RecordValue(min(max(d.Microseconds(), 0), time.Minute.Microseconds()))
}

// run owns the target's lanes and pace. The goroutines of its probes are bounded by deadline ÷ interval, since each ends by its deadline.
func (t *target) run(ctx context.Context) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	t.lanes = make(map[int32][]*lane)
	for _, id := range append([]int32{t.First}, t.Brokers...) {
		for len(t.lanes[id]) < t.width() {
			t.lanes[id] = append(t.lanes[id], newLane(life, t.p.o.Addrs[id]))
		}
	}
	if err := t.waitConnected(ctx); err != nil {
		t.close(end)
		return nil
	}
	var probes sync.WaitGroup
	start := timeline.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := int64(0); ; n++ {
		intended := start + n*t.Interval.Nanoseconds()
		timer.Reset(time.Duration(intended - timeline.Now()))
		select {
		case <-timer.C:
		case <-ctx.Done():
			probes.Wait()
			t.close(end)
			t.mu.Lock()
			t.mu.tracker.flush()
			t.mu.Unlock()
			return nil
		}
		t.p.late(time.Duration(timeline.Now() - intended))
		a := t.attempt(n, intended)
		probes.Go(func() { t.probe(n, intended, a) })
	}
}

// width is how many connections to each broker the target needs, so that no probe waits for the answer to one before it. A broker that is not the leader
// says so at once; one that passes a request on to a controller that is gone answers late, and in order.
func (t *target) width() int {
	if t.Topic != "" {
		return 1
	}
	return int(t.Deadline/t.Interval) + 1
}

func (t *target) close(end context.CancelFunc) {
	end()
	for _, list := range t.lanes {
		for _, l := range list {
			l.close()
		}
	}
}

// waitConnected gives the lanes time to connect before the first probe counts; a broker that cannot be reached does not hold the others up long.
func (t *target) waitConnected(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	connected := func(l *lane) bool { return l.connected() }
	for _, list := range t.lanes {
		for !slices.ContainsFunc(list, connected) {
			select {
			case <-tick.C:
			case <-ctx.Done():
				if errors.Is(ctx.Err(), context.DeadlineExceeded) {
					return nil
				}
				return ctx.Err()
			}
		}
	}
	return nil
}

func (t *target) attempt(n, intended int64) attempt {
	if t.Topic == "" {
		return t.controlAttempt(n)
	}
	if t.Fetch {
		return t.read.attempt(t.Topic, t.Partition)
	}
	value, seq := t.p.o.Records.Next(t.Topic, t.Partition, intended)
	return produceAttempt(t.Topic, t.Partition, value, t.Deadline, func(offset int64) {
		t.p.o.Records.Acked(t.Topic, t.Partition, seq, offset)
	})
}

// controlAttempt creates a topic of a new name, or deletes the one that the last successful creation made.
func (t *target) controlAttempt(n int64) attempt {
	t.mu.Lock()
	made := t.mu.name
	t.mu.name = ""
	t.mu.Unlock()
	if made != "" {
		return deleteAttempt(made, t.Deadline)
	}
	name := fmt.Sprintf("%s%d", t.p.o.ControlTopic, n)
	t.p.mu.Lock()
	t.p.mu.leftovers = append(t.p.mu.leftovers, name) // whatever is answered
	t.p.mu.Unlock()
	return createAttempt(name, t.Deadline, func() {
		t.mu.Lock()
		t.mu.name = name
		t.mu.Unlock()
	})
}

// probe sends a to the brokers and reports the outcome by the deadline.
func (t *target) probe(n, intended int64, a attempt) {
	deadline := time.NewTimer(time.Duration(intended + t.Deadline.Nanoseconds() - timeline.Now()))
	defer deadline.Stop()
	t.mu.Lock()
	current, healthy := t.mu.current, t.mu.tracker.streak > 0 || t.mu.tracker.next == 0
	t.mu.Unlock()

	answers := make(chan answer, len(t.lanes))
	asked := 0
	ask := func(id int32) {
		asked++
		list := t.lanes[id]
		sent := list[n%int64(len(list))].send(a.req)
		go func() { answers <- answer{broker: id, reply: <-sent} }()
	}
	askOthers := func() {
		for _, id := range t.Brokers {
			if id != current {
				ask(id)
			}
		}
	}
	ask(current)
	if !healthy {
		askOthers()
	}
	var first error
	for asked > 0 {
		select {
		case got := <-answers:
			asked--
			resp, err := a.outcome(got.reply)
			if err == nil {
				a.won(resp)
				t.resolve(n, intended, got.broker, nil)
				return
			}
			if first == nil || got.broker == current {
				first = err
			}
			if healthy {
				healthy = false
				askOthers()
			}
		case <-deadline.C:
			if first == nil {
				first = errLate
			}
			t.resolve(n, intended, 0, first)
			return
		}
	}
	t.resolve(n, intended, 0, first)
}

type answer struct {
	broker int32
	reply
}

var errLate = errors.New("no answer by the deadline")

func (t *target) resolve(n, intended int64, by int32, err error) {
	done := timeline.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		t.mu.current = by
	}
	t.mu.tracker.add(n, outcome{intended: intended, done: done, err: err})
}
