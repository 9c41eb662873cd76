package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/regency-project/regency/bench/fault"
	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/bench/timeline"
)

// staged is a fault of a trial, made for whom it hits.
type staged struct {
	scenario.Fault
	fault fault.Fault
	hit   hit
	main  bool
	on    bool
}

// moment is when a fault begins or ends, since the first took effect.
type moment struct {
	at    time.Duration
	end   bool
	fault *staged
}

// stage makes every fault ready. One that has nobody to hit, because another hits them, is left out.
func (t *trial) stage(ctx context.Context) error {
	for i, f := range t.s.Faults {
		made := t.make(f, t.hits[i])
		if made == nil {
			continue
		}
		t.faults = append(t.faults, &staged{Fault: f, fault: made, hit: t.hits[i], main: i == t.s.MainIndex()})
		if err := made.SetUp(ctx); err != nil {
			return fmt.Errorf("fault %d: %w", i+1, err)
		}
	}
	if slices.ContainsFunc(t.faults, func(s *staged) bool { return s.main }) {
		return nil
	}
	if len(t.faults) == 0 || len(t.faults[0].hit.brokers) == 0 {
		return errors.New("nobody has the role of the main fault")
	}
	t.faults[0].main = true // its victim has the main fault's role as well
	t.victim.Broker = t.faults[0].hit.brokers[0]
	return nil
}

// make returns nil for a fault that hits nobody.
func (t *trial) make(f scenario.Fault, h hit) fault.Fault {
	switch f.Action {
	case scenario.Rolling:
		return fault.Rolling(func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, t.s.Phases.Heal)
			defer cancel()
			return t.cluster.AwaitHealthy(ctx)
		}, t.cluster.Brokers()...)
	case scenario.Starve:
		return fault.Starve(f.Burners, f.Nice, f.For+time.Minute)
	}
	if f.OnLink() {
		return t.makeLink(f, h)
	}
	var victims []fault.Victim
	for _, id := range h.brokers {
		victims = append(victims, t.cluster.Broker(id))
	}
	for _, i := range h.members {
		victims = append(victims, t.cluster.Member(i))
	}
	switch {
	case len(victims) == 0:
		return nil
	case f.Action == scenario.Kill:
		return fault.Kill(victims...)
	case f.Action == scenario.Stop:
		return fault.Stop(victims...)
	}
	return fault.Pause(victims...)
}

func (t *trial) makeLink(f scenario.Fault, h hit) fault.Fault {
	var legs []fault.Leg
	switch {
	case f.Role == scenario.Coordination:
		legs = t.cluster.MemberLegs(0, true)
	case len(h.members) > 0:
		legs = t.cluster.MemberLegs(h.members[0], false)
	case len(h.brokers) > 0:
		legs = t.cluster.BrokerLegs(f.Link, h.brokers[0])
	default:
		return nil
	}
	direction := map[string]fault.Direction{scenario.To: fault.To, scenario.From: fault.From}[f.Direction]
	switch f.Action {
	case scenario.Cut:
		return fault.Cut(legs...)
	case scenario.Blackhole:
		return fault.Blackhole(direction, legs...)
	}
	return fault.Shape(direction, f.Delay, f.Jitter, f.Rate, legs...)
}

// runFaults begins all faults and ends those that have a length.
func (t *trial) runFaults(ctx context.Context) error {
	var moments []moment
	for _, s := range t.faults {
		moments = append(moments, moment{s.After, false, s})
		if s.For > 0 || s.Action == scenario.Rolling {
			moments = append(moments, moment{s.After + s.For, true, s})
		}
	}
	slices.SortStableFunc(moments, func(a, b moment) int { return cmp.Compare(a.at, b.at) })
	var zero int64
	for _, m := range moments {
		if zero != 0 {
			if err := sleep(ctx, time.Duration(zero+m.at.Nanoseconds()-timeline.Now())); err != nil {
				return err
			}
		}
		var err error
		if m.end {
			err = t.end(ctx, m.fault)
		} else {
			var at int64
			if at, err = t.begin(ctx, m.fault); zero == 0 {
				zero = at
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// begin injects a fault and returns when it took effect.
func (t *trial) begin(ctx context.Context, s *staged) (int64, error) {
	s.on = true
	if s.OnLink() || s.Action != scenario.Kill {
		for _, id := range s.hit.brokers { // cut off or frozen past its session it may end by itself; stopped it does
			t.cluster.AllowEnd(id)
		}
	}
	if s.Action == scenario.Rolling {
		for id := range t.cluster.Addrs() {
			t.cluster.AllowEnd(id)
		}
	}
	e, err := fault.Begin(ctx, s.fault)
	if err != nil {
		return 0, err
	}
	if s.main {
		t.effect = e.Effect
	}
	t.step(s, e.Asked, timeline.StepAsked)
	if e.Closed != 0 {
		t.step(s, e.Closed, timeline.StepClosed)
	}
	t.step(s, e.Effect, timeline.StepEffect)
	return e.Effect, nil
}

// end takes a fault back. That a fault of links or of the CPU did not do what it should makes the trial invalid, not the cluster.
func (t *trial) end(ctx context.Context, s *staged) error {
	if !s.on {
		return nil
	}
	s.on = false
	var at int64
	take := func() (err error) {
		at, err = fault.End(ctx, s.fault)
		return err
	}
	var err error
	switch {
	case s.main && t.s.Outlives():
		err = t.tempt(ctx, s, take)
	default:
		err = take()
	}
	name := timeline.StepEnded
	switch s.Action {
	case scenario.Kill, scenario.Stop:
		name = timeline.StepRestarted
	case scenario.Pause:
		name = timeline.StepResumed
	}
	if at != 0 {
		t.step(s, at, name)
	}
	t.lastEnd = timeline.Now()
	if err != nil && ctx.Err() == nil && (s.OnLink() || s.Action == scenario.Starve) {
		t.timeline.Emit(timeline.TrialInvalid{Trial: t.id, Reason: firstLine(err)})
		return nil
	}
	return err
}

// endThose ends the faults that last until then.
func (t *trial) endThose(ctx context.Context, until string) error {
	for _, s := range t.faults {
		if s.Ends() == until {
			if err := t.end(ctx, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// cleanUp leaves no fault behind, whatever became of the trial.
func (t *trial) cleanUp() error {
	var errs []error
	for _, s := range t.faults {
		errs = append(errs, s.fault.CleanUp())
	}
	return errors.Join(errs...)
}

func (t *trial) step(s *staged, at int64, name string) {
	f := timeline.Fault{Trial: t.id, Step: name, Broker: t.victim.Broker}
	if !s.main {
		f.Broker, f.Aside, f.Action, f.Role = 0, true, s.Action, s.Role
		if len(s.hit.brokers) > 0 {
			f.Broker = s.hit.brokers[0]
		}
	}
	t.timeline.EmitAt(at, f)
}
