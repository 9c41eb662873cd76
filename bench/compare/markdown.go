package compare

import (
	"fmt"
	"strings"

	"github.com/regency-project/regency/bench/report"
)

// Markdown renders the comparison for a pull request: what matters in sight, everything else folded.
func (c *Comparison) Markdown() []byte {
	b := &strings.Builder{}
	icon := map[int]string{StatusViolation: "⛔", StatusWorse: "🔺", StatusIncomparable: "⚠️", StatusFine: "✅"}[c.Status]
	fmt.Fprintf(b, "### %s %s\n\n", icon, report.PlainMarkdown(c.Headline()))
	for _, m := range c.Marks {
		fmt.Fprintf(b, "> **%s**\n", report.PlainMarkdown(m))
	}
	for _, v := range c.Violations {
		fmt.Fprintf(b, "- **%s** in %s: %s\n", report.PlainMarkdown(v.Check), report.PlainMarkdown(v.Trial), report.PlainMarkdown(v.Detail))
	}
	for _, l := range c.Lost {
		fmt.Fprintf(b, "- no figure any more: %s\n", report.PlainMarkdown(l))
	}
	b.WriteByte('\n')
	told := c.where(func(m *Measure) bool { return m.Says == Slower || m.Says == Faster })
	if len(told) > 0 {
		c.markdownTable(b, told)
	}
	fmt.Fprintf(b, "<details><summary>All %s, conditions and limits</summary>\n\n", count(len(c.Each()), "figure"))
	c.markdownTable(b, c.Each())
	for _, list := range [][]string{c.conditions(), c.reasons(), c.settings(), c.Absent, c.Limits()} {
		for _, l := range list {
			fmt.Fprintf(b, "- %s\n", report.PlainMarkdown(strings.TrimPrefix(strings.TrimPrefix(l, "- "), "! ")))
		}
	}
	b.WriteString("\n</details>\n")
	return []byte(b.String())
}

func (c *Comparison) markdownTable(b *strings.Builder, list []Finding) {
	fmt.Fprintf(b, "| Cell | Figure | Old | New | Change | %s interval | Effect | Verdict |\n|---|---|--:|--:|--:|---|---|---|\n", percent(c.Confidence))
	for _, f := range list {
		m := f.Measure
		verdict := report.PlainMarkdown(m.Says)
		if m.Beyond {
			verdict = "**" + verdict + "**"
		}
		cells := []string{f.Cell.Name(), m.Name, m.value(m.Old), m.value(m.New), m.change(), m.interval(), m.effect()}
		for i := range cells {
			cells[i] = report.PlainMarkdown(cells[i])
		}
		fmt.Fprintf(b, "| %s | %s |\n", strings.Join(cells, " | "), verdict)
	}
	b.WriteByte('\n')
}
