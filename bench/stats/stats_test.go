package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func near(got, want float64) bool {
	return got == want || math.Abs(got-want) <= 1e-9*max(1, math.Abs(want))
}

func upTo(n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = float64(i + 1)
	}
	return v
}

func TestKnownValues(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"median of 3", Median([]float64{3, 1, 2}), 2},
		{"median of 4", Median([]float64{4, 1, 3, 2}), 2.5},
		{"median of none", Median(nil), math.NaN()},
		{"median of the largest", Median([]float64{math.MaxFloat64, math.MaxFloat64}), math.MaxFloat64},
		{"median with an infinite half", Median([]float64{1, math.Inf(1), math.Inf(1), math.Inf(1)}), math.Inf(1)},
		// R: quantile(1:40, .95) = 38.05
		{"p95 of 1 to 40", Quantile(upTo(40), 0.95), 38.05},
		{"p95 of one", Quantile([]float64{7}, 0.95), 7},
		{"maximum", Quantile(upTo(5), 1), 5},
		{"p95 between infinite ones", Quantile([]float64{1, math.Inf(1), math.Inf(1)}, 0.95), math.Inf(1)},
		// Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662; 0 of 20 gives 0 to 0.1611.
		{"Wilson 81/263 low", math.Round(1e4 * Wilson(81, 263, 0.95).Low), 2553},
		{"Wilson 81/263 high", math.Round(1e4 * Wilson(81, 263, 0.95).High), 3662},
		{"Wilson 0/20 low", Wilson(0, 20, 0.95).Low, 0},
		{"Wilson 0/20 high", math.Round(1e4 * Wilson(0, 20, 0.95).High), 1611},
		{"Wilson 20/20 high", Wilson(20, 20, 0.95).High, 1},
		{"Wilson 0/0 high", Wilson(0, 0, 0.95).High, 1},
		{"Cliff, all above", CliffDelta([]float64{4, 5}, []float64{1, 2, 3}), 1},
		{"Cliff, all equal", CliffDelta([]float64{1, 1}, []float64{1}), 0},
		{"Cliff, 1 of 4 below", CliffDelta([]float64{1, 4}, []float64{2, 3}), 0},
		{"Cliff, mixed", CliffDelta([]float64{2, 4}, []float64{1, 3}), 0.5},
	} {
		if !(near(c.got, c.want) || math.IsNaN(c.got) && math.IsNaN(c.want)) {
			t.Errorf("%s = %v, want %v", c.name, c.got, c.want)
		}
	}
}

// TestMedianIntervalByHand: of 11 values the median of the resample is at most the i-th when at least 6 of 11 draws are among the i smallest:
// P(Bin(11, 2/11) ≥ 6) = 0.007, P(Bin(11, 3/11) ≥ 6) = 0.051, so that the third value is the 2.5th percentile, and the ninth the other end.
func TestMedianIntervalByHand(t *testing.T) {
	e, ok := MedianInterval(upTo(11), 0.95)
	if want := (Estimate{6, Interval{3, 9}}); !ok || e != want {
		t.Errorf("MedianInterval(1…11) = %v, %t, want %v", e, ok, want)
	}
	if _, ok := MedianInterval(upTo(9), 0.95); ok {
		t.Error("9 values have an interval")
	}
	same, _ := MedianInterval(slices.Repeat([]float64{5}, 12), 0.95)
	if want := (Estimate{5, Interval{5, 5}}); same != want {
		t.Errorf("twelve fives: %v, want %v", same, want)
	}
}

// TestClosedFormIsTheBootstrap draws what the closed form computes: the distribution functions must agree.
func TestClosedFormIsTheBootstrap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 3, 10, 11} {
		values := make([]float64, n)
		for i := range values {
			values[i] = math.Round(10 * rng.ExpFloat64()) // with ties
		}
		const draws = 40000
		medians := make([]float64, draws)
		sample := make([]float64, n)
		for i := range medians {
			for j := range sample {
				sample[j] = values[rng.IntN(n)]
			}
			medians[i] = Median(sample)
		}
		slices.Sort(medians)
		d := resampledMedian(values)
		if last := d.upTo[len(d.upTo)-1]; last != 1 {
			t.Errorf("n = %d: the probabilities sum to %v", n, last)
		}
		for i, v := range d.value {
			k, _ := slices.BinarySearch(medians, math.Nextafter(v, math.Inf(1)))
			if got := float64(k) / draws; math.Abs(got-d.upTo[i]) > 0.012 { // five standard errors
				t.Errorf("n = %d: P(median ≤ %v) = %.4f, drawn %.4f", n, v, d.upTo[i], got)
			}
		}
	}
}

// TestDifferenceAgainstAllPairs computes the same quantiles from every pair of values.
func TestDifferenceAgainstAllPairs(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		a, b := resampledMedian(sample(rng, 10+rng.IntN(6), families[0].draw)), resampledMedian(sample(rng, 10+rng.IntN(6), families[1].draw))
		type pair struct{ d, p float64 }
		var pairs []pair
		beforeA := 0.0
		for i, x := range a.value {
			beforeB := 0.0
			for j, y := range b.value {
				pairs = append(pairs, pair{x - y, (a.upTo[i] - beforeA) * (b.upTo[j] - beforeB)})
				beforeB = b.upTo[j]
			}
			beforeA = a.upTo[i]
		}
		slices.SortFunc(pairs, func(x, y pair) int {
			if x.d < y.d {
				return -1
			}
			return 1
		})
		for _, p := range []float64{0.025, 0.5, 0.975} {
			sum, want := 0.0, 0.0
			for _, x := range pairs {
				if sum += x.p; sum >= p-slack {
					want = x.d
					break
				}
			}
			if got := differenceQuantile(a, b, p); math.Abs(got-want) > 1e-9 {
				t.Errorf("quantile %v of the difference = %v, want %v", p, got, want)
			}
		}
	}
}

func TestInfiniteValuesAreNoNumbers(t *testing.T) {
	long := append(upTo(10), math.Inf(1), math.Inf(1), math.Inf(1), math.Inf(1), math.Inf(1))
	fine := upTo(15)
	for name, e := range map[string]Estimate{
		"ratio":      must(t)(RatioOfMedians(long, fine, 0.95)),
		"difference": must(t)(DifferenceOfMedians(long, fine, 0.95)),
		"median":     must(t)(MedianInterval(long, 0.95)),
	} {
		if !math.IsInf(e.High, 1) || math.IsInf(e.Low, 0) || math.IsNaN(e.Low) {
			t.Errorf("%s of a sample of which a third is infinite: %v, want a finite low end and an infinite high one", name, e)
		}
	}
	if e := must(t)(RatioOfMedians(fine, long, 0.95)); e.Low != 0 || !(e.High > 0) || math.IsInf(e.High, 1) {
		t.Errorf("the other way round: %v, want 0 to a finite number", e)
	}
	if e := must(t)(Shift(long, long, 0.95)); math.IsNaN(e.Value) || math.IsNaN(e.Low) {
		t.Errorf("Shift = %v", e)
	}
	all := slices.Repeat([]float64{math.Inf(1)}, 10)
	if e := must(t)(RatioOfMedians(all, fine, 0.95)); !math.IsInf(e.Low, 1) {
		t.Errorf("ratio of infinite ones = %v", e)
	}
}

func must(t *testing.T) func(Estimate, bool) Estimate {
	return func(e Estimate, ok bool) Estimate {
		t.Helper()
		if !ok {
			t.Fatal("no estimate")
		}
		return e
	}
}

func TestRatioNeedsEnoughPositiveNumbers(t *testing.T) {
	for name, sides := range map[string][2][]float64{
		"9 on one side": {upTo(9), upTo(10)}, "9 on the other": {upTo(10), upTo(9)}, "a zero": {append(upTo(10), 0), upTo(10)}, "a negative": {upTo(10), append(upTo(10), -1)},
	} {
		if e, ok := RatioOfMedians(sides[0], sides[1], 0.95); ok {
			t.Errorf("%s: %v", name, e)
		}
	}
}

func TestOutliersAreMarkedAndKept(t *testing.T) {
	values := append(upTo(20), 500)
	marks := Outliers(values)
	if len(marks) != len(values) || !marks[20] || slices.Contains(marks[:20], true) {
		t.Errorf("Outliers(1…20, 500) = %v, want the last alone", marks)
	}
	if slices.Contains(Outliers([]float64{1, 1, 1, 1, 1, 1, 1, 1, 1, 9}), true) {
		t.Error("nothing can be marked where the quartiles are equal")
	}
	if slices.Contains(Outliers([]float64{1, 2, 1, 2, 1, 2, 1, 999}), true) {
		t.Error("marked with 8 values")
	}
}

func TestNeededFollowsTheSquareRoot(t *testing.T) {
	values := sample(rand.New(rand.NewPCG(7, 8)), 20, families[0].draw)
	e := must(t)(MedianInterval(values, 0.95))
	if n, ok := Needed(values, e.Width(), 0.95); !ok || n != len(values) {
		t.Errorf("Needed(what is there) = %d, %t, want %d", n, ok, len(values))
	}
	if n, ok := Needed(values, e.Width()/3, 0.95); !ok || n < 9*len(values) || n > 9*len(values)+1 {
		t.Errorf("Needed(a third) = %d, %t, want %d", n, ok, 9*len(values))
	}
	if n, ok := Needed(values, 10, 0.95); !ok || n != EnoughForInterval {
		t.Errorf("Needed(anything) = %d, %t, want %d", n, ok, EnoughForInterval)
	}
	if _, ok := Needed(values[:9], 0.1, 0.95); ok {
		t.Error("advice from 9 values")
	}
	if _, ok := Needed(make([]float64, 12), 0.1, 0.95); ok {
		t.Error("advice for a median of 0")
	}
}
