package compare

import (
	"fmt"
	"math"

	"github.com/regency-project/regency/bench/report"
)

// HTML renders the comparison as one offline page.
func (c *Comparison) HTML() ([]byte, error) {
	tone := map[int]report.Tone{StatusViolation: report.Bad, StatusWorse: report.Bad, StatusIncomparable: report.Warn, StatusFine: report.Good}[c.Status]
	if tone == report.Good && len(c.Marks) > 0 {
		tone = report.Warn
	}
	p := report.NewPage("Comparison of "+c.New.ID+" with "+c.Old.ID,
		fmt.Sprintf("Old: %s, revision %s. New: %s, revision %s.", c.Old.Started, c.Old.Revision, c.New.Started, c.New.Revision), tone, c.Headline(), c.Marks...)
	number := func(label string, n int, bad report.Tone) {
		if n == 0 {
			bad = report.Plain
		}
		p.Count(label, fmt.Sprint(n), bad)
	}
	number("violations", len(c.Violations), report.Bad)
	number("worse beyond "+percent(c.Threshold), len(c.Beyond()), report.Bad)
	number("slower", len(c.Said(Slower)), report.Warn)
	number("faster", len(c.Said(Faster)), report.Good)
	number("no difference shown", len(c.Said(NoDifference)), report.Plain)
	number("not comparable", len(c.Said(NotComparable)), report.Plain)
	c.correctness(p)
	c.chart(p)
	c.table(p)
	c.conditionsPage(p)
	p.Section("limits", "What this does not show")
	p.List(c.Limits())
	return p.HTML()
}

func (c *Comparison) correctness(p *report.Page) {
	p.Section("correctness", "Correctness")
	if len(c.Violations) == 0 {
		p.Prose("The new run broke no promise: nothing acknowledged was lost, and every check passed.")
		return
	}
	var lines []report.Line
	for _, v := range c.Violations {
		lines = append(lines, report.Line{Head: v.Check, Colour: -1, Cells: []string{v.Trial, v.Detail}})
	}
	p.TextTable("violations", "Promises that the new run broke.", []string{"Check", "Trial", "What was seen"}, lines)
}

// chart draws the ratios around 1, a group for each figure of each profile.
func (c *Comparison) chart(p *report.Page) {
	var groups []report.SpanGroup
	for _, name := range []string{Outage, AfterDetection, Throughput} {
		byProfile := make(map[string]int)
		for _, f := range c.Each() {
			m := f.Measure
			if m.Name != name || m.Ratio == nil || m.Says == NotComparable || m.Ratio.Value <= 0 {
				continue
			}
			at, ok := byProfile[f.Cell.Profile]
			if !ok {
				at = len(groups)
				byProfile[f.Cell.Profile] = at
				g := report.SpanGroup{Title: name + ", profile " + f.Cell.Profile, Mark: 1 + c.Threshold}
				if m.Higher {
					g.Mark = 1 / (1 + c.Threshold)
				}
				groups = append(groups, g)
			}
			label := f.Cell.Backend + ", " + f.Cell.Scenario
			if f.Cell.Variant != "" {
				label += ", " + f.Cell.Variant
			}
			low, high := m.Ratio.LowEnd(), m.Ratio.HighEnd()
			if low <= 0 || math.IsInf(high, 0) {
				low, high = math.NaN(), math.NaN() // an open end has no place on the axis; the table says "open"
			}
			groups[at].Rows = append(groups[at].Rows, report.Span{
				Label: label, Note: m.change() + " " + m.verdict(), Colour: report.BackendColour(f.Cell.Backend), Value: m.Ratio.Value, Low: low, High: high,
				Tip: fmt.Sprintf("%s: %s, then %s; %s (%s)", f.Cell.Name(), m.value(m.Old), m.value(m.New), m.change(), m.interval()),
			})
		}
	}
	p.Section("ratios", "Ratios, new to old")
	if len(groups) == 0 {
		p.Prose("No figure has a ratio with an interval.")
		return
	}
	p.Spans("ratios-chart", "Ratios of medians, new to old", fmt.Sprintf("Dots are ratios of medians, whiskers their %s intervals; the solid line is 1, the broken one the threshold of %s. Left is shorter; for throughput, left is less.", percent(c.Confidence), percent(c.Threshold)),
		"new ÷ old, logarithmic", true, groups)
}

func (c *Comparison) table(p *report.Page) {
	p.Section("figures", "Every figure")
	var lines []report.Line
	group := ""
	for _, f := range c.Each() {
		if g := "Profile " + f.Cell.Profile + ", " + f.Cell.Scenario; g != group {
			group = g
			lines = append(lines, report.Line{Group: g})
		}
		m := f.Measure
		head := f.Cell.Backend
		if f.Cell.Variant != "" {
			head += " (" + f.Cell.Variant + ")"
		}
		lines = append(lines, report.Line{Head: head, Colour: report.BackendColour(f.Cell.Backend), Cells: []string{
			m.Name, m.verdict(), m.change(), m.interval(), m.value(m.Old), m.value(m.New), m.sizes(), m.shift(), m.effect(),
		}})
	}
	p.Table("figures-table", fmt.Sprintf("The ratio of medians, new to old (or, where an outage of 0 leaves no ratio, the difference), with its %s interval; the medians, and of how many trials; by how much single trials moved (Hodges-Lehmann); Cliff's delta, from −1 (every trial of the new run is below every one of the old) to 1. A verdict in capitals is beyond the threshold.", percent(c.Confidence)),
		[]string{"Backend", "Figure", "Verdict", "Change", "Interval", "Old", "New", "Trials", "Shift", "Effect"}, lines)
	if list := c.reasons(); len(list) > 0 {
		p.Section("not-comparable", "Not comparable")
		p.List(list)
	}
	if list := append(append([]string{}, c.Lost...), c.Absent...); len(list) > 0 {
		p.Section("not-in-both", "Not in both runs")
		p.List(list)
	}
}

// sizes are the numbers of trials, with those that did not recover.
func (m *Measure) sizes() string {
	text := fmt.Sprintf("%d, %d", m.Old.N, m.New.N)
	if n := m.Old.Censored + m.New.Censored; n > 0 {
		text += fmt.Sprintf(" (%d open)", n)
	}
	return text
}

func (c *Comparison) conditionsPage(p *report.Page) {
	p.Section("conditions", "What the two runs were made with")
	p.TextTable("sides", "The two runs.", []string{"", "Run", "Machine", "Seed"}, []report.Line{
		{Head: "Old", Colour: -1, Cells: []string{c.Old.ID, c.Old.Machine, fmt.Sprint(c.Old.Seed)}},
		{Head: "New", Colour: -1, Cells: []string{c.New.ID, c.New.Machine, fmt.Sprint(c.New.Seed)}},
	})
	if list := append(append([]string{}, c.Notes...), c.settings()...); len(list) > 0 {
		p.Prose("What differs between them and does not forbid to compare:")
		p.List(list)
	}
}
