package report

import (
	"html/template"
	"slices"
	"strconv"

	"github.com/regency-project/regency/bench/metrics"
)

// headline is the matrix that the run exists for.
func (b *builder) headline(p metrics.Profile) []block {
	lines := append(b.lines(p.Name, "failover"), b.lines(p.Name, "throughput")...)
	if len(lines) == 0 {
		return []block{prose("No cell of this profile is in the run.")}
	}
	t := b.matrix("matrix-"+p.Name, "Outage of the worst probed partition of the headline class, one value a trial: median, then its range (from 10 trials on its 95 % interval), p95 (from 40 trials on), the longest, acknowledged records lost, trials counted, and the detection bound that the settings imply.",
		p.Name, lines, false, func(l line, c *metrics.Cell) cell {
			if l.scenario.Kind == "throughput" {
				return throughputHeadline(c)
			}
			return b.headlineCell(c, b.sparkTop(p, l))
		})
	return []block{tabled(t)}
}

func (b *builder) headlineCell(c *metrics.Cell, top float64) cell {
	s := c.Headline
	if !usable(s) {
		return mute(notMeasured, countsText(c, 0))
	}
	out := figureCell(medianText(s), spreadText(s))
	if s.Median == 0 {
		out.Sub = append(out.Sub, noProbeFailed)
	}
	if s.P95 != nil {
		out.Sub = append(out.Sub, "p95 "+atLeast(s, *s.P95)+ms(*s.P95))
	}
	out.Sub = append(out.Sub, "max "+maxText(s), countsText(c, s.N))
	if s.Censored > 0 {
		out.Sub = append(out.Sub, plural(s.Censored, "did not recover", "did not recover"))
	}
	if c.Bound != nil {
		out.Sub = append(out.Sub, "bound "+withUnit(span(c.Bound.LowerMs, c.Bound.UpperMs), "ms"))
	}
	out.Spark = b.spark(c, top)
	return out
}

// noProbeFailed says what an outage of 0 ms is: not that there was none, but that none was long enough to fail a probe.
const noProbeFailed = "0: no probe failed"

func countsText(c *metrics.Cell, n int) string {
	s := "n" + nbsp + strconv.Itoa(n) + " · lost " + grouped(c.Checks.Lost)
	if c.Invalid > 0 {
		s += " · " + strconv.Itoa(c.Invalid) + " invalid"
	}
	return s
}

func throughputHeadline(c *metrics.Cell) cell {
	t := c.Throughput
	if t == nil || len(t.Rounds) == 0 {
		return mute(notMeasured, countsText(c, 0))
	}
	return figureCell(perSecond(t.RecordsPerS), "range "+span(t.MinRecords, t.MaxRecords), countsText(c, len(t.Rounds)))
}

// sparkTop is the right end of the small pictures in one row of the matrix: all of a row share their scale.
func (b *builder) sparkTop(p metrics.Profile, l line) float64 {
	top := 0.0
	for _, x := range b.run.Backends {
		if c := b.cell(p.Name, l, x.Name); c != nil && usable(c.Headline) {
			top = max(top, c.Headline.Max)
			if c.Bound != nil {
				top = max(top, c.Bound.UpperMs)
			}
		}
	}
	return top
}

// spark draws the bound as a band, the range as a line and the median as a dot.
func (b *builder) spark(c *metrics.Cell, top float64) template.HTML {
	if top <= 0 || !finite(top) {
		return ""
	}
	const width, height = 150.0, 12.0
	at := func(v float64) float64 { return 4 + clamp(v/top, 0, 1)*(width-8) }
	s, class := c.Headline, b.colour(c.Backend)
	d := &canvas{}
	if c.Bound != nil {
		d.rect(at(c.Bound.LowerMs), 1, at(c.Bound.UpperMs)-at(c.Bound.LowerMs), height-2, "boundfill", "")
	}
	d.line(0, height/2, width, height/2, "hair")
	d.line(at(s.Min), height/2, at(s.Max), height/2, "whisker s-"+class)
	d.circle(at(s.Median), height/2, 4, "dot f-"+class, "")
	return template.HTML(`<svg class="spark" viewBox="0 0 150 12" aria-hidden="true">` + d.String() + `</svg>`)
}

// remainder is what a failover takes beyond detection.
func (b *builder) remainder(p metrics.Profile) []block {
	lines := b.lines(p.Name, "failover")
	if len(lines) == 0 {
		return nil
	}
	t := b.matrix("remainder-"+p.Name, "Outage − detection, paired by trial: what our code adds to the time that the service's timeout decides. The medians of outage and detection stand below; their difference need not equal the median of the differences.",
		p.Name, lines, true, func(_ line, c *metrics.Cell) cell {
			if !usable(c.Remainder) {
				return mute(notMeasured)
			}
			out := figureCell(medianText(c.Remainder), spreadLines(c.Remainder)...)
			if usable(c.Headline) {
				out.Sub = append(out.Sub, "outage "+medianText(c.Headline))
			}
			if usable(c.Detection) {
				out.Sub = append(out.Sub, "detection "+medianText(c.Detection))
			}
			if usable(c.Evidence) {
				out.Sub = append(out.Sub, "of which until evidence "+medianText(c.Evidence))
			}
			if usable(c.Ensemble) {
				out.Sub = append(out.Sub, "of which until the ensemble had a leader "+medianText(c.Ensemble))
			}
			if usable(c.ClaimAfter) {
				out.Sub = append(out.Sub, "claimed "+medianText(c.ClaimAfter)+" after that")
			}
			if phase, width := largestAfterDetection(c); phase != "" {
				out.Sub = append(out.Sub, "then longest: "+phase+" "+ms(width))
			}
			return out
		})
	return []block{tabled(t)}
}

// split shows, for a backend whose service runs inside the brokers, the cells whose victim led that service beside those whose victim did not.
func (b *builder) split(p metrics.Profile) []block {
	t := &table{ID: b.id("split", p.Name), Caption: "The same fault, split by whether the victim also led the coordination service."}
	t.Columns = []column{{Title: "Backend"}, {Title: "Victim"}, {Title: "Outage"}, {Title: "Detection"}, {Title: "Outage − detection"}, {Title: "n"}}
	group := ""
	for i := range b.run.Cells {
		c := &b.run.Cells[i]
		if c.Profile != p.Name || c.Status != metrics.StatusOK || !slices.ContainsFunc(b.run.Cells, func(o metrics.Cell) bool {
			return o.Profile == c.Profile && o.Scenario == c.Scenario && o.Backend == c.Backend && o.Variant == variantCoordination
		}) {
			continue
		}
		if title := b.scenarioTitle(c.Scenario); title != group {
			group = title
			t.Rows = append(t.Rows, row{Group: group})
		}
		who := "did not lead the service"
		if c.Variant == variantCoordination {
			who = "led the service as well"
		} else if c.Variant != "" {
			who = c.Variant
		}
		t.Rows = append(t.Rows, row{Cells: []cell{b.backendHead(c.Backend), text(who), summaryCell(c.Headline), summaryCell(c.Detection), summaryCell(c.Remainder), figureCell(strconv.Itoa(c.Valid))}})
	}
	if len(t.Rows) == 0 {
		return nil
	}
	return []block{prose("When the coordination service runs inside the brokers, a kill may take a broker and the leader of the service at once: two faults in one, and the service first elects a leader of its own. Those trials have a row of their own and are never ranked with the plain ones; their counterpart on another backend would be to kill a broker and the service's leader together."), tabled(t)}
}

// summaryCell shows a summary of outages or gaps.
func summaryCell(s *metrics.Summary) cell {
	if !usable(s) {
		return mute(notMeasured)
	}
	return figureCell(medianText(s), spreadText(s))
}

// spreadLines are the lines under a median: its range or interval with n, and where the range does not give it, the longest.
func spreadLines(s *metrics.Summary) []string {
	n := " · n" + nbsp + strconv.Itoa(s.N)
	var lines []string
	switch {
	case s.CI == nil && s.Censored == 0:
		lines = []string{spreadText(s) + n}
	default:
		lines = []string{spreadText(s), "max " + maxText(s) + n}
	}
	if s.P95 != nil {
		lines = append(lines, "p95 "+atLeast(s, *s.P95)+ms(*s.P95))
	}
	return lines
}

func (b *builder) backendHead(name string) cell {
	h := head(b.backendTitle(name))
	h.Kind = "head " + b.colour(name)
	return h
}
