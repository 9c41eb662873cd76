package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/plan"
	"github.com/regency-project/regency/bench/probe"
	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/bench/target"
	"github.com/regency-project/regency/bench/timeline"
	"github.com/regency-project/regency/bench/workload"
)

const (
	pollEvery   = 10 * time.Millisecond
	leastImpact = 300 * time.Millisecond // after the effect every probe that it hit has failed by now
	settled     = time.Second            // after the end of a fault that had a length
	leastBound  = 3 * time.Second        // of a victim that is cut off: there is no configured bound for it
)

// trial is one failover that is under way.
type trial struct {
	*block
	id      string
	s       scenario.Scenario
	hits    []hit // of each of the scenario's faults
	faults  []*staged
	victim  timeline.Victim
	prober  *probe.Prober
	led     []probe.Target
	before  target.View        // just before the fault
	effect  int64              // of the main fault
	lastEnd int64              // of the newest fault that was taken back; 0: none was
	stop    context.CancelFunc // of the prober
	stopped chan error
}

// failover runs one trial and heals the cluster. Errors are of the cluster or the harness; a trial that only must not count says so in the timeline.
func (b *block) failover(ctx context.Context, item plan.Item, s scenario.Scenario) (err error) {
	if err := b.ensureLoad(ctx, s); err != nil {
		return err
	}
	if err := b.awaitClients(ctx, s); err != nil {
		return err
	}
	t := &trial{block: b, id: item.Trial, s: s}
	view, err := b.view(ctx, 0)
	if err != nil {
		return err
	}
	b.start(item)
	if err := t.choose(ctx, view); err != nil {
		b.timeline.Emit(timeline.TrialInvalid{Trial: t.id, Reason: err.Error()})
		b.timeline.Emit(timeline.TrialEnded{Trial: t.id})
		return nil
	}
	defer func() { err = errors.Join(err, t.cleanUp()) }()
	if err := t.stage(ctx); err != nil {
		return err
	}
	if err := t.startProber(ctx, view); err != nil {
		return err
	}
	err = t.observe(ctx)
	err = errors.Join(err, t.stopProber())
	if err != nil {
		return err
	}
	t.cut()
	if err := b.pump(); err != nil {
		return err
	}
	b.timeline.Emit(timeline.TrialEnded{Trial: t.id})
	return t.heal(ctx)
}

// view asks the first broker that answers, other than except.
func (b *block) view(ctx context.Context, except int32) (target.View, error) {
	var errs []error
	for id := int32(1); int(id) <= b.plan.Cluster.Brokers; id++ {
		if id == except {
			continue
		}
		v, err := b.cluster.View(ctx, id)
		if err == nil {
			return v, nil
		}
		errs = append(errs, err)
	}
	return target.View{}, errors.Join(errs...)
}

func (t *trial) startProber(ctx context.Context, view target.View) error {
	left := map[string]int{
		metrics.ClassLed: t.s.Probes.Led, metrics.ClassFollowed: t.s.Probes.Followed, metrics.ClassUntouched: t.s.Probes.Untouched,
		metrics.ClassData: t.s.Probes.Data,
	}
	var targets []probe.Target
	parts := slices.Clone(view.Partitions)
	t.rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	for _, p := range parts {
		c := t.class(p)
		if p.Topic != scenario.TopicProbe || left[c] == 0 {
			continue
		}
		left[c]--
		tg := probe.Target{
			Class: c, Topic: p.Topic, Partition: p.Partition, Brokers: p.Replicas, First: p.Leader, Interval: t.s.Probes.Interval, Deadline: t.s.Probes.Deadline,
		}
		targets = append(targets, tg, tg.Reads(metrics.ReadClass(c)))
		if c == metrics.ClassLed {
			t.led = append(t.led, tg)
		}
	}
	if every := t.s.Probes.Control; every > 0 {
		first := view.Brokers[0]
		if first == t.victim.Broker {
			first = view.Brokers[1]
		}
		// A broker may hold a request until there is a controller again, and a probe that is held is a success from its intended time on: the deadline
		// bounds by how much an outage can look shorter than it was.
		targets = append(targets, probe.ControlPlane(metrics.ClassControl, view.Brokers, first, every, max(2*every, t.s.Probes.Deadline)))
	}
	var err error
	t.prober, err = probe.New(probe.Options{
		Trial: t.id, Addrs: t.cluster.Addrs(), Records: t.probes, Emit: func(r timeline.ProbeRun) { t.timeline.EmitAt(r.From, r) },
		ControlTopic: fmt.Sprintf("%s%d-", timeline.ControlPrefix, timeline.Now()),
	}, targets)
	if err != nil {
		return err
	}
	probing, stop := context.WithCancel(ctx)
	t.stop, t.stopped = stop, make(chan error, 1)
	go func() { t.stopped <- t.prober.Run(probing) }()
	return nil
}

func (t *trial) stopProber() error {
	t.stop()
	return <-t.stopped
}

// awaitClients waits until no client still works off what the fault before this one had held up: default clients sleep for seconds. It gives up when
// healing would; the gates then judge the steady phase as it was.
func (b *block) awaitClients(ctx context.Context, s scenario.Scenario) error {
	deadline := time.Now().Add(s.Phases.Heal)
	most := int64(s.Workload.Rate / 10) // 100 ms of load: more than a healthy cluster ever holds
	for slices.ContainsFunc(b.producers, func(p *workload.Producer) bool { return p.Backlog() > most }) && time.Now().Before(deadline) {
		if err := sleep(ctx, pollEvery); err != nil {
			return err
		}
	}
	return nil
}

// observe runs the phases from steady to recovery.
func (t *trial) observe(ctx context.Context) error {
	for _, p := range t.producers {
		p.Begin()
	}
	jitter := time.Duration(t.rng.Int64N(int64(t.s.Phases.Jitter) + 1))
	if err := sleep(ctx, t.s.Phases.Steady+jitter); err != nil {
		return err
	}
	if err := t.roles(ctx, "before"); err != nil {
		return err
	}
	t.timeline.Emit(t.victim)
	t.usage()
	for _, p := range t.producers {
		if err := p.CutLatency(t.id, "steady"); err != nil {
			return err
		}
	}
	if err := t.runFaults(ctx); err != nil {
		return err
	}
	t.awaitRecovery(ctx)
	if err := t.awaitReplaced(ctx); err != nil {
		return err
	}
	if err := t.endThose(ctx, scenario.Recovered); err != nil {
		return err
	}
	return sleep(ctx, t.s.Phases.Recovery)
}

func (t *trial) roles(ctx context.Context, when string) error {
	except := int32(0)
	if when == "after" {
		except = t.victim.Broker
	}
	view, err := t.view(ctx, except)
	if err != nil {
		return err
	}
	r := timeline.Roles{Trial: t.id, When: when, Controller: view.Controller, Partitions: view.Partitions}
	if leader, err := t.cluster.CoordinationLeader(ctx); err == nil {
		r.Leader = &leader
	}
	if when == "before" { // what the victim is may have changed since it was chosen: the gates judge what it was when the fault came
		t.describeVictim(ctx, view)
		t.before = view
	} else {
		t.judgeMoved(view)
	}
	t.timeline.Emit(r)
	return nil
}

// awaitRecovery returns when every probed target is available again and the survivors have noticed the fault, or when the phase's limit is over: what
// has not recovered by then is written down as such. Of faults that are over it waits for what they leave behind.
func (t *trial) awaitRecovery(ctx context.Context) {
	upper := t.bound()
	over := !slices.ContainsFunc(t.faults, func(s *staged) bool { return s.on })
	noticed := t.victim.Broker == 0
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		elapsed := time.Duration(timeline.Now() - max(t.effect, t.lastEnd))
		if elapsed > t.s.Phases.Impact {
			return
		}
		if !noticed {
			noticed = t.noticed()
		}
		long := elapsed > 2*upper
		switch {
		case over && elapsed > settled && t.recovered(true):
			return
		case !over && elapsed > leastImpact && t.recovered(long) && (noticed || long):
			return
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return
		}
	}
}

func (t *trial) bound() time.Duration {
	least := time.Duration(0)
	f := t.s.Main()
	if f.OnLink() {
		least, f = leastBound, scenario.Fault{Action: scenario.Pause, Role: f.Role}
	}
	for _, b := range t.manifest.Backends {
		if b.Name != t.plan.Backend {
			continue
		}
		if bound := b.BoundOf(t.plan.Profile, f); bound != nil {
			return max(least, time.Duration(bound.UpperMs*1e6))
		}
	}
	return least
}

// recovered: all are available, and what the fault was aimed at has been seen to fail, unless it was waited for that long enough.
func (t *trial) recovered(long bool) bool {
	hit := long
	for _, s := range t.prober.Status() {
		if !s.Available {
			return false
		}
		hit = hit || (s.Failed && s.Target.Class == t.s.HeadlineClass())
	}
	return hit
}

// noticed takes over the brokers' events and looks for the first sign of detection.
func (t *trial) noticed() bool {
	events, err := t.cluster.Events()
	if err != nil {
		return false // the same error comes again from pump, where it is handled
	}
	t.timeline.Add(events...)
	for _, e := range events {
		var gone struct {
			ID int32 `json:"id"`
		}
		if e.Name == "registration.gone" && e.T >= t.effect && e.Broker != t.victim.Broker && e.Decode(&gone) == nil && gone.ID == t.victim.Broker {
			return true
		}
	}
	return false
}

// awaitReplaced waits a little for the survivors' metadata to say what the probes have shown, and writes the roles down.
func (t *trial) awaitReplaced(ctx context.Context) error {
	if !t.s.Replaces() {
		return t.roles(ctx, "after")
	}
	deadline := time.Now().Add(2 * time.Second)
	for {
		view, err := t.view(ctx, t.victim.Broker)
		if err == nil && view.Controller != t.victim.Broker {
			if leads, _ := duties(view, t.victim.Broker, ""); leads == 0 {
				break
			}
		}
		if time.Now().After(deadline) {
			break // the gates will say what is missing
		}
		if err := sleep(ctx, pollEvery); err != nil {
			return err
		}
	}
	return t.roles(ctx, "after")
}

// cut writes down what prober and clients measured.
func (t *trial) cut() {
	p99, worst := t.prober.Delay()
	t.timeline.Emit(timeline.Delay{Trial: t.id, Source: "probe", P99: p99.Seconds() * 1000, Max: worst.Seconds() * 1000})
	for _, p := range t.producers {
		p.CutTrial(t.id)
	}
}

// heal makes the cluster whole again.
func (t *trial) heal(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, t.s.Phases.Heal, fmt.Errorf("not healed after %v", t.s.Phases.Heal))
	defer cancel()
	if err := t.endThose(ctx, scenario.Healed); err != nil {
		return err
	}
	if err := t.cluster.DeleteTopics(ctx, t.prober.Leftovers()); err != nil {
		return err
	}
	if err := t.cluster.AwaitHealthy(ctx); err != nil {
		return err
	}
	if err := t.cluster.AwaitBalanced(ctx); err != nil {
		return err
	}
	if err := t.cluster.AwaitHealthy(ctx); err != nil { // the move is a commit that every broker must have seen
		return err
	}
	if err := t.pump(); err != nil {
		return err
	}
	t.timeline.Emit(timeline.TrialHealed{Trial: t.id})
	return nil
}
