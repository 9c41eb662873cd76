package metrics

import (
	"cmp"
	"slices"

	"github.com/regency-project/regency/bench/stats"
	"github.com/regency-project/regency/bench/timeline"
)

// slack is how long before the effect a probe may have been due that failed because of it: it was in flight. Twice the usual deadline.
const slack = 200e6

// outages computes every probed target's.
func (r *raw) outages() []Outage {
	byTarget := make(map[timeline.ProbeRun][]timeline.ProbeRun)
	for _, run := range r.runs {
		target := timeline.ProbeRun{Class: run.Class, Topic: run.Topic, Partition: run.Partition}
		byTarget[target] = append(byTarget[target], run)
	}
	var list []Outage
	for target, runs := range byTarget {
		slices.SortFunc(runs, func(a, b timeline.ProbeRun) int { return cmp.Compare(a.From, b.From) })
		o := outage(r, runs)
		o.Class, o.Topic, o.Partition = target.Class, target.Topic, target.Partition
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b Outage) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return list
}

// spell is one outage: from the first failed probe to the first of enough successes; to is 0 when they did not come.
type spell struct{ from, to int64 }

// spells finds the outages in a target's runs, those before the fault left out.
func spells(runs []timeline.ProbeRun, effect int64) []spell {
	var list []spell
	down := false
	for _, run := range runs {
		switch {
		case !run.OK && !down && run.To >= effect-slack:
			list = append(list, spell{from: run.From})
			down = true
		case run.OK && down && run.N >= timeline.Successes:
			list[len(list)-1].to = run.From
			down = false
		}
	}
	return list
}

func outage(r *raw, runs []timeline.ProbeRun) Outage {
	o := Outage{Recovered: true}
	var last int64
	for _, run := range runs {
		last = max(last, run.To)
		if run.To < r.effect-slack {
			continue
		}
		o.Probes += run.N
		if !run.OK {
			o.Failed += run.N
		}
	}
	widest := 0.0
	for _, s := range spells(runs, r.effect) {
		to := s.to
		if to == 0 { // still open at the end: what is known of the outage is a lower limit
			to, o.Recovered = last, false
		}
		width := float64(to-s.from) / 1e6
		o.UnavailableMs += width
		if o.StartMs == nil || width > widest {
			o.StartMs, widest = number(r.since(s.from)), width
		}
	}
	if o.Recovered {
		o.OutageMs = number(widest)
	} else {
		o.WaitedMs = number(widest)
	}
	return o
}

// atLeast is the outage, or how long it was waited for its end.
func (o Outage) atLeast() float64 {
	if o.OutageMs != nil {
		return *o.OutageMs
	}
	return *o.WaitedMs
}

// classes sums the outages up by class.
func classes(outages []Outage) []ClassOutage {
	var list []ClassOutage
	for _, class := range Classes {
		c := ClassOutage{Class: class}
		var widths []float64
		for _, o := range outages {
			if o.Class != class {
				continue
			}
			w := o.atLeast()
			widths = append(widths, w)
			c.Partitions++
			c.Failed += o.Failed
			c.PartitionSeconds += o.UnavailableMs / 1000
			c.Censored = c.Censored || !o.Recovered
		}
		if c.Partitions == 0 {
			continue
		}
		c.MedianMs, c.MaxMs = stats.Median(widths), slices.Max(widths)
		list = append(list, c)
	}
	return list
}
