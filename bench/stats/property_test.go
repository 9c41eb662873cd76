package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// families are distributions with their medians: all are positive where a ratio is asked for.
var families = []struct {
	name   string
	draw   func(*rand.Rand) float64
	median float64
}{
	{"normal", func(r *rand.Rand) float64 { return 100 + 15*r.NormFloat64() }, 100},
	{"exponential", func(r *rand.Rand) float64 { return r.ExpFloat64() }, math.Ln2},
	{"lognormal", func(r *rand.Rand) float64 { return math.Exp(r.NormFloat64()) }, 1},
	{"half Cauchy", func(r *rand.Rand) float64 { return math.Abs(math.Tan(math.Pi * (r.Float64() - 0.5))) }, 1}, // no mean, no variance
}

func sample(rng *rand.Rand, n int, from func(*rand.Rand) float64) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = from(rng)
	}
	return v
}

// TestCoverage: of 95 % intervals, 92 to 99 % must hold the true value. The seeds are fixed, and 600 samples know the
// coverage to ± 1.8 points; with 3000 samples it was 93.6 to 97.5 % everywhere.
func TestCoverage(t *testing.T) {
	const samples, low, high = 600, 0.92, 0.99
	check := func(t *testing.T, what string, hits int) {
		if got := float64(hits) / samples; got < low || got > high {
			t.Errorf("%s covers the truth in %.1f %% of samples, want %.1f to %.1f %%", what, 100*got, 100*low, 100*high)
		} else {
			t.Logf("%s: %.1f %%", what, 100*got)
		}
	}
	for i, f := range families {
		for _, n := range []int{10, 15, 40} {
			t.Run(fmt.Sprintf("%s/%d", f.name, n), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(uint64(i), uint64(n)))
				var median, ratio, difference, shift int
				for range samples {
					a, b := sample(rng, n, f.draw), sample(rng, n, f.draw)
					hit := func(count *int, e Estimate, truth float64) {
						if e.Contains(truth) {
							*count++
						}
					}
					hit(&median, must(t)(MedianInterval(a, 0.95)), f.median)
					hit(&ratio, must(t)(RatioOfMedians(a, b, 0.95)), 1)
					hit(&difference, must(t)(DifferenceOfMedians(a, b, 0.95)), 0)
					hit(&shift, must(t)(Shift(a, b, 0.95)), 0)
				}
				check(t, "median", median)
				check(t, "ratio", ratio)
				check(t, "difference", difference)
				check(t, "shift", shift)
			})
		}
	}
}

// TestWilsonCoverage sums the exact probabilities of the outcomes whose interval holds the truth. The score interval covers 95 % on average over p, and
// less for single p near the ends.
func TestWilsonCoverage(t *testing.T) {
	for _, n := range []int{30, 60, 200} {
		sum, least := 0.0, 1.0
		const steps = 400
		binomial := logChooses(n)
		for s := 1; s < steps; s++ {
			p := float64(s) / steps
			cover := 0.0
			for k := range n + 1 {
				if Wilson(k, n, 0.95).Contains(p) {
					cover += math.Exp(binomial[k] + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
				}
			}
			sum += cover
			least = min(least, cover)
		}
		if mean := sum / (steps - 1); mean < 0.945 || mean > 0.96 || least < 0.83 {
			t.Errorf("n = %d: covers %.4f on average and %.4f at worst, want 0.945 to 0.96 and 0.83", n, mean, least)
		}
	}
}

// all is every interval of two samples.
func all(t *testing.T, a, b []float64) []Estimate {
	return []Estimate{
		must(t)(MedianInterval(a, 0.95)), must(t)(DifferenceOfMedians(a, b, 0.95)), must(t)(Shift(a, b, 0.95)), must(t)(RatioOfMedians(a, b, 0.95)),
	}
}

func same(a, b Estimate) bool {
	return near(a.Value, b.Value) && near(a.Low, b.Low) && near(a.High, b.High)
}

// TestProperties: the order of points means nothing, the unit of measurement is carried through, a longer sample is never called shorter, more
// confidence is never a narrower interval, and the estimate lies in its interval.
func TestProperties(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for _, f := range families {
		for range 40 {
			a, b := sample(rng, 10+rng.IntN(31), f.draw), sample(rng, 10+rng.IntN(31), f.draw)
			base := all(t, a, b)
			shuffled := slices.Clone(a)
			rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			for i, e := range all(t, shuffled, b) {
				if e != base[i] {
					t.Errorf("%s, interval %d: the order of points changes %v to %v", f.name, i, base[i], e)
				}
			}
			const unit = 1000.0
			for i, e := range all(t, scaled(a, unit), scaled(b, unit)) {
				want := base[i]
				if i < 3 { // a ratio has no unit
					want = Estimate{want.Value * unit, Interval{want.Low * unit, want.High * unit}}
				}
				if !same(e, want) {
					t.Errorf("%s, interval %d: in another unit %v, want %v", f.name, i, e, want)
				}
			}
			longer := slices.Clone(a)
			for i := range longer {
				longer[i] += rng.Float64() * 5
			}
			for i, e := range all(t, longer, b) {
				if e.Value < base[i].Value || e.Low < base[i].Low || e.High < base[i].High {
					t.Errorf("%s, interval %d: %v of longer values, %v before", f.name, i, e, base[i])
				}
			}
			for i, e := range base {
				if !e.Contains(e.Value) {
					t.Errorf("%s, interval %d: %v does not hold its value", f.name, i, e)
				}
			}
			narrow, wide := must(t)(RatioOfMedians(a, b, 0.8)), must(t)(RatioOfMedians(a, b, 0.99))
			if narrow.Low < wide.Low || narrow.High > wide.High {
				t.Errorf("%s: the 80 %% interval %v is not within that of 99 %%, %v", f.name, narrow, wide)
			}
			inverse := must(t)(RatioOfMedians(b, a, 0.95))
			if !near(inverse.Low, 1/base[3].High) || !near(inverse.High, 1/base[3].Low) {
				t.Errorf("%s: the ratio is %v, the other way round %v", f.name, base[3], inverse)
			}
			if d := CliffDelta(a, b); d != -CliffDelta(b, a) || math.Abs(d) > 1 {
				t.Errorf("%s: Cliff's delta %v", f.name, d)
			}
		}
	}
}

func scaled(values []float64, by float64) []float64 {
	v := slices.Clone(values)
	for i := range v {
		v[i] *= by
	}
	return v
}

func FuzzIntervals(f *testing.F) {
	f.Add([]byte("some bytes that become values, at least ten on each side"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var a, b []float64
		for i, c := range data {
			v := float64(c)
			if c == 255 {
				v = math.Inf(1)
			}
			if i%2 == 0 {
				a = append(a, v)
			} else {
				b = append(b, v)
			}
		}
		if len(a) < 10 || len(b) < 10 || len(a) > 60 {
			return
		}
		if slices.Contains(a, math.Inf(1)) && slices.Contains(b, math.Inf(1)) {
			b = slices.DeleteFunc(b, func(v float64) bool { return math.IsInf(v, 1) })
		}
		for _, of := range []func([]float64, []float64, float64) (Estimate, bool){RatioOfMedians, DifferenceOfMedians, Shift} {
			if e, ok := of(a, b, 0.95); ok && (math.IsNaN(e.Low) || math.IsNaN(e.High) || e.Low > e.High) {
				t.Errorf("%v and %v: %v", a, b, e)
			}
		}
	})
}
