package report

import "math"

// axis maps values to a range of pixels.
type axis struct {
	log       bool
	low, high float64 // of the values
	from, to  float64 // pixels of low and high
	ticks     []float64
}

// pos is the pixel of v. On a logarithmic axis a value at or below 0 has no place: the caller draws it apart.
func (a axis) pos(v float64) float64 {
	low, high := a.low, a.high
	if a.log {
		v, low, high = math.Log10(v), math.Log10(low), math.Log10(high)
	}
	return a.from + (v-low)/(high-low)*(a.to-a.from)
}

// linearAxis spans at least [low, high] and ends on ticks.
func linearAxis(low, high, from, to float64, want int) axis {
	if !finite(low) || !finite(high) || high <= low {
		high = low + 1
		if !finite(high) {
			low, high = 0, 1
		}
	}
	step := niceStep((high - low) / float64(max(want, 1)))
	a := axis{low: math.Floor(low/step+1e-9) * step, high: math.Ceil(high/step-1e-9) * step, from: from, to: to}
	for i := 0; i <= int(math.Round((a.high-a.low)/step)); i++ {
		a.ticks = append(a.ticks, a.low+float64(i)*step)
	}
	return a
}

// rangeAxis spans exactly [low, high], with ticks inside.
func rangeAxis(low, high, from, to float64, want int) axis {
	if !finite(low) || !finite(high) || high <= low {
		return linearAxis(low, high, from, to, want)
	}
	step := niceStep((high - low) / float64(max(want, 1)))
	a := axis{low: low, high: high, from: from, to: to}
	first := math.Ceil(low/step-1e-9) * step
	for i := 0; i <= int(math.Floor((high-first)/step+1e-9)); i++ {
		a.ticks = append(a.ticks, first+float64(i)*step)
	}
	return a
}

func niceStep(raw float64) float64 {
	mag := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5, 10} {
		if raw <= m*mag*(1+1e-9) {
			return m * mag
		}
	}
	return 10 * mag
}

// logAxis spans at least [low, high], both positive, between steps of 1, 2 and 5.
func logAxis(low, high, from, to float64) axis {
	if !finite(low) || low <= 0 {
		low = 1
	}
	if !finite(high) || high <= low {
		high = low * 10
	}
	var steps []float64
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high))+1; e++ {
		for _, m := range []float64{1, 2, 5} {
			steps = append(steps, m*math.Pow(10, e))
		}
	}
	a := axis{log: true, from: from, to: to}
	first, last := 0, len(steps)-1
	for i, s := range steps {
		if s <= low*(1+1e-9) {
			first = i
		}
		if s >= high*(1-1e-9) {
			last = i
			break
		}
	}
	a.low, a.high = steps[first], steps[last]
	a.ticks = steps[first : last+1]
	if len(a.ticks) > 10 { // decades only
		decades := []float64{}
		for i, s := range a.ticks {
			if (first+i)%3 == 0 {
				decades = append(decades, s)
			}
		}
		a.ticks = decades
	}
	return a
}

// valueAxis is linear from 0, and logarithmic when a linear one would press most points together.
func valueAxis(values []float64, from, to float64, want int) axis {
	low, high, sum, n := math.Inf(1), 0.0, 0.0, 0
	for _, v := range values {
		if !finite(v) || v < 0 {
			continue
		}
		if v > 0 {
			low = min(low, v)
			sum += math.Log(v)
			n++
		}
		high = max(high, v)
	}
	if n > 0 && high > 8*math.Exp(sum/float64(n)) {
		return logAxis(low, high, from, to)
	}
	return linearAxis(0, high, from, to, want)
}
