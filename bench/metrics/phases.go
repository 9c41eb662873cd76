package metrics

import (
	"slices"

	"github.com/regency-project/regency/bench/timeline"
)

// step is the end of a phase as the timeline shows it.
type step struct {
	t      int64
	broker int32 // 0: not a broker's event
}

// phases lays the observed steps on one path from the effect to the acknowledgement. A step that ended before the one ahead of it, or after the
// acknowledgement, was not on that path: it is null.
func (r *raw) phases(headline string, outages []Outage) []Phase {
	ends := map[string]*step{
		PhaseDetection:   r.detection(),
		PhaseElection:    r.election(),
		PhaseLoad:        r.load(),
		PhaseCommit:      r.commit(),
		PhaseServe:       r.serve(headline),
		PhaseAcknowledge: r.acknowledge(headline, outages),
	}
	limit := ends[PhaseAcknowledge]
	at := r.effect
	var list []Phase
	for _, name := range PhaseNames {
		p := Phase{Name: name}
		if s := ends[name]; s != nil && s.t >= at && (limit == nil || s.t <= limit.t) {
			p.StartMs, p.EndMs, p.WidthMs = number(r.since(at)), number(r.since(s.t)), number(float64(s.t-at)/1e6)
			if s.broker != 0 {
				p.Broker = &s.broker
			}
			at = s.t
		}
		list = append(list, p)
	}
	return list
}

func number(v float64) *float64 { return &v }

// detection is the first sign at a survivor: the registration is gone, or, when the controller died, another one has claimed.
func (r *raw) detection() *step {
	var first *step
	for _, e := range r.survivors("registration.gone") {
		var g struct {
			ID int32 `json:"id"`
		}
		if e.Decode(&g) == nil && g.ID == r.victim.Broker {
			first = &step{e.T, e.Broker}
			break
		}
	}
	if claimed := r.election(); claimed != nil && (first == nil || claimed.t < first.t) {
		return claimed
	}
	return first
}

// evidence is the first that a survivor suspects the victim, or the victim's guardian learns of its end. A guardian tells after it has acted, and how long that
// took. Its broker is the victim, so it is no survivor.
func (r *raw) evidence() *float64 {
	var first *float64
	for _, e := range r.window(r.asked, r.end()) {
		var v struct {
			ID   int32   `json:"id"`
			Took float64 `json:"took_ms"`
		}
		if e.Name != "peer.suspected" && e.Name != "guardian.acted" || e.Decode(&v) != nil || v.ID != r.victim.Broker {
			continue
		}
		if at := max(r.since(e.T)-v.Took, 0); first == nil || at < *first {
			first = &at
		}
	}
	return first
}

// ensemble is when the embedded ensemble that the victim led had elected another leader, as the first survivor learned, and how much later another controller claimed.
func (r *raw) ensemble() (elected, claimAfter *float64) {
	if l := r.victim.CoordinationLeader; l == nil || !*l {
		return nil, nil
	}
	for _, e := range r.survivors("ensemble.leader") {
		var v struct {
			Leader int32 `json:"leader"`
		}
		if e.Decode(&v) != nil || v.Leader == r.victim.Broker {
			continue
		}
		if claimed := r.election(); claimed != nil {
			claimAfter = number(float64(claimed.t-e.T) / 1e6)
		}
		return number(r.since(e.T)), claimAfter
	}
	return nil, nil
}

type epochEvent struct {
	Epoch int32 `json:"epoch"`
}

func (r *raw) election() *step {
	if !r.victim.Controller {
		return nil
	}
	for _, e := range r.survivors("controller.claimed") {
		return &step{e.T, e.Broker}
	}
	return nil
}

func (r *raw) load() *step {
	if !r.victim.Controller {
		return nil
	}
	for _, e := range r.survivors("controller.loaded") {
		return &step{e.T, e.Broker}
	}
	return nil
}

// commit is the one that took leadership from the victim. The controller logs it when its answer has come; another broker can have applied it by then,
// which is as good a proof.
func (r *raw) commit() *step {
	done, seq := r.committed()
	if done == nil {
		return nil
	}
	earlier := func(e timeline.Event) {
		if e.T < done.t {
			done = &step{e.T, e.Broker}
		}
	}
	for _, e := range r.survivors("view.applied") {
		var v struct {
			Seq int64 `json:"seq"`
		}
		if e.Decode(&v) == nil && v.Seq == seq {
			earlier(e)
		}
	}
	lost := make(map[key]bool)
	if r.before != nil {
		for _, p := range r.before.Partitions {
			lost[key{p.Topic, p.Partition}] = p.Leader == r.victim.Broker
		}
	}
	for _, e := range r.survivors("partition.leader") {
		var p key
		if e.Decode(&p) == nil && lost[p] {
			earlier(e)
		}
	}
	return done
}

func (r *raw) committed() (*step, int64) {
	for _, e := range r.survivors("controller.committed") {
		var c struct {
			Seq     int64   `json:"seq"`
			Brokers []int32 `json:"brokers"`
		}
		if e.Decode(&c) == nil && slices.Contains(c.Brokers, r.victim.Broker) {
			return &step{e.T, e.Broker}, c.Seq
		}
	}
	return nil, 0
}

// serve is when the last of the probed partitions has its new leader; for the control plane, when a broker has applied the commit.
func (r *raw) serve(headline string) *step {
	if headline == ClassControl {
		commit := r.commit()
		for _, e := range r.survivors("view.applied") {
			if commit != nil && e.T >= commit.t {
				return &step{e.T, e.Broker}
			}
		}
		return nil
	}
	first := make(map[key]*step)
	for _, e := range r.survivors("partition.leader") {
		var p key
		if e.Decode(&p) == nil && first[p] == nil {
			first[p] = &step{e.T, e.Broker}
		}
	}
	var last *step
	for p := range r.probed(headline) {
		if s := first[p]; s != nil && (last == nil || s.t > last.t) {
			last = s
		}
	}
	return last
}

// key names a partition.
type key struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
}

func (r *raw) probed(class string) map[key]bool {
	set := make(map[key]bool)
	for _, run := range r.runs {
		if run.Class == class {
			set[key{run.Topic, run.Partition}] = true
		}
	}
	return set
}

// acknowledge is when the last probed partition of the class that had an outage was written again. Null when one never was.
func (r *raw) acknowledge(headline string, outages []Outage) *step {
	var last *step
	for _, o := range outages {
		if o.Class != headline || o.StartMs == nil {
			continue
		}
		if !o.Recovered {
			return nil
		}
		end := r.effect + int64((*o.StartMs+*o.OutageMs)*1e6)
		for _, run := range r.runs {
			if run.Class == o.Class && (key{run.Topic, run.Partition}) == (key{o.Topic, o.Partition}) && run.OK && abs(run.From-end) < 1000 {
				if last == nil || run.Done > last.t {
					last = &step{t: run.Done}
				}
			}
		}
	}
	return last
}

func abs(v int64) int64 { return max(v, -v) }

// stepDown is when a resumed victim knew that it leads no more: its session is lost, or it follows.
func (r *raw) stepDown() *float64 {
	if r.resumed == 0 {
		return nil
	}
	for _, e := range r.window(r.resumed, max(r.end(), r.healed)) {
		if e.Broker != r.victim.Broker {
			continue
		}
		switch e.Name {
		case "session.lost", "controller.lost", "partition.follower", "broker.stopping":
			return number(float64(e.T-r.resumed) / 1e6)
		}
	}
	return nil
}

func zombie(r *raw) *Zombie {
	if r.resumed == 0 && r.zombie == nil {
		return nil
	}
	z := &Zombie{StepDownMs: r.stepDown()}
	if r.resumed != 0 {
		z.ResumedMs = number(r.since(r.resumed))
	}
	if r.zombie != nil {
		z.Refused, z.Accepted, z.Closed = r.zombie.Refused, r.zombie.Accepted, r.zombie.Closed
	}
	return z
}
