package metrics

import (
	"fmt"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/regency-project/regency/bench/scenario"
)

// trial computes one trial from what was collected of it.
func (r *raw) trial(s scenario.Scenario) Trial {
	t := Trial{ID: r.start.Trial, Block: r.start.Block, Reasons: []string{}, Phases: []Phase{}, Outages: []Outage{}, Classes: []ClassOutage{}, Clients: []ClientGap{}, Violations: []Violation{}}
	t.Checks = r.checks
	t.Violations = append(t.Violations, r.violated...)
	for _, d := range r.delays {
		if t.DelayP99 == nil || d.P99 > *t.DelayP99 {
			t.DelayP99 = number(d.P99)
		}
	}
	if s.Kind == scenario.Failover && r.victim != nil {
		r.failover(s, &t)
	}
	t.Reasons = append(t.Reasons, r.gates(s, t)...)
	t.Status = StatusOK
	if len(t.Reasons) > 0 {
		t.Status = StatusInvalid
	}
	if len(t.Violations) > 0 {
		t.Status = StatusVoid
		t.Reasons = append(t.Reasons, fmt.Sprintf("%d violations of correctness", len(t.Violations)))
	}
	return t
}

func (r *raw) failover(s scenario.Scenario, t *Trial) {
	v := r.victim
	t.Victim = &Victim{
		Broker: v.Broker, Controller: v.Controller, Leads: v.Leads, Follows: v.Follows,
		Replaced: r.replaced(s.Main().Role), CoordinationLeader: v.CoordinationLeader,
		both: s.Main().OnCoordination() && !s.Main().OnLink(),
	}
	t.Delivered = r.delivered()
	if r.effect == 0 {
		return
	}
	t.EffectMs = number(float64(r.effect-r.asked) / 1e6)
	t.Outages = append(t.Outages, r.outages()...)
	t.Classes = append(t.Classes, classes(t.Outages)...)
	headline := s.HeadlineClass()
	t.Phases = r.phases(headline, t.Outages)
	if d := r.detection(); d != nil {
		t.Detect = number(r.since(d.t))
	}
	t.Evidence = r.evidence()
	t.Ensemble, t.ClaimAfter = r.ensemble()
	for _, c := range t.Classes {
		if c.Class == headline {
			t.Headline = number(c.MaxMs)
			if t.Detect != nil {
				t.Remain = number(c.MaxMs - *t.Detect)
			}
		}
	}
	t.Zombie = zombie(r)
	t.Clients = append(t.Clients, r.clients(headline)...)
}

// clients computes what each client saw on the partitions that the headline is about.
func (r *raw) clients(headline string) []ClientGap {
	concerned := make(map[key]bool)
	if r.before != nil {
		for _, p := range r.before.Partitions {
			concerned[key{p.Topic, p.Partition}] = headline == ClassControl || headline == ClassData || p.Leader == r.victim.Broker ||
				headline == ClassFollowed && slices.Contains(p.Replicas, r.victim.Broker)
		}
	}
	var list []ClientGap
	at := make(map[string]int)
	of := func(name string) *ClientGap {
		if _, ok := at[name]; !ok {
			at[name] = len(list)
			list = append(list, ClientGap{Config: name})
		}
		return &list[at[name]]
	}
	for _, g := range r.gaps {
		c := of(g.Client)
		if width := float64(g.To-g.From) / 1e6; concerned[key{g.Topic, g.Partition}] && (c.GapMs == nil || width > *c.GapMs) {
			c.GapMs, c.Censored = number(width), g.open
		}
	}
	for _, b := range r.block.bins {
		if b.From < r.from || b.From > r.end() {
			continue
		}
		c := of(b.Client)
		c.Acked += int64(b.Acked)
		c.Errors += int64(b.Errors)
		if b.Acked > 0 && (c.MaxMs == nil || b.Max > *c.MaxMs) {
			c.MaxMs = number(b.Max)
		}
	}
	return list
}

// VariantBoth is the cell of trials whose victim was the controller and hosted the coordination leader, or of faults of coordination members that hit the brokers that host them.
const VariantBoth = "coordination-leader"

// Variant names the cell that the trial belongs to.
func (t Trial) Variant() string {
	if t.Victim != nil && t.Victim.CoordinationLeader != nil && *t.Victim.CoordinationLeader && (t.Victim.Controller || t.Victim.both) {
		return VariantBoth
	}
	return ""
}

// decodeHistogram returns nil for text that is no histogram; its writer is tested.
func decodeHistogram(text string) *hdrhistogram.Histogram {
	h, err := hdrhistogram.Decode([]byte(text))
	if err != nil {
		return nil
	}
	return h
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	ms := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1000 }
	return Latency{N: h.TotalCount(), P50Ms: ms(50), P99Ms: ms(99), P999Ms: ms(99.9), MaxMs: float64(h.Max()) / 1000}
}
