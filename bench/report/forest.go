package report

import (
	"github.com/regency-project/regency/bench/metrics"
)

// compared is a comparison as the report words it.
type compared struct {
	metrics.Comparison
	verdict string
}

// judge words a ratio by its interval alone: a difference is named only when the interval excludes 1, and an interval needs 10 trials on both sides.
func judge(r metrics.Ratio) string {
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

func (b *builder) comparisons(p metrics.Profile) []compared {
	if !p.Ranked {
		return nil
	}
	var out []compared
	for _, c := range b.run.Comparisons {
		if c.Profile == p.Name && finite(c.Ratio.Value) && finite(c.Ratio.Low) && finite(c.Ratio.High) && c.Ratio.Value > 0 && c.Ratio.Low > 0 {
			out = append(out, compared{c, judge(c.Ratio)})
		}
	}
	return out
}

func (b *builder) scenarioTitle(name string) string {
	for _, s := range b.run.Scenarios {
		if s.Name == name {
			return orText(s.Title, s.Name)
		}
	}
	return name
}

func (b *builder) comparisonTable(p metrics.Profile, list []compared) *table {
	ref := b.backendTitle(b.run.Reference)
	t := &table{ID: b.id("comparison", p.Name), Caption: "Ratio of the medians of the time from detection to the first acknowledged probe to that of " + ref + "; below 1 is shorter. Only what follows detection is ranked: the detection window follows from the timeouts that are set, and these differ between services. “Faster” and “slower” are said only when the 95 % interval excludes 1, which needs at least 10 trials on both sides."}
	t.Columns = []column{{Title: "Backend"}, {Title: "Ratio to " + ref}, {Title: "Interval"}, {Title: "Verdict"}}
	group := ""
	for _, c := range list {
		if title := b.scenarioTitle(c.Scenario); title != group {
			group = title
			t.Rows = append(t.Rows, row{Group: group})
		}
		t.Rows = append(t.Rows, row{Cells: []cell{b.backendHead(c.Backend), figureCell(ratioText(c.Ratio.Value)), text(ratioSpan(c.Ratio)), text(c.verdict)}})
	}
	return t
}

// forestFigure draws the ratios with their intervals around 1.
func (b *builder) forestFigure(p metrics.Profile, list []compared) *figure {
	const width, left, right, rowH = 1000.0, 200.0, 230.0, 26.0
	reach := 1.25
	for _, c := range list {
		for _, v := range []float64{c.Ratio.Value, c.Ratio.Low, c.Ratio.High} {
			reach = max(reach, v, 1/v)
		}
	}
	a := axis{log: true, low: 1 / reach, high: reach, from: left + 10, to: width - right}
	ticks := []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100}
	if reach < 2.5 {
		ticks = []float64{0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 1.75, 2, 2.5}
	}
	for _, v := range ticks {
		if v >= a.low && v <= a.high {
			a.ticks = append(a.ticks, v)
		}
	}
	c := &canvas{}
	const top = 6.0
	bottom := top
	group := ""
	for _, x := range list {
		if x.Scenario != group {
			group, bottom = x.Scenario, bottom+stripHeader
		}
		bottom += rowH
	}
	for _, v := range a.ticks {
		class := "grid"
		if v == 1 {
			class = "one"
		}
		c.line(a.pos(v), top+stripHeader, a.pos(v), bottom, class)
		c.text(a.pos(v), bottom+16, "middle", "tick", tickNumber(v))
	}
	c.text(a.from, bottom+34, "start", "unit", "← shorter after detection")
	c.text((a.from+a.to)/2, bottom+34, "middle", "unit", "ratio of medians to "+b.backendTitle(b.run.Reference)+", logarithmic")
	c.text(a.to, bottom+34, "end", "unit", "longer →")
	y, group := top, ""
	for _, x := range list {
		if x.Scenario != group {
			group = x.Scenario
			c.text(0, y+18, "start", "strong", ellipsis(b.scenarioTitle(group), 90))
			c.line(0, y+stripHeader-3, width, y+stripHeader-3, "rule")
			y += stripHeader
		}
		mid, class := y+rowH/2, b.colour(x.Backend)
		c.rect(0, mid-5, 8, 10, "f-"+class, "")
		c.note(16, mid+4, left-20, "label", b.backendTitle(x.Backend))
		bar := "whisker s-" + class
		if !x.Ratio.CI {
			bar += " dotted"
		}
		c.line(a.pos(x.Ratio.Low), mid, a.pos(x.Ratio.High), mid, bar)
		c.circle(a.pos(x.Ratio.Value), mid, 5, "dot f-"+class, ratioText(x.Ratio.Value)+", "+ratioSpan(x.Ratio))
		c.text(width, mid+4, "end", "figure", ratioText(x.Ratio.Value)+" · "+x.verdict)
		y += rowH
	}
	caption := "Dots are ratios of the medians of the time after detection to " + b.backendTitle(b.run.Reference) + "; solid whiskers are 95 % intervals, dotted ones only the spread of single trials, from which nothing follows."
	return c.figure(b.id("ratios", p.Name), "Ratios to "+b.backendTitle(b.run.Reference)+", profile "+p.Name, caption, width, bottom+42)
}
