package metrics

import (
	"github.com/regency-project/regency/bench/scenario"
)

// cost averages over the trials' steady phases, or rounds. Null when there were no samples.
func cost(s scenario.Scenario, good []entry) *Cost {
	var c Cost
	brokers, ok := usage("brokers", s, good)
	if !ok {
		return nil
	}
	c.Brokers = brokers
	c.Service, _ = usage("service", s, good) // embedded has none
	return &c
}

// usage takes, in each trial's window, the first and the last sample in it.
func usage(kind string, s scenario.Scenario, good []entry) (Usage, bool) {
	var u Usage
	var seconds, cpu, written, records float64
	for _, e := range good {
		from, to := e.raw.from, e.raw.asked
		if s.Kind == scenario.Throughput {
			from, to = e.raw.round.From, e.raw.round.To
		}
		var first, last *usageAt
		for i := range e.raw.block.usage {
			sample := &e.raw.block.usage[i]
			if sample.Kind != kind || sample.t < from || sample.t > to {
				continue
			}
			if first == nil {
				first = sample
			}
			last = sample
			u.RSSB = max(u.RSSB, sample.RSS)
			u.Processes = sample.Processes
		}
		if first == nil || last.t == first.t {
			continue
		}
		span := float64(last.t-first.t) / 1e9
		seconds += span
		cpu += last.CPU - first.CPU
		written += float64(last.WriteBytes - first.WriteBytes)
		records += e.raw.records(s, first.t, last.t)
	}
	if seconds == 0 {
		return Usage{}, false
	}
	u.CPU, u.WriteBPerS = cpu/seconds, written/seconds
	if records > 0 {
		u.CPUPerK = cpu / records * 1000
	}
	return u, true
}

// records counts those acknowledged between two instants.
func (r *raw) records(s scenario.Scenario, from, to int64) float64 {
	if s.Kind == scenario.Throughput {
		return float64(r.round.Records) * float64(to-from) / float64(r.round.To-r.round.From)
	}
	n := 0
	for _, b := range r.block.bins {
		if b.From >= from && b.From+b.Width <= to {
			n += b.Acked
		}
	}
	return float64(n)
}
