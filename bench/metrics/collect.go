package metrics

import (
	"fmt"
	"slices"

	"github.com/regency-project/regency/bench/timeline"
)

// raw is what the timeline holds of one trial.
type raw struct {
	start     timeline.TrialStarted
	from, to  int64 // of the observation; to is 0 when it never ended
	healed    int64
	effect    int64 // fault took effect; 0: it did not
	asked     int64
	resumed   int64
	restarted int64
	ended     int64 // a fault that neither froze nor killed was taken back
	victim    *timeline.Victim
	before    *timeline.Roles
	after     *timeline.Roles
	runs      []timeline.ProbeRun
	gaps      []ackGap
	latency   []timeline.LoadLatency
	delays    []timeline.Delay
	round     *timeline.Round
	invalid   []string
	checks    Checks
	checked   bool // the checks were made
	violated  []Violation
	zombie    *timeline.Zombie
	block     *rawBlock
}

// rawBlock is what the timeline holds of one cluster's life.
type rawBlock struct {
	number  int
	started timeline.BlockStarted
	ended   bool
	end     string // its error
	brokers []timeline.Event
	bins    []timeline.LoadBin
	disks   timeline.Disks
	usage   []usageAt
	trials  []*raw
}

// failure says in a sentence how the block failed; empty when it came to its end.
func (b *rawBlock) failure() string {
	switch {
	case !b.ended:
		return "its block did not come to its end"
	case b.end != "":
		return "its block ended with an error: " + b.end
	}
	return ""
}

// cutSlack is how long before it was written down a gap may have ended and still be taken for open: a client cuts its gaps at the instant when it writes
// them down, so that an open one ends just then. A gap that happened to be closed that late is called open too, which overstates nothing.
const cutSlack = 50e6

type ackGap struct {
	timeline.AckGap
	open bool
}

type usageAt struct {
	t int64
	timeline.Usage
}

// collect sorts the events out by block and trial, and the latencies of ProbeCostTrial aside. Events come in the order of their time.
func collect(events []timeline.Event) ([]*rawBlock, []timeline.LoadLatency, error) {
	c := &collector{trials: make(map[string]*raw)}
	for _, e := range events {
		if err := c.add(e); err != nil {
			return nil, nil, fmt.Errorf("read the timeline: %w", err)
		}
	}
	return c.blocks, c.aside, nil
}

type collector struct {
	blocks []*rawBlock
	trials map[string]*raw
	aside  []timeline.LoadLatency
}

func (c *collector) current() *rawBlock {
	if len(c.blocks) == 0 {
		return nil
	}
	return c.blocks[len(c.blocks)-1]
}

func (c *collector) add(e timeline.Event) error {
	block := c.current()
	if e.Name == timeline.NameBlockStarted {
		var b timeline.BlockStarted
		if err := e.Decode(&b); err != nil {
			return err
		}
		c.blocks = append(c.blocks, &rawBlock{number: b.Block, started: b})
		return nil
	}
	if block == nil {
		return nil
	}
	if e.Broker != 0 {
		block.brokers = append(block.brokers, e)
		return nil
	}
	switch e.Name {
	case timeline.NameTrialStarted:
		r := &raw{from: e.T, block: block}
		if err := e.Decode(&r.start); err != nil {
			return err
		}
		c.trials[r.start.Trial] = r
		block.trials = append(block.trials, r)
		return nil
	case timeline.NameBlockEnded:
		var b timeline.BlockEnded
		err := e.Decode(&b)
		block.ended, block.end = true, b.Error
		return err
	case timeline.NameDisks:
		return e.Decode(&block.disks)
	case timeline.NameLoadBin:
		return appendTo(&block.bins, e)
	case timeline.NameUsage:
		u := usageAt{t: e.T}
		err := e.Decode(&u.Usage)
		block.usage = append(block.usage, u)
		return err
	}
	if r := c.trials[e.Trial]; r != nil {
		return r.add(e)
	}
	if e.Trial == ProbeCostTrial && e.Name == timeline.NameLoadLatency {
		return appendTo(&c.aside, e)
	}
	return nil
}

func appendTo[T any](list *[]T, e timeline.Event) error {
	var v T
	err := e.Decode(&v)
	*list = append(*list, v)
	return err
}

func (r *raw) add(e timeline.Event) error {
	switch e.Name {
	case timeline.NameTrialEnded:
		r.to = e.T
	case timeline.NameTrialHealed:
		r.healed = e.T
	case timeline.NameTrialInvalid:
		var v timeline.TrialInvalid
		err := e.Decode(&v)
		r.invalid = append(r.invalid, v.Reason)
		return err
	case timeline.NameVictim:
		r.victim = new(timeline.Victim)
		return e.Decode(r.victim)
	case timeline.NameRoles:
		v := new(timeline.Roles)
		err := e.Decode(v)
		if v.When == "before" {
			r.before = v
		} else {
			r.after = v
		}
		return err
	case timeline.NameFault:
		return r.fault(e)
	case timeline.NameProbeRun:
		return appendTo(&r.runs, e)
	case timeline.NameAckGap:
		var g timeline.AckGap
		err := e.Decode(&g)
		r.gaps = append(r.gaps, ackGap{g, e.T-g.To < cutSlack})
		return err
	case timeline.NameLoadLatency:
		return appendTo(&r.latency, e)
	case timeline.NameDelay:
		return appendTo(&r.delays, e)
	case timeline.NameRound:
		r.round = new(timeline.Round)
		return e.Decode(r.round)
	case timeline.NameZombie:
		r.zombie = new(timeline.Zombie)
		return e.Decode(r.zombie)
	case timeline.NameChecked:
		r.checked = true
		return e.Decode(&r.checks)
	case timeline.NameViolation:
		var v timeline.Violation
		err := e.Decode(&v)
		r.violated = append(r.violated, Violation{Trial: v.Trial, Check: v.Check, Detail: v.Detail})
		return err
	}
	return nil
}

func (r *raw) fault(e timeline.Event) error {
	var f timeline.Fault
	if err := e.Decode(&f); err != nil {
		return err
	}
	if f.Aside {
		return nil
	}
	switch f.Step {
	case timeline.StepAsked:
		r.asked = e.T
	case timeline.StepEffect:
		r.effect = e.T
	case timeline.StepResumed:
		r.resumed = e.T
	case timeline.StepRestarted:
		r.restarted = e.T
	case timeline.StepEnded:
		r.ended = e.T
	}
	return nil
}

// end is when the observation ended, or the latest that is known.
func (r *raw) end() int64 {
	if r.to != 0 {
		return r.to
	}
	last := r.from
	for _, run := range r.runs {
		last = max(last, run.To)
	}
	return last
}

// survivors returns the events of brokers other than the victim from the effect to the end of the observation, by name.
func (r *raw) survivors(name string) []timeline.Event {
	var list []timeline.Event
	for _, e := range r.window(r.effect, r.end()) {
		if e.Name == name && e.Broker != r.victim.Broker {
			list = append(list, e)
		}
	}
	return list
}

// window returns the brokers' events in [from, to].
func (r *raw) window(from, to int64) []timeline.Event {
	at := func(t int64) int {
		i, _ := slices.BinarySearchFunc(r.block.brokers, t, func(e timeline.Event, t int64) int {
			if e.T < t {
				return -1
			}
			return 1
		})
		return i
	}
	lo, hi := at(from), at(to+1)
	if hi < lo {
		return nil
	}
	return r.block.brokers[lo:hi]
}

// since is t in milliseconds after the effect.
func (r *raw) since(t int64) float64 { return float64(t-r.effect) / 1e6 }
