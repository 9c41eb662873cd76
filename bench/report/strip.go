package report

import (
	"fmt"
	"math"
	"strconv"

	"github.com/regency-project/regency/bench/metrics"
)

// Sizes of a strip plot.
const (
	stripWidth  = 1000.0
	stripLeft   = 200.0
	stripRight  = 150.0
	stripRow    = 34.0
	stripHeader = 28.0
)

// strip is a row of a strip plot: every point of a cell on one line.
type strip struct {
	label, sub string
	class      string // colour
	points     []stripPoint
	median     *float64
	ci         *metrics.Interval
	bound      *metrics.Bound
	right      string // figures at the end of the row
	note       string // instead of points
}

type stripPoint struct {
	value    float64
	censored bool
	tip      string
}

// stripGroup is a heading with rows.
type stripGroup struct {
	title string
	rows  []strip
}

// drawStrips plots every point of every row on one axis. Nothing is left out: the axis reaches the largest value, and zeros stand in a gutter of their own
// when the axis is logarithmic.
func drawStrips(groups []stripGroup, axisTitle, dot string) (*canvas, float64) {
	c := &canvas{}
	values, zeros := stripValues(groups)
	top := 30.0
	height := top
	for _, g := range groups {
		height += stripHeader + float64(len(g.rows))*stripRow
	}
	bottom := height + 6
	a := valueAxis(values, stripLeft+14, stripWidth-stripRight-14, 8)
	if a.log {
		axisTitle += ", logarithmic"
		if zeros {
			a.from += 40
		}
	}
	stripLegend(c, groups, dot, a.log && zeros)
	for _, t := range a.ticks {
		x := a.pos(t)
		c.line(x, top, x, bottom, "grid")
		c.text(x, bottom+16, "middle", "tick", tickNumber(t))
	}
	if a.log && zeros {
		c.text(stripLeft+14, bottom+16, "middle", "tick", "0")
		c.line(stripLeft+32, top, stripLeft+32, bottom, "axis dash")
	}
	c.text((stripLeft+stripWidth-stripRight)/2, bottom+34, "middle", "unit", axisTitle)
	y := top
	for _, g := range groups {
		c.text(0, y+18, "start", "strong", ellipsis(g.title, 90))
		c.line(0, y+stripHeader-3, stripWidth, y+stripHeader-3, "rule")
		y += stripHeader
		for _, r := range g.rows {
			r.draw(c, a, y)
			y += stripRow
		}
	}
	return c, bottom + 42
}

func stripValues(groups []stripGroup) (values []float64, zeros bool) {
	for _, g := range groups {
		for _, r := range g.rows {
			for _, p := range r.points {
				values = append(values, p.value)
				zeros = zeros || p.value <= 0
			}
			if r.ci != nil {
				values = append(values, r.ci.Low, r.ci.High)
			}
			if r.bound != nil && len(r.points) > 0 {
				values = append(values, r.bound.LowerMs, r.bound.UpperMs)
			}
		}
	}
	return values, zeros
}

func (r strip) draw(c *canvas, a axis, y float64) {
	mid := y + stripRow/2
	labelY := mid + 4
	if r.sub != "" {
		labelY = mid - 1
		c.note(16, mid+11, stripLeft-20, "small mut", r.sub)
	}
	c.rect(0, mid-5, 8, 10, "f-"+r.class, "")
	c.note(16, labelY, stripLeft-20, "label", r.label)
	if r.note != "" {
		c.note(stripLeft+14, mid+4, stripWidth-stripLeft-20, "mut ital", r.note)
		return
	}
	place := func(v float64) float64 {
		if a.log && v <= 0 {
			return stripLeft + 14
		}
		return a.pos(v)
	}
	if b := r.bound; b != nil && finite(b.LowerMs) && finite(b.UpperMs) {
		x1, x2 := place(b.LowerMs), place(b.UpperMs)
		c.rect(x1, y+4, x2-x1, stripRow-8, "boundfill", "configured detection bound "+span(b.LowerMs, b.UpperMs)+" ms")
		c.bracket(x1, x2, y+4, 6, "bound", "")
	}
	c.line(stripLeft, mid, stripWidth-stripRight, mid, "hair")
	if r.ci != nil && finite(r.ci.Low) && finite(r.ci.High) {
		x1, x2 := place(r.ci.Low), place(r.ci.High)
		c.rect(x1, y+stripRow-6, max(x2-x1, 1), 3.5, "f-"+r.class, "95 % interval of the median "+span(r.ci.Low, r.ci.High))
	}
	if r.median != nil && finite(*r.median) {
		x := place(*r.median)
		c.line(x, mid-13, x, mid+13, "median")
	}
	radius := 4.0
	if len(r.points) > 10 {
		radius = 3.2
	}
	for i, p := range r.points {
		x, py := place(p.value), mid+stripOffset(i, len(r.points))
		if p.censored {
			c.path(fmt.Sprintf("M%s %sl8 4.5l-8 4.5z", coordinate(x), coordinate(py-4.5)), "open s-"+r.class, p.tip)
			continue
		}
		c.circle(x, py, radius, "dot f-"+r.class, p.tip)
	}
	c.text(stripWidth, mid+4, "end", "figure", r.right)
}

// stripOffset spreads points up and down in a fixed pattern so that equal values stay apart.
func stripOffset(i, n int) float64 {
	switch {
	case n == 1:
		return 0
	case n <= 10:
		return []float64{0, -5, 5, -2.5, 2.5}[i%5]
	}
	return []float64{0, -8, 4, -4, 8, -6, 2, -2, 6}[i%9] - 1
}

func stripLegend(c *canvas, groups []stripGroup, dot string, zeros bool) {
	var censored, ci, bound bool
	for _, g := range groups {
		for _, r := range g.rows {
			ci = ci || r.ci != nil
			bound = bound || r.bound != nil && len(r.points) > 0
			for _, p := range r.points {
				censored = censored || p.censored
			}
		}
	}
	x := 0.0
	entry := func(draw func(x float64), label string) {
		draw(x + 8)
		c.text(x+20, 15, "start", "legend", label)
		x += 36 + float64(len([]rune(label)))*6.1
	}
	entry(func(x float64) { c.circle(x, 11, 4, "dot f-neutral", "") }, dot)
	entry(func(x float64) { c.line(x, 3, x, 19, "median") }, "median")
	if ci {
		entry(func(x float64) { c.rect(x-8, 10, 16, 3.5, "f-neutral", "") }, "95 % interval of the median")
	}
	if bound {
		entry(func(x float64) {
			c.rect(x-8, 4, 16, 14, "boundfill", "")
			c.bracket(x-8, x+8, 4, 6, "bound", "")
		}, "configured detection bound")
	}
	if censored {
		entry(func(x float64) {
			c.path(fmt.Sprintf("M%s 6.5l8 4.5l-8 4.5z", coordinate(x-4)), "open s-neutral", "")
		}, "recovery not seen: at least this long")
	}
	if zeros {
		entry(func(x float64) { c.text(x, 15, "middle", "legend", "0") }, "no failed probe")
	}
}

// outageFigure shows every trial's outage of a profile.
func (b *builder) outageFigure(p metrics.Profile) *figure {
	var groups []stripGroup
	n, censored := 0, 0
	for _, l := range b.lines(p.Name, "failover") {
		if l.variant != "" {
			continue
		}
		g := stripGroup{title: orText(l.scenario.Title, l.scenario.Name) + headlineSuffix(l.scenario)}
		for _, x := range b.run.Backends {
			for _, v := range b.variants(p.Name, l.scenario.Name, x.Name) {
				row := b.outageStrip(p.Name, line{l.scenario, v}, x)
				for _, pt := range row.points {
					n++
					if pt.censored {
						censored++
					}
				}
				g.rows = append(g.rows, row)
			}
		}
		groups = append(groups, g)
	}
	if len(groups) == 0 {
		return nil
	}
	c, height := drawStrips(groups, "outage, milliseconds", "one trial")
	caption := "Each dot is the outage of one trial, that of its worst probed partition; " + plural(n, "point is", "points are") + " drawn and none is clipped or left out."
	if censored > 0 {
		caption += " " + plural(censored, "open arrow had", "open arrows had") + " not recovered when the observation ended."
	}
	return c.figure(b.id("outages", p.Name), "Outages, profile "+p.Name, caption, stripWidth, height)
}

func headlineSuffix(s metrics.Scenario) string {
	if s.Headline == "" {
		return ""
	}
	if s.Headline == metrics.ClassControl {
		return " · outage of the control plane"
	}
	if s.Headline == metrics.ClassData {
		return " · outage of the worst probed partition"
	}
	return " · outage of partitions " + className(s.Headline)
}

func (b *builder) outageStrip(profile string, l line, x metrics.Backend) strip {
	c := b.cell(profile, l, x.Name)
	r := strip{label: shortTitle(x), sub: variantShort(l.variant), class: b.colour(x.Name)}
	if r.note = b.blocked(c, l, x, false); r.note != "" {
		return r
	}
	if !usable(c.Headline) {
		r.note = "no trial counted"
		return r
	}
	s := c.Headline
	r.ci, r.bound, r.median = s.CI, c.Bound, &s.Median
	for _, p := range s.Points {
		if !finite(p.Value) {
			continue
		}
		t := p.Trial + ": " + ms(p.Value)
		if p.Censored {
			t = p.Trial + ": at least " + ms(p.Value) + ", recovery was not seen"
		}
		r.points = append(r.points, stripPoint{math.Max(p.Value, 0), p.Censored, t})
	}
	r.right = medianText(s) + " · n" + nbsp + strconv.Itoa(s.N)
	return r
}

// variants lists the variants that a cell of a backend has; the plain one when there is none, so that its row says why.
func (b *builder) variants(profile, scenario, backend string) []string {
	var out []string
	for _, c := range b.run.Cells {
		if c.Profile == profile && c.Scenario == scenario && c.Backend == backend {
			out = append(out, c.Variant)
		}
	}
	if len(out) == 0 {
		return []string{""}
	}
	return out
}
