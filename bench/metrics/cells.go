package metrics

import (
	"fmt"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/bench/stats"
)

// entry is a trial with what it was computed from.
type entry struct {
	Trial
	raw *raw
}

// cell computes one cell from its trials, which are in the order of their run. shaken are violations of trials that are not shown (warm-ups).
func cell(m Manifest, profile, variant, backend string, s scenario.Scenario, all []entry, shaken []Violation) Cell {
	c := Cell{
		Profile: profile, Scenario: s.Name, Backend: backend, Variant: variant, Status: StatusOK,
		Outages: []ClassSummary{}, Phases: []PhaseSummary{}, Clients: []ClientSummary{}, Violations: append([]Violation{}, shaken...), Trials: []Trial{},
	}
	if s.Kind == scenario.Failover {
		c.Bound = m.backend(backend).BoundOf(profile, s.Main())
	}
	var good []entry
	for _, e := range all {
		c.Trials = append(c.Trials, e.Trial)
		c.Violations = append(c.Violations, e.Violations...)
		if e.Status != StatusOK {
			c.Invalid++
			continue
		}
		c.Valid++
		c.Checks.add(e.Checks)
		good = append(good, e)
	}
	c.status(m.backend(backend))
	if len(good) == 0 {
		return c
	}
	if s.Kind == scenario.Failover {
		c.failover(s, good)
	} else {
		c.throughput(good)
	}
	c.Cost = cost(s, good)
	return c
}

func (c *Cell) status(b BackendInfo) {
	switch {
	case len(c.Violations) > 0:
		c.Status, c.Reason = StatusVoid, fmt.Sprintf("%d violations of correctness", len(c.Violations))
	case len(c.Trials) == 0 && b.Status != StatusOK:
		c.Status, c.Reason = StatusNotRun, b.Reason
	case len(c.Trials) == 0:
		c.Status, c.Reason = StatusNotRun, "the run ended before it"
	case c.Valid == 0:
		c.Status, c.Reason = StatusInvalid, c.Trials[len(c.Trials)-1].Reasons[0]
	}
}

func (c *Checks) add(o Checks) {
	c.Acknowledged += o.Acknowledged
	c.Read += o.Read
	c.Lost += o.Lost
	c.Duplicated += o.Duplicated
	c.Reordered += o.Reordered
	c.Corrupt += o.Corrupt
	c.Unknown += o.Unknown
}

// points takes a value of each trial that has it.
func points(list []entry, value func(Trial) (*float64, bool)) []Point {
	var points []Point
	for _, e := range list {
		if v, censored := value(e.Trial); v != nil {
			points = append(points, Point{Trial: e.ID, Value: *v, Censored: censored})
		}
	}
	return points
}

func certain(value func(Trial) *float64) func(Trial) (*float64, bool) {
	return func(t Trial) (*float64, bool) { return value(t), false }
}

func (c *Cell) failover(s scenario.Scenario, good []entry) {
	headline := s.HeadlineClass()
	for _, class := range Classes {
		if sum := classSummary(class, good); sum != nil {
			c.Outages = append(c.Outages, *sum)
			if class == headline {
				c.Headline = &sum.Summary
			}
		}
	}
	c.Detection = summarise(points(good, certain(func(t Trial) *float64 { return t.Detect })))
	c.Evidence = summarise(points(good, certain(func(t Trial) *float64 { return t.Evidence })))
	c.Ensemble = summarise(points(good, certain(func(t Trial) *float64 { return t.Ensemble })))
	c.ClaimAfter = summarise(points(good, certain(func(t Trial) *float64 { return t.ClaimAfter })))
	c.Remainder = summarise(points(good, func(t Trial) (*float64, bool) {
		return t.Remain, slices.ContainsFunc(t.Classes, func(o ClassOutage) bool { return o.Class == headline && o.Censored })
	}))
	for i, name := range PhaseNames {
		c.Phases = append(c.Phases, PhaseSummary{Name: name, Summary: summarise(points(good, certain(func(t Trial) *float64 {
			if i >= len(t.Phases) {
				return nil
			}
			return t.Phases[i].WidthMs
		})))})
	}
	c.clients(good)
	c.series(s, good)
}

func classSummary(class string, good []entry) *ClassSummary {
	find := func(t Trial) *ClassOutage {
		if i := slices.IndexFunc(t.Classes, func(c ClassOutage) bool { return c.Class == class }); i >= 0 {
			return &t.Classes[i]
		}
		return nil
	}
	sum := summarise(points(good, func(t Trial) (*float64, bool) {
		if c := find(t); c != nil {
			return &c.MaxMs, c.Censored
		}
		return nil, false
	}))
	if sum == nil {
		return nil
	}
	var seconds, failed []float64
	for _, e := range good {
		if c := find(e.Trial); c != nil {
			seconds = append(seconds, c.PartitionSeconds)
			failed = append(failed, float64(c.Failed))
		}
	}
	return &ClassSummary{Class: class, Summary: *sum, PartitionSeconds: stats.Median(seconds), Failed: stats.Median(failed)}
}

func (c *Cell) clients(good []entry) {
	for _, config := range []string{"tuned", "default"} {
		client := ClientSummary{Config: config}
		var steady *hdrhistogram.Histogram
		seen := false
		client.Gap = summarise(points(good, func(t Trial) (*float64, bool) {
			for _, g := range t.Clients {
				if g.Config == config {
					seen = true
					client.Errors += g.Errors
					return g.GapMs, g.Censored
				}
			}
			return nil, false
		}))
		for _, e := range good {
			for _, l := range e.raw.latency {
				if h := decodeHistogram(l.Histogram); l.Client == config && l.Phase == "steady" && h != nil {
					if steady == nil {
						steady = h
					} else {
						steady.Merge(h)
					}
				}
			}
		}
		if steady != nil && steady.TotalCount() > 0 {
			l := latencyOf(steady)
			client.Latency = &l
		}
		if seen {
			c.Clients = append(c.Clients, client)
		}
	}
}

func (c *Cell) throughput(good []entry) {
	t := &Throughput{}
	var rates, bytes []float64
	for _, e := range good {
		r := e.raw.round
		seconds := float64(r.To-r.From) / 1e9
		round := Round{
			Trial: e.ID, Seconds: seconds, Records: r.Records, Errors: r.Errors,
			RecordsPerS: float64(r.Records) / seconds, BytesPerS: float64(r.Bytes) / seconds,
		}
		if h := decodeHistogram(r.Histogram); h != nil {
			round.Latency = latencyOf(h)
		}
		t.Rounds = append(t.Rounds, round)
		rates = append(rates, round.RecordsPerS)
		bytes = append(bytes, round.BytesPerS)
	}
	t.RecordsPerS, t.MinRecords, t.MaxRecords, t.BytesPerS = stats.Median(rates), slices.Min(rates), slices.Max(rates), stats.Median(bytes)
	c.Throughput = t
}

func (t *Throughput) rates() []float64 {
	var rates []float64
	for _, r := range t.Rounds {
		rates = append(rates, r.RecordsPerS)
	}
	return rates
}
