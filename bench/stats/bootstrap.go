package stats

import (
	"cmp"
	"math"
	"slices"
)

// distribution is a discrete one: ascending values with the probability of being at or below each.
type distribution struct {
	value []float64
	upTo  []float64
}

// MedianInterval is the median with its percentile bootstrap interval; false with fewer than EnoughForInterval values.
func MedianInterval(values []float64, confidence float64) (Estimate, bool) {
	if len(values) < EnoughForInterval {
		return Estimate{}, false
	}
	d := resampledMedian(values)
	tail := (1 - confidence) / 2
	return Estimate{Median(values), Interval{d.quantile(tail), d.quantile(1 - tail)}}, true
}

// resampledMedian is the distribution of the median of n draws with replacement from the n values: what a bootstrap approaches with ever more resamples.
//
// Let n be odd, r = (n+1)/2. The median is at most the i-th smallest value when at least r draws are among the i smallest: P(Bin(n, i/n) ≥ r). Let n be
// even, r = n/2. The median is the mean of the r-th and the next draw. They are the i-th and the j-th smallest value, i < j, when r draws are at most the
// i-th and one of them equals it, and the other n−r are at least the j-th and one of them equals it:
//
//	C(n, r) · [(i/n)^r − ((i−1)/n)^r] · [((n−j+1)/n)^(n−r) − ((n−j)/n)^(n−r)]
//
// and what remains of P(the r-th draw is the i-th value) is the chance that both are the i-th.
func resampledMedian(values []float64) distribution {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	type atom struct{ value, p float64 }
	var atoms []atom
	binomial := logChooses(n)
	if n%2 == 1 {
		before := 0.0
		for i, x := range v {
			upTo := atLeastDraws(binomial, i+1, n/2+1)
			atoms = append(atoms, atom{x, upTo - before})
			before = upTo
		}
	} else {
		r := n / 2
		choose := math.Exp(binomial[r])
		power := make([]float64, n+1) // (k/n)^r
		for k := range power {
			power[k] = math.Pow(float64(k)/float64(n), float64(r))
		}
		before := 0.0
		for i := 1; i <= n; i++ {
			upTo := atLeastDraws(binomial, i, r)
			both := upTo - before
			before = upTo
			low := power[i] - power[i-1]
			for j := i + 1; j <= n; j++ {
				p := choose * low * (power[n-j+1] - power[n-j])
				atoms = append(atoms, atom{middle(v[i-1], v[j-1]), p})
				both -= p
			}
			atoms = append(atoms, atom{v[i-1], max(both, 0)})
		}
		slices.SortFunc(atoms, func(a, b atom) int { return cmp.Compare(a.value, b.value) })
	}
	var d distribution
	sum := 0.0
	for _, a := range atoms {
		sum += a.p
		if k := len(d.value); k > 0 && d.value[k-1] == a.value {
			d.upTo[k-1] = sum
			continue
		}
		d.value, d.upTo = append(d.value, a.value), append(d.upTo, sum)
	}
	for i := range d.upTo { // rounding, ~1e-13
		d.upTo[i] /= sum
	}
	return d
}

// atLeastDraws is P(Bin(n, i/n) ≥ r), of the logarithms of the binomial coefficients of n.
func atLeastDraws(binomial []float64, i, r int) float64 {
	n := len(binomial) - 1
	if i == n {
		return 1
	}
	p := float64(i) / float64(n)
	hit, miss := math.Log(p), math.Log1p(-p)
	sum := 0.0
	for k := r; k <= n; k++ {
		sum += math.Exp(binomial[k] + float64(k)*hit + float64(n-k)*miss)
	}
	return min(sum, 1)
}

// logChooses are the logarithms of the binomial coefficients of n.
func logChooses(n int) []float64 {
	list := make([]float64, n+1)
	for k := 1; k <= n; k++ {
		list[k] = list[k-1] + math.Log(float64(n-k+1)/float64(k))
	}
	return list
}

// slack absorbs rounding where a probability stands exactly at the level that is asked for.
const slack = 1e-9

// quantile is the smallest value that at least p lies at or below.
func (d distribution) quantile(p float64) float64 {
	i, _ := slices.BinarySearch(d.upTo, p-slack)
	return d.value[min(i, len(d.value)-1)]
}
