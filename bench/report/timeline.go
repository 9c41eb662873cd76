package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/regency-project/regency/bench/metrics"
)

// Sizes of a timeline figure: two columns of panels, the typical trial and the worst one.
const (
	timeWidth  = 1000.0
	timeGutter = 64.0
	timePlot   = 422.0
	timePanel  = 62.0
	timeGap    = 24.0
	timeBins   = 260 // more are joined
)

// timeScale is shared by all timelines of one scenario so that they can be compared by eye.
type timeScale struct {
	low, high           float64 // ms
	rate, errors, cpu   float64
	latencyLow, latency float64
	configs             []string
}

// timelines draws one figure a cell of a scenario, all on the same axes.
func (b *builder) timelines(p metrics.Profile, s metrics.Scenario) []*figure {
	type one struct {
		cell           *metrics.Cell
		typical, worst *metrics.Series
	}
	var cells []one
	var all []*metrics.Series
	for i := range b.run.Cells {
		c := &b.run.Cells[i]
		if c.Profile != p.Name || c.Scenario != s.Name || c.Status != metrics.StatusOK {
			continue
		}
		o := one{c, coarsen(c.Typical), coarsen(c.Worst)}
		if o.typical == nil {
			o.typical, o.worst = o.worst, nil
		}
		if o.typical == nil {
			continue
		}
		cells = append(cells, o)
		all = append(all, o.typical)
		if o.worst != nil {
			all = append(all, o.worst)
		}
	}
	scale := measureScale(all)
	var out []*figure
	for _, o := range cells {
		title := b.backendTitle(o.cell.Backend) + ": " + orText(s.Title, s.Name)
		if o.cell.Variant != "" {
			title += " " + variantTitle(o.cell.Variant)
		}
		c := &canvas{}
		height := b.timeColumn(c, 0, "Typical trial", o.typical, scale, b.colour(o.cell.Backend))
		if o.worst != nil {
			height = max(height, b.timeColumn(c, timeWidth-timeGutter-timePlot-10, "Worst trial", o.worst, scale, b.colour(o.cell.Backend)))
		} else {
			c.text(timeWidth-timePlot-10, 14, "start", "mut ital", "The typical trial is also the worst one, or the only one recorded.")
		}
		caption := fmt.Sprintf("What the clients saw before, during and after the fault, in bins of %s.", ms(o.typical.BinMs))
		out = append(out, c.figure(b.id("timeline", p.Name, s.Name, o.cell.Backend, o.cell.Variant), title, caption, timeWidth, height))
	}
	return out
}

func measureScale(all []*metrics.Series) timeScale {
	k := timeScale{low: math.Inf(1), high: math.Inf(-1), latencyLow: math.Inf(1)}
	for _, s := range all {
		k.low = min(k.low, s.StartMs)
		k.high = max(k.high, s.StartMs+s.BinMs*float64(binsOf(s)))
		for _, m := range s.Marks {
			if finite(m.AtMs) {
				k.low, k.high = min(k.low, m.AtMs), max(k.high, m.AtMs)
			}
		}
		for _, t := range s.Configs {
			if !contains(k.configs, t.Config) {
				k.configs = append(k.configs, t.Config)
			}
			k.rate = max(k.rate, peak(t.Offered), peak(t.Acked))
			k.errors = max(k.errors, peak(t.Errors))
			k.latency = max(k.latency, peakOf(t.MaxMs))
			for _, v := range t.MaxMs {
				if v != nil && *v > 0 && finite(*v) {
					k.latencyLow = min(k.latencyLow, *v)
				}
			}
		}
		for _, t := range s.CPU {
			k.cpu = max(k.cpu, peakOf(t.CPU))
		}
	}
	return k
}

// errorHeight is that of the panel of errors: none when there were none.
func (k timeScale) errorHeight() float64 {
	if k.errors <= 0 {
		return 0
	}
	return timePanel
}

// timeColumn draws one trial from x on and gives the height used.
func (b *builder) timeColumn(c *canvas, x float64, name string, s *metrics.Series, k timeScale, class string) float64 {
	x0 := x + timeGutter
	t := rangeAxis(k.low, k.high, x0, x0+timePlot, 8)
	c.text(x, 14, "start", "strong", name)
	sub := s.Trial
	if tr := b.trials[s.Trial]; tr != nil && tr.Headline != nil {
		sub += " · outage " + ms(*tr.Headline)
	}
	c.text(x+106, 14, "start", "small mut", ellipsis(sub, 62))
	const top = 56.0
	lanes := chooseLanes(s)
	laneTop := top + float64(len(k.configs)+1)*(timePanel+timeGap) + k.errorHeight() + timeGap
	cpuTop := laneTop + lanesHeight(lanes) + timeGap
	bottom := cpuTop + timePanel
	faultWindow(c, t, s, top-18, bottom)
	drawMarks(c, t, s.Marks, top-18, bottom)
	y := top
	for _, config := range k.configs {
		ratePanel(c, t, s, config, y, k, class)
		y += timePanel + timeGap
	}
	latencyPanel(c, t, s, y, k, class)
	y += timePanel + timeGap
	errorPanel(c, t, s, y, k)
	drawLanes(c, t, lanes, len(s.Lanes), laneTop)
	cpuPanel(c, t, s, cpuTop, k, class)
	for _, tick := range t.ticks {
		c.text(t.pos(tick), bottom+15, "middle", "tick", secondsTick(tick))
	}
	c.text(x0+timePlot/2, bottom+32, "middle", "unit", "seconds after the fault took effect")
	return bottom + 40
}

// seconds writes an instant with its hundredths.
func seconds(v float64) string { return strings.Replace(fixed(v/1000, 2), "-", "−", 1) }

func secondsTick(v float64) string {
	s := strings.TrimRight(strings.TrimRight(fixed(v/1000, 2), "0"), ".")
	if s == "-0" {
		return "0"
	}
	return strings.Replace(s, "-", "−", 1)
}

func faultWindow(c *canvas, t axis, s *metrics.Series, top, bottom float64) {
	from, to := s.Window.StartMs, t.high
	what := "fault: the victim stays down until the end of the picture"
	if s.Window.EndMs != nil && finite(*s.Window.EndMs) {
		to = *s.Window.EndMs
		what = "fault: from its effect until the victim was resumed or restarted, " + ms(to-from)
	}
	x1, x2 := t.pos(clamp(from, t.low, t.high)), t.pos(clamp(to, t.low, t.high))
	c.rect(x1, top, x2-x1, bottom-top, "window", what)
	c.line(x1, top, x1, bottom, "faultline")
}

func clamp(v, low, high float64) float64 { return min(max(v, low), high) }

// panel draws the frame of one panel: title, horizontal grid and its axis from 0.
func panel(c *canvas, t axis, y, peak float64, title string) axis {
	a := linearAxis(0, peak, y+timePanel, y, 2)
	c.text(t.from, y-5, "start", "title", title)
	for _, v := range a.ticks {
		c.line(t.from, a.pos(v), t.to, a.pos(v), "grid")
		c.text(t.from-6, a.pos(v)+4, "end", "tick", tickNumber(v))
	}
	return a
}

func tickNumber(v float64) string {
	if v != 0 && math.Abs(v) < 100 {
		return strings.TrimRight(strings.TrimRight(fixed(v, 2), "0"), ".")
	}
	return number(v)
}

func ratePanel(c *canvas, t axis, s *metrics.Series, config string, y float64, k timeScale, class string) {
	a := panel(c, t, y, k.rate, "records/s, "+config+" client: acknowledged (filled), offered (line)")
	tr := trafficOf(s, config)
	if tr == nil {
		c.text(t.from+6, y+timePanel/2, "start", "mut ital", "no such client in this trial")
		return
	}
	c.path(steps(t, a, s, tr.Acked, true), "area f-"+class, "")
	c.path(steps(t, a, s, tr.Acked, false), "curve s-"+class, "")
	c.path(steps(t, a, s, tr.Offered, false), "offered", "")
}

func latencyPanel(c *canvas, t axis, s *metrics.Series, y float64, k timeScale, class string) {
	title := "longest latency, ms (logarithmic): "
	for i, config := range k.configs {
		if i > 0 {
			title += ", "
		}
		title += config + []string{" (line)", " (dotted)"}[i%2]
	}
	c.text(t.from, y-5, "start", "title", title)
	if k.latency <= 0 || !finite(k.latencyLow) {
		c.text(t.from+6, y+timePanel/2, "start", "mut ital", "no latency recorded")
		return
	}
	a := logAxis(k.latencyLow, k.latency, y+timePanel, y)
	for _, v := range a.ticks {
		c.line(t.from, a.pos(v), t.to, a.pos(v), "grid")
		if first := math.Pow(10, math.Round(math.Log10(v))); math.Abs(first-v) < 1e-9*v {
			c.text(t.from-6, a.pos(v)+4, "end", "tick", tickNumber(v))
		}
	}
	for i, config := range k.configs {
		if tr := trafficOf(s, config); tr != nil {
			line := "curve s-" + class
			if i%2 == 1 {
				line += " dotted"
			}
			c.path(levels(t, a, s, tr.MaxMs), line, "")
		}
	}
}

func errorPanel(c *canvas, t axis, s *metrics.Series, y float64, k timeScale) {
	if k.errors <= 0 {
		c.text(t.from, y-5, "start", "title", "errors/s: none in the trials of this scenario drawn here")
		return
	}
	sum := make([]float64, binsOf(s))
	for _, tr := range s.Configs {
		for i := range min(len(sum), len(tr.Errors)) {
			if finite(tr.Errors[i]) {
				sum[i] += tr.Errors[i]
			}
		}
	}
	a := panel(c, t, y, max(k.errors, peak(sum)), "errors/s, all clients")
	c.path(steps(t, a, s, sum, true), "errors", "")
}

func cpuPanel(c *canvas, t axis, s *metrics.Series, y float64, k timeScale, class string) {
	a := panel(c, t, y, k.cpu, "CPU seconds/s: brokers (line), service (dotted), harness (grey)")
	drawn := false
	for _, track := range s.CPU {
		d := levels(t, a, s, track.CPU)
		drawn = drawn || d != ""
		switch track.Name {
		case "brokers":
			c.path(d, "curve s-"+class, track.Name)
		case "service":
			c.path(d, "curve dotted s-"+class, track.Name)
		default:
			c.path(d, "offered", track.Name)
		}
	}
	if !drawn {
		c.text(t.from+6, y+timePanel/2, "start", "mut ital", "not sampled")
	}
}

// drawMarks draws the instants as lines through all panels. Those that fall together share a label.
func drawMarks(c *canvas, t axis, marks []metrics.Mark, top, bottom float64) {
	lastEnd := math.Inf(-1)
	rowUp := false
	for i := 0; i < len(marks); {
		if !finite(marks[i].AtMs) {
			i++
			continue
		}
		j := i
		for j+1 < len(marks) && finite(marks[j+1].AtMs) && t.pos(marks[j+1].AtMs)-t.pos(marks[i].AtMs) < 40 {
			j++
		}
		label := marks[i].Name + " " + seconds(marks[i].AtMs) + nbsp + "s"
		if j > i {
			label = fmt.Sprintf("%s → %s %s–%s%ss", marks[i].Name, marks[j].Name, seconds(marks[i].AtMs), seconds(marks[j].AtMs), nbsp)
		}
		for _, m := range marks[i : j+1] {
			c.line(t.pos(m.AtMs), top, t.pos(m.AtMs), bottom, "mark")
		}
		x, width := t.pos(marks[i].AtMs), float64(len([]rune(label)))*5.6
		if x+width > t.to {
			x = t.to - width
		}
		y := top - 3
		if rowUp = x < lastEnd && !rowUp; rowUp {
			y -= 11
		}
		c.text(x, y, "start", "small halo", label)
		lastEnd = x + width + 6
		i = j + 1
	}
}
