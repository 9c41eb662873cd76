package metrics

import (
	"slices"

	"github.com/regency-project/regency/bench/stats"
)

// summarise returns nil for no points. A point that is only a lower limit counts as what was waited: the report says so beside the figure.
func summarise(points []Point) *Summary {
	if len(points) == 0 {
		return nil
	}
	s := &Summary{N: len(points), Points: points}
	var values []float64
	for _, p := range points {
		values = append(values, p.Value)
		if p.Censored {
			s.Censored++
		}
	}
	s.Median, s.Min, s.Max = stats.Median(values), slices.Min(values), slices.Max(values)
	if e, ok := stats.MedianInterval(values, stats.Confidence); ok {
		s.CI = &Interval{Low: e.Low, High: e.High}
	}
	if len(values) >= stats.EnoughForP95 {
		s.P95 = number(stats.Quantile(values, 0.95))
	}
	return s
}

// ratio of two medians: a 95 % interval with enough points on both sides, else the extreme ratios of single points. Nil unless all are
// positive: other numbers have no ratio that means anything.
func ratio(a, b []float64) *Ratio {
	if len(a) == 0 || len(b) == 0 || slices.Min(a) <= 0 || slices.Min(b) <= 0 {
		return nil
	}
	if e, ok := stats.RatioOfMedians(a, b, stats.Confidence); ok {
		return &Ratio{Value: e.Value, Low: e.Low, High: e.High, CI: true}
	}
	return &Ratio{Value: stats.Median(a) / stats.Median(b), Low: slices.Min(a) / slices.Max(b), High: slices.Max(a) / slices.Min(b)}
}

// says puts a ratio of durations in words.
func (r Ratio) says() string {
	switch {
	case !r.CI:
		return "too few trials"
	case r.High < 1:
		return "faster"
	case r.Low > 1:
		return "slower"
	}
	return "no difference shown"
}
