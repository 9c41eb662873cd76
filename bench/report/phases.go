package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/regency-project/regency/bench/metrics"
)

// phaseTitles says what ends each phase.
var phaseTitles = map[string]string{
	metrics.PhaseDetection:   "until the first survivor sees that the victim's session is gone",
	metrics.PhaseElection:    "until a controller is elected",
	metrics.PhaseLoad:        "until the new controller has loaded the metadata",
	metrics.PhaseCommit:      "until the new leadership is committed at the coordination service",
	metrics.PhaseServe:       "until a broker has applied it and leads",
	metrics.PhaseAcknowledge: "until the first probe is acknowledged again",
}

// Sizes of the phase figure: the whole outage on the left, what follows detection magnified on the right.
const (
	phaseWidth = 1000.0
	phaseLeft  = 200.0
	phaseSplit = 610.0 // end of the left panel
	phaseRight = 650.0 // start of the right panel
	phaseEnd   = 985.0
	phaseRow   = 44.0
)

type phaseBar struct {
	label, sub, class string
	widths            map[string]float64
	missing           []string
	bound             *metrics.Bound
	outage            *float64
	note              string
}

type phaseGroup struct {
	title string
	bars  []phaseBar
}

// phaseFigure stacks the medians of the phases of every cell of a profile.
func (b *builder) phaseFigure(p metrics.Profile) *figure {
	var groups []phaseGroup
	for _, l := range b.lines(p.Name, "failover") {
		if l.variant != "" {
			continue
		}
		g := phaseGroup{title: orText(l.scenario.Title, l.scenario.Name)}
		for _, x := range b.run.Backends {
			for _, v := range b.variants(p.Name, l.scenario.Name, x.Name) {
				g.bars = append(g.bars, b.phaseBar(p.Name, line{l.scenario, v}, x))
			}
		}
		groups = append(groups, g)
	}
	if len(groups) == 0 {
		return nil
	}
	c, height := drawPhases(groups)
	return c.figure(b.id("phases", p.Name), "Phases of the failover, profile "+p.Name,
		"Each bar stacks the median widths of the phases; the left side shows the whole failover beside the configured detection bound, the right side what follows detection, magnified.",
		phaseWidth, height)
}

func (b *builder) phaseBar(profile string, l line, x metrics.Backend) phaseBar {
	c := b.cell(profile, l, x.Name)
	bar := phaseBar{label: shortTitle(x), sub: variantShort(l.variant), class: b.colour(x.Name), widths: map[string]float64{}}
	if bar.note = b.blocked(c, l, x, false); bar.note != "" {
		return bar
	}
	bar.bound = c.Bound
	if usable(c.Headline) {
		bar.outage = &c.Headline.Median
	}
	for _, name := range metrics.PhaseNames {
		if s := phaseSummary(c, name); usable(s) {
			bar.widths[name] = max(s.Median, 0)
		} else {
			bar.missing = append(bar.missing, name)
		}
	}
	if len(bar.widths) == 0 {
		bar.note = "no phase observed"
	}
	return bar
}

func phaseSummary(c *metrics.Cell, name string) *metrics.Summary {
	i := slices.IndexFunc(c.Phases, func(p metrics.PhaseSummary) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return c.Phases[i].Summary
}

func drawPhases(groups []phaseGroup) (*canvas, float64) {
	c := &canvas{}
	const top = 44.0
	bottom := top
	whole, after := 0.0, 0.0
	for _, g := range groups {
		bottom += stripHeader + float64(len(g.bars))*phaseRow
		for _, bar := range g.bars {
			total, tail := 0.0, 0.0
			for name, w := range bar.widths {
				total += w
				if name != metrics.PhaseDetection {
					tail += w
				}
			}
			whole, after = max(whole, total), max(after, tail)
			if bar.bound != nil && bar.note == "" {
				whole = max(whole, bar.bound.UpperMs)
			}
			if bar.outage != nil {
				whole = max(whole, *bar.outage)
			}
		}
	}
	left := linearAxis(0, whole, phaseLeft, phaseSplit, 6)
	right := linearAxis(0, after, phaseRight, phaseEnd, 5)
	phaseLegend(c)
	for _, a := range []axis{left, right} {
		for _, t := range a.ticks {
			c.line(a.pos(t), top, a.pos(t), bottom, "grid")
			c.text(a.pos(t), bottom+16, "middle", "tick", tickNumber(t))
		}
	}
	c.text((phaseLeft+phaseSplit)/2, bottom+34, "middle", "unit", "since the fault took effect, milliseconds")
	c.text((phaseRight+phaseEnd)/2, bottom+34, "middle", "unit", "since detection, milliseconds (magnified)")
	y := top
	for _, g := range groups {
		c.text(0, y+18, "start", "strong", ellipsis(g.title, 90))
		c.line(0, y+stripHeader-3, phaseWidth, y+stripHeader-3, "rule")
		y += stripHeader
		for _, bar := range g.bars {
			bar.draw(c, left, right, y)
			y += phaseRow
		}
	}
	return c, bottom + 42
}

func (bar phaseBar) draw(c *canvas, left, right axis, y float64) {
	mid := y + phaseRow/2 - 2
	labelY := mid + 4
	if bar.sub != "" {
		labelY = mid - 1
		c.note(16, mid+11, phaseLeft-20, "small mut", bar.sub)
	}
	c.rect(0, mid-5, 8, 10, "f-"+bar.class, "")
	c.note(16, labelY, phaseLeft-20, "label", bar.label)
	if bar.note != "" {
		c.note(phaseLeft+6, mid+4, phaseWidth-phaseLeft-20, "mut ital", bar.note)
		return
	}
	at, tail := 0.0, 0.0
	for i, name := range metrics.PhaseNames {
		w, ok := bar.widths[name]
		if !ok {
			continue
		}
		t := name + " " + ms(w)
		class := "phase p" + strconv.Itoa(i)
		c.rect(left.pos(at), mid-8, left.pos(at+w)-left.pos(at), 16, class, t)
		if px := left.pos(at+w) - left.pos(at); px > 60 {
			c.text(left.pos(at)+8, mid+4, "start", "inbar t"+strconv.Itoa(i), ms(w))
		}
		at += w
		if name == metrics.PhaseDetection {
			continue
		}
		px := right.pos(tail+w) - right.pos(tail)
		c.rect(right.pos(tail), mid-8, px, 16, class, t)
		if px > 26 {
			c.text(right.pos(tail)+px/2, mid+4, "middle", "inbar t"+strconv.Itoa(i), number(w))
		}
		tail += w
	}
	if bar.outage != nil && finite(*bar.outage) {
		x := left.pos(*bar.outage)
		c.line(x, mid-12, x, mid+12, "median")
	}
	if b := bar.bound; b != nil && finite(b.LowerMs) && finite(b.UpperMs) {
		c.bracket(left.pos(b.LowerMs), left.pos(b.UpperMs), mid-14, 5, "bound", "configured detection bound "+span(b.LowerMs, b.UpperMs)+" ms")
	}
	if len(bar.missing) > 0 {
		c.text(phaseRight, mid+19, "start", "small mut", "not observed: "+strings.Join(bar.missing, ", "))
	}
}

func phaseLegend(c *canvas) {
	x := 0.0
	for i, name := range metrics.PhaseNames {
		c.rect(x, 4, 14, 12, "phase p"+strconv.Itoa(i), phaseTitles[name])
		c.text(x+19, 14, "start", "legend", name)
		x += 36 + float64(len(name))*6.4
	}
	c.bracket(x, x+18, 6, 6, "bound", "")
	c.text(x+24, 14, "start", "legend", "configured detection bound")
	x += 198
	c.line(x, 2, x, 18, "median")
	c.text(x+8, 14, "start", "legend", "median outage (prober)")
	c.text(phaseLeft, 36, "start", "small mut", "whole failover")
	c.text(phaseRight, 36, "start", "small mut", "after detection")
}

// phaseTable gives the widths that the figure stacks.
func (b *builder) phaseTable(p metrics.Profile) *table {
	t := &table{ID: b.id("phase-table", p.Name), Caption: "Median width of each phase, with its range or interval. “Not observed” is not 0: no trial showed the end of the phase, because it was not seen or does not belong to the fault. A phase starts where the last observed one ended, so where a trial lacks a phase its time is in the next one."}
	t.Columns = []column{{Title: "Backend"}}
	for _, name := range metrics.PhaseNames {
		t.Columns = append(t.Columns, column{Title: name})
	}
	group := ""
	for _, l := range b.lines(p.Name, "failover") {
		for _, x := range b.run.Backends {
			c := b.cell(p.Name, l, x.Name)
			if b.blocked(c, l, x, true) != "" {
				continue
			}
			if group != l.title() {
				group = l.title()
				t.Rows = append(t.Rows, row{Group: group})
			}
			r := row{Cells: []cell{b.backendHead(x.Name)}}
			for _, name := range metrics.PhaseNames {
				r.Cells = append(r.Cells, phaseCell(c, name))
			}
			t.Rows = append(t.Rows, r)
		}
	}
	return t
}

func phaseCell(c *metrics.Cell, name string) cell {
	s := phaseSummary(c, name)
	if !usable(s) {
		return mute(notObserved)
	}
	out := figureCell(medianText(s), spreadText(s))
	if s.N < c.Valid {
		out.Sub = append(out.Sub, fmt.Sprintf("seen in %d of %d", s.N, c.Valid))
	}
	return out
}
