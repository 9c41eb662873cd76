package coordbench

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	enoughForInterval = 10
	enoughForP99      = 100
	resamples         = 1000
)

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// quantile interpolates between order statistics (type 7 of Hyndman and Fan); sorted must not be empty.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	low := int(math.Floor(at))
	return sorted[low] + (at-float64(low))*(sorted[min(low+1, len(sorted)-1)]-sorted[low])
}

func median(values []float64) float64 { return quantile(slices.Sorted(slices.Values(values)), 0.5) }

// bootstrap returns the 95 % interval of f over resamples of n indices. The generator depends on n alone: the same data give the same interval.
func bootstrap(n int, f func(indices []int) float64) *Interval {
	if n < enoughForInterval {
		return nil
	}
	rng := rand.New(rand.NewPCG(uint64(n), 0x636f6f7264))
	indices := make([]int, n)
	values := make([]float64, resamples)
	for i := range values {
		for j := range indices {
			indices[j] = rng.IntN(n)
		}
		values[i] = f(indices)
	}
	slices.Sort(values)
	return &Interval{quantile(values, 0.025), quantile(values, 0.975)}
}

// picker computes medians of resamples without allocating each time.
func picker(values []float64) func([]int) float64 {
	scratch := make([]float64, len(values))
	return func(indices []int) float64 {
		for i, j := range indices {
			scratch[i] = values[j]
		}
		slices.Sort(scratch)
		return quantile(scratch, 0.5)
	}
}

// pair is two measurements, back to back. Each is the median of its latencies.
type pair struct{ layer, raw float64 }

func ratioOf(pairs []pair) *Ratio {
	if len(pairs) == 0 {
		return nil
	}
	layer, raw := make([]float64, len(pairs)), make([]float64, len(pairs))
	for i, p := range pairs {
		layer[i], raw[i] = p.layer, p.raw
	}
	pickLayer, pickRaw := picker(layer), picker(raw)
	return &Ratio{
		Value: median(layer) / median(raw), Pairs: len(pairs),
		CI: bootstrap(len(pairs), func(indices []int) float64 { return pickLayer(indices) / pickRaw(indices) }),
	}
}

// tally collects one side of one cell.
type tally struct {
	latencies []float64 // ms, of single operations
	samples   []float64 // ms, medians of windows; the same as latencies with one client
	errors    int
	busy      time.Duration // in which the operations were made
}

func (t *tally) side() *Side {
	if len(t.latencies) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(t.latencies))
	s := &Side{N: len(sorted), Errors: t.errors, P50Ms: quantile(sorted, 0.5), MaxMs: sorted[len(sorted)-1], Samples: len(t.samples)}
	if t.busy > 0 {
		s.PerS = float64(len(sorted)) / t.busy.Seconds()
	}
	s.P50CI = bootstrap(len(t.samples), picker(t.samples))
	if len(sorted) >= enoughForP99 {
		p99 := quantile(sorted, 0.99)
		s.P99Ms = &p99
	}
	return s
}
