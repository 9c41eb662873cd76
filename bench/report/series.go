package report

import (
	"slices"
	"strings"

	"github.com/regency-project/regency/bench/metrics"
)

func contains(list []string, s string) bool { return slices.Contains(list, s) }

// binsOf is the number of bins that a series has.
func binsOf(s *metrics.Series) int {
	n := 0
	for _, t := range s.Configs {
		n = max(n, len(t.Offered), len(t.Acked))
	}
	for _, t := range s.CPU {
		n = max(n, len(t.CPU))
	}
	return n
}

func trafficOf(s *metrics.Series, config string) *metrics.Traffic {
	for i := range s.Configs {
		if s.Configs[i].Config == config {
			return &s.Configs[i]
		}
	}
	return nil
}

func peak(v []float64) float64 {
	out := 0.0
	for _, x := range v {
		if finite(x) {
			out = max(out, x)
		}
	}
	return out
}

func peakOf(v []*float64) float64 {
	out := 0.0
	for _, x := range v {
		if x != nil && finite(*x) {
			out = max(out, *x)
		}
	}
	return out
}

// steps is the path of a rate that holds over each bin; closed down to 0 for an area.
func steps(t, a axis, s *metrics.Series, values []float64, closed bool) string {
	var b strings.Builder
	last := ""
	for i, v := range values {
		if !finite(v) {
			continue
		}
		y := coordinate(a.pos(v))
		x := coordinate(t.pos(s.StartMs + float64(i)*s.BinMs))
		switch {
		case b.Len() == 0 && closed:
			b.WriteString("M" + x + " " + coordinate(a.pos(0)) + "V" + y)
		case b.Len() == 0:
			b.WriteString("M" + x + " " + y)
		case y != last:
			b.WriteString("H" + x + "V" + y)
		}
		last = y
	}
	if b.Len() == 0 {
		return ""
	}
	b.WriteString("H" + coordinate(t.pos(s.StartMs+float64(len(values))*s.BinMs)))
	if closed {
		b.WriteString("V" + coordinate(a.pos(0)) + "Z")
	}
	return b.String()
}

// levels is the path of values that some bins lack: each value holds over its bin, and a bin without a value leaves a gap.
func levels(t, a axis, s *metrics.Series, values []*float64) string {
	var b strings.Builder
	open := false
	last := ""
	for i, v := range values {
		if v == nil || !finite(*v) || a.log && *v <= 0 {
			open = false
			continue
		}
		y := coordinate(a.pos(*v))
		x1 := coordinate(t.pos(s.StartMs + float64(i)*s.BinMs))
		x2 := coordinate(t.pos(s.StartMs + float64(i+1)*s.BinMs))
		switch {
		case !open:
			b.WriteString("M" + x1 + " " + y + "H" + x2)
		case y == last:
			b.WriteString("H" + x2)
		default:
			b.WriteString("V" + y + "H" + x2)
		}
		open, last = true, y
	}
	return b.String()
}

// coarsen joins bins until a picture can show them: rates become means and keep their sum, maxima stay maxima. The median of joined bins is the median of
// their medians.
func coarsen(s *metrics.Series) *metrics.Series {
	if s == nil || binsOf(s) == 0 || !finite(s.BinMs) || s.BinMs <= 0 || !finite(s.StartMs) {
		return nil
	}
	k := (binsOf(s) + timeBins - 1) / timeBins
	if k <= 1 {
		return s
	}
	out := *s
	out.BinMs = s.BinMs * float64(k)
	out.Configs, out.CPU = nil, nil
	for _, t := range s.Configs {
		out.Configs = append(out.Configs, metrics.Traffic{
			Config: t.Config, Offered: means(t.Offered, k), Acked: means(t.Acked, k), Errors: means(t.Errors, k),
			P50Ms: join(t.P50Ms, k, middle), MaxMs: join(t.MaxMs, k, slices.Max[[]float64]),
		})
	}
	for _, t := range s.CPU {
		out.CPU = append(out.CPU, metrics.CPUTrack{Name: t.Name, CPU: join(t.CPU, k, mean)})
	}
	return &out
}

func means(v []float64, k int) []float64 {
	var out []float64
	for part := range slices.Chunk(v, k) {
		out = append(out, mean(part))
	}
	return out
}

func join(v []*float64, k int, of func([]float64) float64) []*float64 {
	var out []*float64
	for part := range slices.Chunk(v, k) {
		var have []float64
		for _, x := range part {
			if x != nil && finite(*x) {
				have = append(have, *x)
			}
		}
		if len(have) == 0 {
			out = append(out, nil)
			continue
		}
		joined := of(have)
		out = append(out, &joined)
	}
	return out
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

func middle(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
