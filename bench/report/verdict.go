package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/regency-project/regency/bench/metrics"
)

// remainderGoal is how long a failover may take beyond detection before the report says which phase takes the time.
const remainderGoal = 300.0

func (b *builder) banner() banner {
	v := b.run.Verdict
	out := banner{Tone: "good"}
	switch {
	case v.Lost > 0:
		out.Tone, out.Headline = "bad", grouped(v.Lost)+" acknowledged records were lost"
	case len(v.Violations) > 0:
		out.Tone, out.Headline = "bad", plural(len(v.Violations), "promise was broken", "promises were broken")
	case v.Acknowledged == 0 || v.Trials == 0:
		out.Tone, out.Headline = "warn", "Nothing was measured"
	default:
		out.Headline = "Nothing acknowledged was lost"
		if len(v.NotRun) > 0 || v.Invalid > 0 || !v.OK {
			out.Tone = "warn"
		}
	}
	tone := func(n int64, bad string) string {
		if n > 0 {
			return bad
		}
		return "good"
	}
	out.Counts = []count{
		{"records acknowledged", grouped(v.Acknowledged), ""},
		{"of them lost", grouped(v.Lost), tone(v.Lost, "bad")},
		{"violations", grouped(int64(len(v.Violations))), tone(int64(len(v.Violations)), "bad")},
		{"trials counted", grouped(int64(v.Trials)), ""},
		{"trials invalid", grouped(int64(v.Invalid)), tone(int64(v.Invalid), "warn")},
		{"backends not run", grouped(int64(len(v.NotRun))), tone(int64(len(v.NotRun)), "warn")},
	}
	if v.Duplicated > 0 {
		out.Notes = append(out.Notes, plural(int(v.Duplicated), "extra copy", "extra copies")+" from idempotent producers.")
	}
	for _, x := range b.run.Backends {
		if x.Status == metrics.StatusNotRun {
			out.Notes = append(out.Notes, shortTitle(x)+" not run: "+orText(x.Reason, "no reason recorded"))
		}
	}
	for _, name := range v.NotRun {
		if b.backendTitle(name) == name && !b.isBackend(name) {
			out.Notes = append(out.Notes, name+" not run")
		}
	}
	out.Notes = append(out.Notes, v.Failed...)
	out.Notes = append(out.Notes, v.Short...)
	for i, x := range v.Violations {
		if i == 5 {
			out.Notes = append(out.Notes, fmt.Sprintf("and %d more violations, listed under Correctness.", len(v.Violations)-5))
			break
		}
		out.Notes = append(out.Notes, x.Check+" in "+x.Trial+": "+x.Detail)
	}
	return out
}

func (b *builder) isBackend(name string) bool {
	for _, x := range b.run.Backends {
		if x.Name == name {
			return true
		}
	}
	return false
}

// findings says in sentences what the headline profile shows, in the order a reader asks.
func (b *builder) findings() []string {
	if len(b.run.Profiles) == 0 {
		return nil
	}
	p := b.run.Profiles[0]
	var out []string
	for _, l := range b.lines(p.Name, "failover") {
		if l.variant == "" {
			out = appendText(out, b.outageFinding(p, l))
		}
	}
	out = appendText(out, b.remainderFinding(p))
	for _, l := range b.lines(p.Name, "throughput") {
		out = appendText(out, b.throughputFinding(p, l))
	}
	if len(out) > 0 {
		out = appendText(out, b.rankFinding(p))
	}
	return out
}

func appendText(list []string, s string) []string {
	if s == "" {
		return list
	}
	return append(list, s)
}

// extremes keeps the smallest and the largest of named values.
type extremes struct {
	n                 int
	low, high         float64
	lowName, highName string
}

func (e *extremes) add(name string, v float64) {
	if !finite(v) {
		return
	}
	if e.n == 0 || v < e.low {
		e.low, e.lowName = v, name
	}
	if e.n == 0 || v > e.high {
		e.high, e.highName = v, name
	}
	e.n++
}

// say words the extremes of at least one value.
func (e *extremes) say(unit func(float64) string) string {
	if e.n == 1 || e.low == e.high {
		return unit(e.low) + " (" + e.lowName + ")"
	}
	return unit(e.low) + " (" + e.lowName + ") to " + unit(e.high) + " (" + e.highName + ")"
}

func (b *builder) outageFinding(p metrics.Profile, l line) string {
	var median, worst extremes
	n, censored := 0, 0
	for _, x := range b.run.Backends {
		c := b.cell(p.Name, l, x.Name)
		if b.blocked(c, l, x, true) != "" || !usable(c.Headline) {
			continue
		}
		name := shortTitle(x)
		median.add(name, c.Headline.Median)
		worst.add(name, c.Headline.Max)
		n += c.Headline.N
		censored += c.Headline.Censored
	}
	if n == 0 || median.n == 0 {
		return ""
	}
	s := fmt.Sprintf("%s: median outage %s; the longest of %s took %s (%s).",
		orText(l.scenario.Title, l.scenario.Name), median.say(ms), plural(n, "trial", "trials"), ms(worst.high), worst.highName)
	if median.low == 0 {
		s += " 0 ms means that no probe failed: what there was of an outage ended within a probe's interval, or a broker held the request over it."
	}
	if censored > 0 {
		s += " " + plural(censored, "trial", "trials") + " had not recovered when the observation ended and count with the time waited."
	}
	return s
}

func (b *builder) remainderFinding(p metrics.Profile) string {
	var e extremes
	var slow []string
	for _, l := range b.lines(p.Name, "failover") {
		for _, x := range b.run.Backends {
			c := b.cell(p.Name, l, x.Name)
			if b.blocked(c, l, x, true) != "" || !usable(c.Remainder) {
				continue
			}
			name := shortTitle(x)
			if l.variant != "" {
				name += ", " + variantShort(l.variant)
			}
			e.add(name, c.Remainder.Median)
			if c.Remainder.Median > remainderGoal {
				phase, width := largestAfterDetection(c)
				what := fmt.Sprintf("%s, %s: %s", name, orText(l.scenario.Title, l.scenario.Name), ms(c.Remainder.Median))
				if phase != "" {
					what += ", most of it in " + phase + " (" + ms(width) + ")"
				}
				slow = append(slow, what)
			}
		}
	}
	if e.n == 0 {
		return ""
	}
	s := "What follows detection (outage − detection, paired by trial) has medians of " + e.say(ms)
	if len(slow) == 0 {
		return s + "; none is above " + ms(remainderGoal) + "."
	}
	return s + ". Above " + ms(remainderGoal) + ": " + strings.Join(slow, "; ") + "."
}

func largestAfterDetection(c *metrics.Cell) (string, float64) {
	name, width := "", math.Inf(-1)
	for _, p := range c.Phases {
		if p.Name != metrics.PhaseDetection && usable(p.Summary) && p.Summary.Median > width {
			name, width = p.Name, p.Summary.Median
		}
	}
	return name, width
}

func (b *builder) throughputFinding(p metrics.Profile, l line) string {
	var e extremes
	for _, x := range b.run.Backends {
		c := b.cell(p.Name, l, x.Name)
		if b.blocked(c, l, x, true) == "" && c.Throughput != nil && len(c.Throughput.Rounds) > 0 {
			e.add(shortTitle(x), c.Throughput.RecordsPerS)
		}
	}
	if e.n == 0 {
		return ""
	}
	return orText(l.scenario.Title, l.scenario.Name) + ": " + e.say(perSecond) + "."
}

func (b *builder) rankFinding(p metrics.Profile) string {
	if !p.Ranked {
		return ""
	}
	list := b.comparisons(p)
	var said []string
	few, equal := 0, 0
	for _, c := range list {
		switch c.verdict {
		case "faster", "slower":
			said = append(said, fmt.Sprintf("%s %s than %s when %s (%s, %s)", b.backendTitle(c.Backend), c.verdict, b.backendTitle(b.run.Reference),
				lowerFirst(b.scenarioTitle(c.Scenario)), ratioText(c.Ratio.Value), ratioSpan(c.Ratio)))
		case "too few trials":
			few++
		default:
			equal++
		}
	}
	switch {
	case len(list) == 0:
		return ""
	case len(said) > 0:
		return "Differences in the time from detection to the first acknowledged probe whose interval excludes 1: " + strings.Join(said, "; ") + "."
	case few == len(list):
		return "No backend is called faster than another: there are too few trials for an interval (10 a cell are needed)."
	}
	return fmt.Sprintf("No backend is called faster than another after detection: %s.", plural(equal, "interval includes 1", "intervals include 1"))
}

func lowerFirst(s string) string {
	r := []rune(s)
	if len(r) > 1 && strings.ToUpper(string(r[1])) != string(r[1]) {
		return strings.ToLower(string(r[0])) + string(r[1:])
	}
	return s
}
