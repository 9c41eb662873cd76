package compare

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Headline is the verdict of the whole comparison in one sentence.
func (c *Comparison) Headline() string {
	compared := c.Compared()
	tail := fmt.Sprintf("; %s slower, %s faster, %s without a difference shown", count(len(c.Said(Slower)), "figure"), count(len(c.Said(Faster)), "figure"), count(len(c.Said(NoDifference)), "figure"))
	switch c.Status {
	case StatusViolation:
		return fmt.Sprintf("The new run broke %s; its figures mean nothing until that is explained", count(len(c.Violations), "promise"))
	case StatusWorse:
		return fmt.Sprintf("%s worse by more than %s", count(len(c.Beyond()), "figure"), percent(c.Threshold)) + tail
	case StatusIncomparable:
		if compared == 0 {
			return "Nothing could be compared"
		}
		return fmt.Sprintf("%s of the old run have no figure in the new one", count(len(c.Lost), "cell")) + tail
	}
	return "Nothing is worse by more than " + percent(c.Threshold) + tail
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func percent(share float64) string {
	return strconv.FormatFloat(math.Round(1e4*share)/100, 'f', -1, 64) + " %"
}

// Value of a median, with its unit, "≥" before one that is a lower limit itself.
func (m *Measure) value(s Sample) string {
	if s.N == 0 {
		return "–"
	}
	text := ""
	if s.limited() {
		text = "≥ "
	}
	switch {
	case s.Median >= 1000:
		text += strconv.FormatFloat(s.Median, 'f', 0, 64)
	default:
		text += strconv.FormatFloat(s.Median, 'f', 1, 64)
	}
	return text + " " + m.Unit
}

// change is the figure that decides: the ratio, or the difference where there is none.
func (m *Measure) change() string {
	switch {
	case m.Ratio != nil:
		return fmt.Sprintf("%.2f×", m.Ratio.Value)
	case m.Difference != nil:
		return fmt.Sprintf("%+.1f %s", m.Difference.Value, m.Unit)
	}
	return "–"
}

// interval of change.
func (m *Measure) interval() string {
	e, digits := m.Ratio, 2
	if e == nil {
		e, digits = m.Difference, 1
	}
	if e == nil {
		return "–"
	}
	end := func(v *float64, open string) string {
		if v == nil {
			return open
		}
		return strconv.FormatFloat(*v, 'f', digits, 64)
	}
	return end(e.Low, "open") + " to " + end(e.High, "open")
}

// effect is Cliff's delta in figures and words.
func (m *Measure) effect() string {
	if m.Cliff == nil {
		return "–"
	}
	return fmt.Sprintf("%+.2f %s", *m.Cliff, effectWord(*m.Cliff))
}

// effectWord names the size of Cliff's delta (Romano and others 2006).
func effectWord(d float64) string {
	switch d = math.Abs(d); {
	case d < 0.147:
		return "negligible"
	case d < 0.33:
		return "small"
	case d < 0.474:
		return "medium"
	}
	return "large"
}

// shift is by how much single trials moved.
func (m *Measure) shift() string {
	if m.Shift == nil {
		return "–"
	}
	return fmt.Sprintf("%+.1f %s", m.Shift.Value, m.Unit)
}

// verdict is what is said, louder when it is beyond the threshold.
func (m *Measure) verdict() string {
	if m.Beyond {
		return strings.ToUpper(m.Says)
	}
	return m.Says
}

// conditions are the lines that come before every figure.
func (c *Comparison) conditions() []string {
	lines := []string{
		fmt.Sprintf("old %s (%s, revision %s)", c.Old.ID, c.Old.Started, c.Old.Revision),
		fmt.Sprintf("new %s (%s, revision %s)", c.New.ID, c.New.Started, c.New.Revision),
	}
	for _, m := range c.Marks {
		lines = append(lines, "! "+m)
	}
	for _, n := range c.Notes {
		lines = append(lines, "- "+n)
	}
	return lines
}

// Limits say what the comparison does not show.
func (c *Comparison) Limits() []string {
	return []string{
		fmt.Sprintf("Intervals hold %s of what trials within a run scatter by. What differs between two runs of the same program on the same machine (placement, neighbours, temperature) is not in them: run both again before blaming a change.", percent(c.Confidence)),
		fmt.Sprintf("%s were compared. If nothing had changed, about %.1f of them would be called slower by chance, and as many faster.", count(c.Compared(), "figure"), c.Chance()),
		"“Slower” means that the whole interval of the ratio of medians is above 1 (for throughput, below); it stands in capitals when the whole interval is beyond the threshold. Where a probe never failed (0 ms) there is no ratio, and the difference decides.",
	}
}

// Text writes the comparison for a terminal.
func (c *Comparison) Text(w io.Writer) error {
	b := &strings.Builder{}
	for _, l := range c.conditions() {
		fmt.Fprintln(b, l)
	}
	fmt.Fprintf(b, "\n%s.\n", c.Headline())
	for _, v := range c.Violations {
		fmt.Fprintf(b, "  VIOLATION %s in %s: %s\n", v.Check, v.Trial, v.Detail)
	}
	table := tabwriter.NewWriter(b, 0, 4, 2, ' ', 0)
	fmt.Fprintf(table, "\nCELL\tFIGURE\tOLD\tNEW\tCHANGE\t%s INTERVAL\tEFFECT\tVERDICT\n", strings.ReplaceAll(percent(c.Confidence), " ", ""))
	for _, f := range c.Each() {
		m := f.Measure
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.Cell.Name(), m.Name, m.value(m.Old), m.value(m.New), m.change(), m.interval(), m.effect(), m.verdict())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, group := range []struct {
		title string
		list  []string
	}{{"Not comparable", c.reasons()}, {"No figure any more", c.Lost}, {"Settings that differ", c.settings()}, {"Not in both runs", c.Absent}, {"Read this before quoting", c.Limits()}} {
		if len(group.list) == 0 {
			continue
		}
		fmt.Fprintf(b, "\n%s:\n", group.title)
		for _, l := range group.list {
			fmt.Fprintf(b, "  %s\n", l)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// reasons lists why what is not comparable, the same reason once.
func (c *Comparison) reasons() []string {
	var order []string
	cells := make(map[string][]string)
	for _, f := range c.Said(NotComparable) {
		if cells[f.Measure.Reason] == nil {
			order = append(order, f.Measure.Reason)
		}
		cells[f.Measure.Reason] = append(cells[f.Measure.Reason], f.Cell.Name()+" "+f.Measure.Name)
	}
	var list []string
	for _, r := range order {
		what := count(len(cells[r]), "figure")
		if len(cells[r]) <= 3 {
			what = strings.Join(cells[r], ", ")
		}
		list = append(list, what+": "+r)
	}
	return list
}

func (c *Comparison) settings() []string {
	var list []string
	seen := make(map[string]bool)
	for _, cell := range c.Cells {
		for _, n := range cell.Notes {
			line := cell.Profile + " / " + cell.Backend + ": " + n
			if !seen[line] {
				seen[line] = true
				list = append(list, line)
			}
		}
	}
	return list
}
