package compare

import (
	"fmt"
	"math"

	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/stats"
)

// Names of measures.
const (
	Outage         = "outage"          // of the headline class's worst probed partition
	AfterDetection = "after detection" // from detection to the first acknowledged probe
	Throughput     = "throughput"
)

// Measure is one figure of a cell in both runs.
type Measure struct {
	Name   string `json:"name"`
	Unit   string `json:"unit"`
	Higher bool   `json:"higher_is_better"`
	Old    Sample `json:"old"`
	New    Sample `json:"new"`
	// Ratio is new ÷ old of the medians; null when a value is not above 0, or too few. Difference is new − old.
	Ratio      *Estimate `json:"ratio"`
	Difference *Estimate `json:"difference"`
	Shift      *Estimate `json:"shift"`       // Hodges-Lehmann: by how much single trials moved
	Cliff      *float64  `json:"cliff_delta"` // −1 to 1: how often a trial of the new run is above one of the old, minus below
	Says       string    `json:"says"`
	Reason     string    `json:"reason,omitempty"` // of "not comparable"
	Beyond     bool      `json:"beyond"`           // worse, with the whole interval beyond the threshold
}

// Sample describes one side.
type Sample struct {
	N        int     `json:"n"`
	Censored int     `json:"censored"`
	Median   float64 `json:"median"`
	values   []float64
	limits   []bool // which of them are only lower limits
}

// Estimate is a value with an interval; an end that is null is open: there is no limit on that side.
type Estimate struct {
	Value float64  `json:"value"`
	Low   *float64 `json:"low"`
	High  *float64 `json:"high"`
}

// LowEnd and HighEnd are the ends as numbers, infinite where they are open.
func (e *Estimate) LowEnd() float64 { return orInf(e.Low, -1) }

// HighEnd is the upper end.
func (e *Estimate) HighEnd() float64 { return orInf(e.High, 1) }

func orInf(v *float64, sign int) float64 {
	if v == nil {
		return math.Inf(sign)
	}
	return *v
}

func finite(v float64) *float64 {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return nil
	}
	return &v
}

func (s *Sample) add(v float64, limit bool) {
	s.values, s.limits = append(s.values, v), append(s.limits, limit)
	s.N++
	if limit {
		s.Censored++
	}
	s.Median = stats.Median(s.values)
}

// limited tells whether a lower limit lies where it could move the median.
func (s Sample) limited() bool {
	return s.Censored > 0 && stats.Median(s.worst()) > s.Median
}

// worst is the sample with every lower limit at infinity.
func (s Sample) worst() []float64 {
	list := make([]float64, len(s.values))
	for i, v := range s.values {
		if s.limits[i] {
			v = math.Inf(1)
		}
		list[i] = v
	}
	return list
}

// measure compares every figure that both cells have.
func (c *Cell) measure(old, now *metrics.Cell, o Options, resolution float64) {
	for _, m := range []Measure{
		{Name: Outage, Unit: "ms", Old: outages(old), New: outages(now)},
		{Name: AfterDetection, Unit: "ms", Old: after(old), New: after(now)},
		{Name: Throughput, Unit: "rec/s", Higher: true, Old: rates(old), New: rates(now)},
	} {
		if m.Old.N == 0 && m.New.N == 0 {
			continue
		}
		m.estimate(o.Confidence)
		if c.Reason != "" {
			m.Says, m.Reason = NotComparable, c.Reason
		} else {
			m.judge(o.Threshold, resolution)
		}
		c.Measures = append(c.Measures, m)
	}
}

func outages(c *metrics.Cell) Sample {
	var s Sample
	if c.Headline != nil {
		for _, p := range c.Headline.Points {
			s.add(p.Value, p.Censored)
		}
	}
	return s
}

// after is, of each counted trial in which both were seen, the time from detection to the first acknowledged probe. A trial in which the probe was never
// acknowledged has none; its outage says so.
func after(c *metrics.Cell) Sample {
	var s Sample
	for _, t := range c.Trials {
		for _, p := range t.Phases {
			if t.Status == metrics.StatusOK && t.Detect != nil && p.Name == metrics.PhaseAcknowledge && p.EndMs != nil {
				s.add(*p.EndMs-*t.Detect, false)
			}
		}
	}
	return s
}

func rates(c *metrics.Cell) Sample {
	var s Sample
	if c.Throughput != nil {
		for _, r := range c.Throughput.Rounds {
			s.add(r.RecordsPerS, false)
		}
	}
	return s
}

// estimate computes what there are enough points for. The low end takes the old run's lower limits for infinite and the high end the new run's: whatever the
// true values are, the interval covers them.
func (m *Measure) estimate(confidence float64) {
	between := func(of func(a, b []float64, confidence float64) (stats.Estimate, bool)) *Estimate {
		e, ok := of(m.New.values, m.Old.values, confidence)
		low, okLow := of(m.New.values, m.Old.worst(), confidence)
		high, okHigh := of(m.New.worst(), m.Old.values, confidence)
		if !ok || !okLow || !okHigh {
			return nil
		}
		return &Estimate{Value: e.Value, Low: finite(low.Low), High: finite(high.High)}
	}
	m.Ratio = between(stats.RatioOfMedians)
	m.Difference = between(stats.DifferenceOfMedians)
	m.Shift = between(stats.Shift)
	if m.Old.N > 0 && m.New.N > 0 {
		d := stats.CliffDelta(m.New.values, m.Old.values)
		m.Cliff = &d
	}
}

// judge words the measure. Where there is a ratio, it decides; where values are 0 (no probe failed), the difference does.
func (m *Measure) judge(threshold, resolution float64) {
	if m.Difference == nil {
		m.Says = NotComparable
		switch {
		case m.Old.N == 0:
			m.Reason = "not measured in the old run"
		case m.New.N == 0:
			m.Reason = "not measured in the new run"
		default:
			m.Reason = fmt.Sprintf("too few trials: %d and %d, an interval needs %d on both sides", m.Old.N, m.New.N, stats.EnoughForInterval)
		}
		return
	}
	decides, nothing := m.Ratio, 1.0
	if decides == nil {
		decides, nothing = m.Difference, 0
	}
	up, down := decides.LowEnd() > nothing, decides.HighEnd() < nothing
	if m.Higher {
		up, down = down, up
	}
	switch {
	case up:
		m.Says = Slower
	case down:
		m.Says = Faster
	default:
		m.Says = NoDifference
	}
	m.Beyond = up && m.beyond(threshold, resolution)
}

// beyond tells whether the whole interval is worse than the threshold. A time must also have grown by more than the probes can resolve: medians of outages
// stand on a grid of probes, and of 0 ms no share can be taken.
func (m *Measure) beyond(threshold, resolution float64) bool {
	if m.Higher {
		return m.Ratio != nil && m.Ratio.HighEnd() < 1/(1+threshold)
	}
	grown := m.Difference.Value > resolution
	if m.Ratio != nil {
		return grown && m.Ratio.LowEnd() > 1+threshold
	}
	return grown && m.Difference.LowEnd() > max(threshold*m.Old.Median, resolution)
}
