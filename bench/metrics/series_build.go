package metrics

import (
	"math"
	"slices"

	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/bench/timeline"
)

// after is how much of the time after the observation a series shows.
const after = int64(1e9)

// series chooses the typical and the worst trial and draws them.
func (c *Cell) series(s scenario.Scenario, good []entry) {
	if c.Headline == nil {
		return
	}
	var typical, worst *entry
	for i := range good {
		e := &good[i]
		if e.Headline == nil {
			continue
		}
		if typical == nil || math.Abs(*e.Headline-c.Headline.Median) < math.Abs(*typical.Headline-c.Headline.Median) {
			typical = e
		}
		if worst == nil || *e.Headline > *worst.Headline {
			worst = e
		}
	}
	if typical == nil {
		return
	}
	c.Typical = draw(s, *typical)
	if worst != typical {
		c.Worst = draw(s, *worst)
	}
}

func draw(s scenario.Scenario, e entry) *Series {
	r := e.raw
	from, to := r.from, r.end()+after
	var bins []timeline.LoadBin
	for _, b := range r.block.bins {
		if b.From >= from && b.From+b.Width <= to {
			bins = append(bins, b)
		}
	}
	if len(bins) == 0 {
		return nil
	}
	width := bins[0].Width
	first := bins[0].From
	n := 0
	for _, b := range bins {
		first = min(first, b.From)
	}
	for _, b := range bins {
		n = max(n, int((b.From-first)/width)+1)
	}
	out := &Series{Trial: e.ID, BinMs: float64(width) / 1e6, StartMs: r.since(first), Configs: []Traffic{}, Marks: []Mark{}, Lanes: []Lane{}, CPU: []CPUTrack{}}
	for _, config := range s.Workload.Clients {
		out.Configs = append(out.Configs, traffic(config, bins, first, n))
	}
	for _, end := range []int64{r.resumed, r.restarted, r.ended} {
		if end != 0 && end < to {
			out.Window.EndMs = number(r.since(end))
		}
	}
	for _, p := range e.Phases {
		if p.EndMs != nil {
			out.Marks = append(out.Marks, Mark{Name: p.Name, AtMs: *p.EndMs})
		}
	}
	out.Lanes = append(out.Lanes, r.lanes(s, from, to)...)
	for _, kind := range []string{"brokers", "service", "harness"} {
		if track := r.track(kind, first, width, n); track != nil {
			out.CPU = append(out.CPU, *track)
		}
	}
	return out
}

func traffic(config string, bins []timeline.LoadBin, first int64, n int) Traffic {
	t := Traffic{
		Config: config, Offered: make([]float64, n), Acked: make([]float64, n), Errors: make([]float64, n),
		P50Ms: make([]*float64, n), MaxMs: make([]*float64, n),
	}
	for _, b := range bins {
		if b.Client != config {
			continue
		}
		i := int((b.From - first) / b.Width)
		perSecond := 1e9 / float64(b.Width)
		t.Offered[i] += float64(b.Offered) * perSecond
		t.Acked[i] += float64(b.Acked) * perSecond
		t.Errors[i] += float64(b.Errors) * perSecond
		if b.Acked > 0 {
			t.P50Ms[i], t.MaxMs[i] = number(b.P50), number(b.Max)
		}
	}
	return t
}

// track interpolates the samples of one kind of process.
func (r *raw) track(kind string, first, width int64, n int) *CPUTrack {
	var samples []usageAt
	for _, u := range r.block.usage {
		if u.Kind == kind {
			samples = append(samples, u)
		}
	}
	if len(samples) < 2 {
		return nil
	}
	track := &CPUTrack{Name: kind, CPU: make([]*float64, n)}
	for i := range n {
		middle := first + int64(i)*width + width/2
		at := slices.IndexFunc(samples, func(u usageAt) bool { return u.t >= middle })
		if at > 0 {
			a, b := samples[at-1], samples[at]
			track.CPU[i] = number((b.CPU - a.CPU) / (float64(b.t-a.t) / 1e9))
		}
	}
	return track
}

// lanes draws who led what: the controllership and the probed partitions of the headline class.
func (r *raw) lanes(s scenario.Scenario, from, to int64) []Lane {
	if r.before == nil {
		return nil
	}
	killed := s.Main().Action == scenario.Kill
	control := Lane{Partition: -1, Spans: []Span{{Broker: r.before.Controller, FromMs: r.since(from)}}}
	lanes := []Lane{r.lane(control, from, to, killed, func(e timeline.Event) (int32, bool) {
		var c epochEvent
		return c.Epoch, e.Name == "controller.claimed" && e.Decode(&c) == nil
	})}
	probed := r.probed(ClassLed)
	if len(probed) == 0 {
		probed = r.probed(ClassData)
	}
	for _, p := range r.before.Partitions {
		k := key{p.Topic, p.Partition}
		if !probed[k] {
			continue
		}
		lane := Lane{Topic: p.Topic, Partition: p.Partition, Spans: []Span{{Broker: p.Leader, Epoch: p.Epoch, FromMs: r.since(from)}}}
		lanes = append(lanes, r.lane(lane, from, to, killed, func(e timeline.Event) (int32, bool) {
			var l struct {
				key
				Epoch int32 `json:"epoch"`
			}
			if e.Name != "partition.leader" || e.Decode(&l) != nil || l.key != k {
				return 0, false
			}
			return l.Epoch, true
		}))
	}
	return lanes
}

// lane adds the spans that the brokers' events begin. A victim that was killed leads no longer at the effect.
func (r *raw) lane(lane Lane, from, to int64, killed bool, begins func(timeline.Event) (epoch int32, ok bool)) Lane {
	last := &lane.Spans[0]
	if killed && last.Broker == r.victim.Broker {
		last.ToMs = number(0)
	}
	for _, e := range r.window(from, to) {
		epoch, ok := begins(e)
		if !ok || (epoch != 0 && epoch <= last.Epoch) {
			continue
		}
		if last.ToMs == nil {
			last.ToMs = number(r.since(e.T))
		}
		lane.Spans = append(lane.Spans, Span{Broker: e.Broker, Epoch: epoch, FromMs: r.since(e.T)})
		last = &lane.Spans[len(lane.Spans)-1]
	}
	return lane
}
