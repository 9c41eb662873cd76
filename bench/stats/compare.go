package stats

import (
	"math"
	"slices"
)

// RatioOfMedians is median(a)/median(b) with its percentile bootstrap interval, of two independent samples. It is false when a side has fewer than
// EnoughForInterval values or one that is not positive: other numbers have no ratio that means anything.
func RatioOfMedians(a, b []float64, confidence float64) (Estimate, bool) {
	if len(a) < EnoughForInterval || len(b) < EnoughForInterval || slices.Min(a) <= 0 || slices.Min(b) <= 0 {
		return Estimate{}, false
	}
	i := difference(resampledMedian(a).logarithms(), resampledMedian(b).logarithms(), confidence)
	return Estimate{Median(a) / Median(b), Interval{math.Exp(i.Low), math.Exp(i.High)}}, true
}

// DifferenceOfMedians is median(a) − median(b) with its percentile bootstrap interval, of two independent samples; false when a side has fewer than
// EnoughForInterval values.
func DifferenceOfMedians(a, b []float64, confidence float64) (Estimate, bool) {
	if len(a) < EnoughForInterval || len(b) < EnoughForInterval {
		return Estimate{}, false
	}
	return Estimate{Median(a) - Median(b), difference(resampledMedian(a), resampledMedian(b), confidence)}, true
}

func (d distribution) logarithms() distribution {
	l := distribution{value: make([]float64, len(d.value)), upTo: d.upTo}
	for i, v := range d.value {
		l.value[i] = math.Log(v)
	}
	return l
}

func difference(a, b distribution, confidence float64) Interval {
	tail := (1 - confidence) / 2
	return Interval{differenceQuantile(a, b, tail), differenceQuantile(a, b, 1-tail)}
}

// differenceQuantile is the smallest d with P(A − B ≤ d) ≥ p for independent A and B. It searches by halving, each step in the number of values and not of
// pairs, and then takes the one difference that lies in what is left.
func differenceQuantile(a, b distribution, p float64) float64 {
	finiteA, finiteB := ends(a.value), ends(b.value)
	low, high := finiteA.Low-finiteB.High, finiteA.High-finiteB.Low
	if math.IsNaN(low) { // a side is infinite altogether
		low, high = 0, 0
	}
	// Infinite values lie outside [low, high], whatever is subtracted.
	if cumulated(a, b, high) < p-slack {
		return math.Inf(1)
	}
	below := math.Nextafter(low-math.Abs(low)*1e-12, math.Inf(-1))
	if cumulated(a, b, below) >= p-slack {
		return math.Inf(-1)
	}
	for low = below; high-low > 1e-12*max(math.Abs(low), math.Abs(high)); {
		mid := middle(low, high)
		if mid <= low || mid >= high {
			break
		}
		if cumulated(a, b, mid) >= p-slack {
			high = mid
		} else {
			low = mid
		}
	}
	return high
}

// ends are the smallest and the largest finite value; both NaN when there is none.
func ends(ascending []float64) Interval {
	i := Interval{math.NaN(), math.NaN()}
	for _, v := range ascending {
		if math.IsInf(v, 0) {
			continue
		}
		if math.IsNaN(i.Low) {
			i.Low = v
		}
		i.High = v
	}
	return i
}

// cumulated is P(A − B ≤ d).
func cumulated(a, b distribution, d float64) float64 {
	sum, before, at := 0.0, 0.0, 0
	for i, v := range b.value {
		for at < len(a.value) && a.value[at] <= v+d {
			at++
		}
		if at > 0 {
			sum += (b.upTo[i] - before) * a.upTo[at-1]
		}
		before = b.upTo[i]
	}
	return sum
}

// CliffDelta is how often a value of a is above one of b, minus how often it is below: 1 when all of a are above all of b, 0 when neither way prevails,
// −1 the other way round. It is NaN when a side is empty.
func CliffDelta(a, b []float64) float64 {
	over := 0
	for _, x := range a {
		for _, y := range b {
			switch {
			case x > y:
				over++
			case x < y:
				over--
			}
		}
	}
	return float64(over) / float64(len(a)*len(b))
}

// Shift is by how much a lies above b: the median of all differences of pairs (Hodges and Lehmann), with the interval of Moses, whose ends are the
// differences with the ranks that a Mann-Whitney test would not reject. It assumes that the two differ in place and not in shape. It is false when a side
// has fewer than EnoughForInterval values, which also makes the normal approximation of the ranks good.
func Shift(a, b []float64, confidence float64) (Estimate, bool) {
	if len(a) < EnoughForInterval || len(b) < EnoughForInterval {
		return Estimate{}, false
	}
	pairs := make([]float64, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			if x == y {
				pairs = append(pairs, 0) // two infinite ones as well
			} else {
				pairs = append(pairs, x-y)
			}
		}
	}
	slices.Sort(pairs)
	n, m := float64(len(a)), float64(len(b))
	rank := int(math.Floor(n*m/2 - normalQuantile(0.5+confidence/2)*math.Sqrt(n*m*(n+m+1)/12)))
	rank = min(max(rank, 1), len(pairs)/2)
	return Estimate{medianOf(pairs), Interval{pairs[rank-1], pairs[len(pairs)-rank]}}, true
}
