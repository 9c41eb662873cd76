package metrics

import (
	"math"
	"math/rand/v2"
	"slices"
)

const (
	enoughForInterval = 10 // points, below which an interval would pretend
	enoughForP95      = 40
	resamples         = 2000
)

// median of at least one value.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	if n%2 == 1 {
		return v[n/2]
	}
	return (v[n/2-1] + v[n/2]) / 2
}

// quantile interpolates between order statistics (type 7 of Hyndman and Fan).
func quantile(values []float64, q float64) float64 {
	v := slices.Sorted(slices.Values(values))
	at := q * float64(len(v)-1)
	low := int(math.Floor(at))
	high := min(low+1, len(v)-1)
	return v[low] + (at-float64(low))*(v[high]-v[low])
}

// summarise returns nil for no points.
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
	s.Median, s.Min, s.Max = median(values), slices.Min(values), slices.Max(values)
	if len(values) >= enoughForInterval {
		s.CI = interval(bootstrap(values))
	}
	if len(values) >= enoughForP95 {
		s.P95 = number(quantile(values, 0.95))
	}
	return s
}

// bootstrap returns medians of resamples. The generator is seeded by the number of points alone: the same data give the same interval.
func bootstrap(values []float64) []float64 {
	rng := rand.New(rand.NewPCG(uint64(len(values)), 0x626f6f74))
	medians := make([]float64, resamples)
	sample := make([]float64, len(values))
	for i := range medians {
		for j := range sample {
			sample[j] = values[rng.IntN(len(values))]
		}
		medians[i] = median(sample)
	}
	return medians
}

func interval(medians []float64) *Interval {
	return &Interval{Low: quantile(medians, 0.025), High: quantile(medians, 0.975)}
}

// ratio of two medians: a 95 % interval with enough points on both sides, else the extreme ratios of single points. Nil unless all are
// positive: other numbers have no ratio that means anything.
func ratio(a, b []float64) *Ratio {
	if len(a) == 0 || len(b) == 0 || slices.Min(a) <= 0 || slices.Min(b) <= 0 {
		return nil
	}
	r := &Ratio{Value: median(a) / median(b)}
	if len(a) < enoughForInterval || len(b) < enoughForInterval {
		r.Low, r.High = slices.Min(a)/slices.Max(b), slices.Max(a)/slices.Min(b)
		return r
	}
	ma, mb := bootstrap(a), bootstrap(b)
	rng := rand.New(rand.NewPCG(uint64(len(a)), uint64(len(b)))) // pairs the two independent bootstraps at random
	rng.Shuffle(len(mb), func(i, j int) { mb[i], mb[j] = mb[j], mb[i] })
	for i := range ma {
		ma[i] /= mb[i]
	}
	i := interval(ma)
	r.Low, r.High, r.CI = i.Low, i.High, true
	return r
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
