package run

import (
	"fmt"
	"io"
	"strings"

	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/plan"
)

// Write prints the plan for a terminal of that many columns.
func (v Preview) Write(w io.Writer, columns int) error {
	out := &strings.Builder{}
	v.summary(out, columns)
	v.cells(out)
	v.blocks(out, columns)
	_, err := io.WriteString(w, out.String())
	return err
}

func (v Preview) summary(out *strings.Builder, columns int) {
	m := v.Manifest
	if m.Suite != "" {
		fmt.Fprintf(out, "suite %s\n", m.Suite)
	}
	var profiles []string
	for _, p := range m.Profiles {
		text := p.Name
		if n, limited := m.ProfileTrials[p.Name]; limited {
			text += fmt.Sprintf(" (at most %d trials)", n)
		}
		profiles = append(profiles, text)
	}
	facts := []string{fmt.Sprintf("seed %d", m.Seed), "flush " + m.Flush, "profiles " + strings.Join(profiles, ", ")}
	if m.Shard != "" {
		facts = append(facts, "shard "+m.Shard)
	}
	facts = append(facts, "about "+minutes(v.Duration))
	if m.Until != nil {
		facts = append(facts, fmt.Sprintf("then until intervals are within ±%g %%, or %d trials", 100*m.Until.Width, m.Until.Trials))
	}
	facts = append(facts, fmt.Sprintf("%d trials, warm-ups included, in %d blocks", m.Plan.Trials(), len(m.Plan.Blocks)),
		"up to "+gigabytes(v.Disk)+" of disk", fmt.Sprintf("up to %d files a process", v.Files))
	wrap(out, strings.Join(facts, "; "), columns, "", "")
	for _, b := range m.Backends {
		if b.Status != metrics.StatusOK {
			wrap(out, fmt.Sprintf("not run: %s: %s", b.Name, b.Reason), columns, "", "  ")
		}
	}
	for _, text := range m.Warnings {
		wrap(out, "warning: "+text, columns, "", "  ")
	}
	if v.Problem != nil {
		wrap(out, "refused here: "+v.Problem.Error(), columns, "", "  ")
	}
}

// cells prints how many trials each gets.
func (v Preview) cells(out *strings.Builder) {
	count := make(map[string]int)
	for _, b := range v.Manifest.Plan.Blocks {
		for _, item := range b.Items {
			if item.Counted {
				count[cellOf(b, item)]++
			}
		}
	}
	wide := len("scenario")
	for _, s := range v.Manifest.Scenarios {
		wide = max(wide, len(s.Name))
	}
	fmt.Fprintf(out, "\n%-9s %-*s", "profile", wide, "scenario")
	for _, b := range v.Manifest.Backends {
		fmt.Fprintf(out, " %s", b.Name)
	}
	fmt.Fprintln(out)
	for _, p := range v.Manifest.Profiles {
		for _, s := range v.Manifest.Scenarios {
			fmt.Fprintf(out, "%-9s %-*s", p.Name, wide, s.Name)
			for _, b := range v.Manifest.Backends {
				n := count[cellOf(plan.Block{Profile: p.Name, Backend: b.Name}, plan.Item{Scenario: s.Name})]
				text := fmt.Sprint(n)
				if n == 0 {
					text = "-"
				}
				fmt.Fprintf(out, " %*s", len(b.Name), text)
			}
			fmt.Fprintln(out)
		}
	}
}

// blocks prints every block with its trials in their order.
func (v Preview) blocks(out *strings.Builder, columns int) {
	fmt.Fprintf(out, "\n%s\n", Cut("block  backend    profile    time  trials in order (w: warm-up, not counted)", columns))
	for i, b := range v.Manifest.Plan.Blocks {
		head := fmt.Sprintf("%5d  %-9s  %-9s %5s  ", b.Number, b.Backend, b.Profile, short(v.Blocks[i].Seconds()))
		wrap(out, items(b.Items), columns, head, strings.Repeat(" ", len(head)))
	}
}

func short(seconds float64) string {
	if seconds < 600 {
		return fmt.Sprintf("%.0fs", seconds)
	}
	return fmt.Sprintf("%.0fmin", seconds/60)
}

// items names trials briefly: "leader-kill w, controller-kill 2 1".
func items(list []plan.Item) string {
	var text strings.Builder
	last := ""
	for _, item := range list {
		if item.Scenario != last {
			if last != "" {
				text.WriteString(", ")
			}
			text.WriteString(item.Scenario)
			last = item.Scenario
		}
		number := item.Trial[strings.LastIndexByte(item.Trial, '/')+1:]
		if !item.Counted {
			number = "w"
		}
		text.WriteString(" " + number)
	}
	return text.String()
}

// wrap writes text in lines of at most so many columns where words allow: the first line begins with first, the others with next.
func wrap(out *strings.Builder, text string, columns int, first, next string) {
	line, empty := first, true
	for word := range strings.FieldsSeq(text) {
		switch {
		case empty:
			line, empty = line+word, false
		case len([]rune(line))+1+len([]rune(word)) > columns:
			fmt.Fprintln(out, line)
			line = next + word
		default:
			line += " " + word
		}
	}
	fmt.Fprintln(out, strings.TrimRight(line, " "))
}
