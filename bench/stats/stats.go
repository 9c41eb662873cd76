// Package stats holds the statistics of the harness: it knows numbers and nothing of runs, trials or backends.
//
// # Which interval
//
// A cell's figure is a median, and its interval is the percentile bootstrap: the 2.5th and 97.5th percentile of the medians of all resamples. The
// bootstrap distribution of a median has a closed form (bootstrap.go), so that it is computed and not drawn: no seed, no noise of resampling, the same
// interval for the same points in whatever order, and with the points multiplied the interval is multiplied.
//
// BCa is not used: its acceleration comes from the jackknife, which is inconsistent for a median (Efron 1979, Miller 1974): deleting one point moves the
// median of n points between two values only. What is used covers (tests): 94 to 97 % for one median and
// 96 to 97.5 % for a ratio or difference of two, where 95 % is asked for, at 10, 15 and 40 points of normal, exponential, lognormal and Cauchy samples.
//
// # Points that are only lower limits
//
// A value may be +Inf: "at least as long as we waited, perhaps for ever". Medians and intervals then say +Inf where that is so, and never NaN.
package stats

import (
	"math"
	"slices"
)

// How many points it takes. Below, an interval would pretend to know what it cannot: with 9 points the widest one that they permit is their range.
const (
	EnoughForInterval = 10
	EnoughForP95      = 40 // two points are expected above the 95th percentile
)

// Confidence is the level of intervals unless told otherwise.
const Confidence = 0.95

// Interval is a closed range.
type Interval struct{ Low, High float64 }

// Contains tells whether v is in it.
func (i Interval) Contains(v float64) bool { return i.Low <= v && v <= i.High }

// Estimate is a value with its interval.
type Estimate struct {
	Value float64
	Interval
}

// Median of at least one value; NaN of none.
func Median(values []float64) float64 { return medianOf(slices.Sorted(slices.Values(values))) }

func medianOf(sorted []float64) float64 {
	n := len(sorted)
	switch {
	case n == 0:
		return math.NaN()
	case n%2 == 1:
		return sorted[n/2]
	}
	return middle(sorted[n/2-1], sorted[n/2])
}

// middle is the mean of two values, also when their sum has no place in a float64.
func middle(a, b float64) float64 {
	if a == b {
		return a
	}
	return a/2 + b/2
}

// Quantile interpolates between order statistics (type 7 of Hyndman and Fan); NaN of no values. q is from 0 to 1.
func Quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	at := q * float64(len(v)-1)
	low := int(math.Floor(at))
	part := at - float64(low)
	if part == 0 || v[low] == v[low+1] {
		return v[low]
	}
	return v[low] + part*(v[low+1]-v[low])
}

// Outliers marks the values beyond Tukey's far fences, three interquartile ranges outside the quartiles. A mark is for the eye: nothing here ever leaves
// a value out. With fewer than EnoughForInterval values, or quartiles that are equal, nothing is marked.
func Outliers(values []float64) []bool {
	marks := make([]bool, len(values))
	if len(values) < EnoughForInterval {
		return marks
	}
	low, high := Quantile(values, 0.25), Quantile(values, 0.75)
	reach := 3 * (high - low)
	if !(reach > 0) {
		return marks
	}
	for i, v := range values {
		marks[i] = v < low-reach || v > high+reach
	}
	return marks
}

// Wilson is the score interval of a probability of which k of n were seen (Wilson 1927): it stays within 0 and 1 and has a width when k is 0 or n.
// Without trials nothing is known: 0 to 1.
func Wilson(k, n int, confidence float64) Interval {
	if n <= 0 {
		return Interval{0, 1}
	}
	z, trials, p := normalQuantile(0.5+confidence/2), float64(n), float64(k)/float64(n)
	scale := 1 / (1 + z*z/trials)
	centre := scale * (p + z*z/(2*trials))
	half := scale * z * math.Sqrt(p*(1-p)/trials+z*z/(4*trials*trials))
	i := Interval{max(0, centre-half), min(1, centre+half)}
	// At the ends the bound is exact, which rounding would miss.
	if k == 0 {
		i.Low = 0
	}
	if k == n {
		i.High = 1
	}
	return i
}

// normalQuantile is the quantile of the standard normal distribution.
func normalQuantile(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }

// Width is how wide an interval is beside its estimate: half of it as a share of the value. It is +Inf when the value is 0 or something is infinite.
func (e Estimate) Width() float64 {
	w := (e.High - e.Low) / 2 / math.Abs(e.Value)
	if math.IsNaN(w) {
		return math.Inf(1)
	}
	return w
}

// Needed advises how many points it takes until the interval of the median reaches ± width (0.1: ± 10 %) of it. It is a forecast from the points so far:
// an interval narrows with the square root of their number. It is never below EnoughForInterval, and unknown (false) while there are fewer points than
// that, or when the median is 0 or infinite, where no share of it means anything.
func Needed(values []float64, width, confidence float64) (int, bool) {
	e, ok := MedianInterval(values, confidence)
	now := e.Width()
	if !ok || math.IsInf(now, 1) || width <= 0 {
		return 0, false
	}
	n := math.Ceil(float64(len(values)) * (now / width) * (now / width))
	if n > math.MaxInt32 {
		return 0, false
	}
	return max(EnoughForInterval, int(n)), true
}
