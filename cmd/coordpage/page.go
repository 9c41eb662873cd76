package coordpage

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/report"
	"github.com/regency-project/regency/coordination/coordbench"
)

const nbsp = "\u00a0"

// page lays the figures out.
func page(r coordbench.Result) (*report.Page, error) {
	var e metrics.Environment
	if len(r.Environment) > 0 {
		if err := json.Unmarshal(r.Environment, &e); err != nil {
			return nil, fmt.Errorf("decode the environment: %w", err)
		}
	}
	b := builder{r: r}
	p := b.verdict(e)
	b.latencies(p)
	b.ratios(p)
	b.throughput(p)
	b.setting(p, e)
	p.Section("limits", "What these figures do not show")
	p.List(r.Limits)
	p.Section("repeat", "Repeat this run")
	p.Prose(fmt.Sprintf("At revision %s. The seed gives the same order of cells, backends and sides of pairs; %s has every measurement.", r.Revision, SamplesFile))
	p.Code(r.Command)
	return p, nil
}

type builder struct{ r coordbench.Result }

func (b builder) verdict(e metrics.Environment) *report.Page {
	met, missed, invalid := 0, 0, 0
	for _, f := range b.r.Cells {
		switch {
		case f.Met == nil:
			invalid++
		case *f.Met:
			met++
		default:
			missed++
		}
	}
	tone, text := report.Good, fmt.Sprintf("In all %d cells the layer costs at most its target over the service's own client.", met)
	if missed > 0 {
		tone, text = report.Warn, fmt.Sprintf("In %d of %d cells the layer costs at most its target over the service's own client.", met, met+missed)
	}
	var notes []string
	if !b.r.Complete {
		tone, notes = report.Warn, append(notes, fmt.Sprintf("Interrupted: every backend has finished %d rounds.", b.r.Rounds))
	}
	for _, x := range b.r.Backends {
		if x.Status != coordbench.StatusOK {
			tone, notes = report.Warn, append(notes, x.Title+" did not run: "+firstLine(x.Reason))
		}
	}
	if met+missed == 0 {
		tone, text = report.Bad, "No cell has a valid figure."
	}
	p := report.NewPage("Coordination operations", fmt.Sprintf("%s · %s · %d rounds, profile %s · %s", b.r.Started.Format("2006-01-02 15:04 MST"), b.r.ID, b.r.Rounds, b.r.Profile, e.Host), tone, text, notes...)
	p.Count("cells within the target", strconv.Itoa(met), report.Good)
	p.Count("cells above it", strconv.Itoa(missed), toneOf(missed, report.Warn))
	p.Count("cells without a valid figure", strconv.Itoa(invalid), toneOf(invalid, report.Bad))
	p.Count("duration", time.Duration(b.r.DurationS*1e9).Round(time.Second).String(), report.Plain)
	return p
}

func toneOf(n int, t report.Tone) report.Tone {
	if n == 0 {
		return report.Plain
	}
	return t
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func (b builder) colour(backend string) int {
	return slices.IndexFunc(b.r.Backends, func(x coordbench.Backend) bool { return x.Name == backend })
}

func (b builder) title(backend string) string {
	if i := b.colour(backend); i >= 0 {
		return b.r.Backends[i].Title
	}
	return backend
}

func (b builder) operation(name string) coordbench.Operation {
	for _, o := range b.r.Operations {
		if o.Name == name {
			return o
		}
	}
	return coordbench.Operation{Name: name, Title: name}
}

// groups calls f with each cell and its figures, in order.
func (b builder) groups(f func(c coordbench.Cell, fs []coordbench.Figures)) {
	for i := 0; i < len(b.r.Cells); {
		j := i
		for j < len(b.r.Cells) && b.r.Cells[j].Cell == b.r.Cells[i].Cell {
			j++
		}
		f(b.r.Cells[i].Cell, b.r.Cells[i:j])
		i = j
	}
}

func (b builder) latencies(p *report.Page) {
	p.Section("latency", "Latency")
	var charts []report.SpanGroup
	var lines []report.Line
	b.groups(func(c coordbench.Cell, fs []coordbench.Figures) {
		g := report.SpanGroup{Title: c.String()}
		lines = append(lines, report.Line{Group: c.String()})
		for _, f := range fs {
			g.Rows = append(g.Rows, b.latency(f))
			lines = append(lines, report.Line{Head: b.title(f.Backend), Colour: b.colour(f.Backend), Cells: latencyCells(f)})
		}
		charts = append(charts, g)
	})
	p.Spans("latencies", "Median latency through the layer", "Dots are medians through the layer with their 95 % intervals, open circles the medians of the raw client in the same run. With several clients a dot is the median over all of them.",
		"milliseconds, logarithmic", false, charts)
	p.Table("latency-figures", "Latency of successful operations through the layer and, after the stroke, of the raw client sending the same transaction. The 99th percentile needs 100 operations.",
		[]string{"Backend", "p50", "95 % interval", "p99", "max", "operations", "failed"}, lines)
}

func (b builder) latency(f coordbench.Figures) report.Span {
	s := report.Span{Label: b.title(f.Backend), Colour: b.colour(f.Backend), Low: math.NaN(), High: math.NaN(), Note: "not measured"}
	if f.Layer == nil {
		return s
	}
	s.Value, s.Note = f.Layer.P50Ms, short(f.Layer.P50Ms)+nbsp+"ms"
	if f.Layer.P50CI != nil {
		s.Low, s.High = f.Layer.P50CI.Low, f.Layer.P50CI.High
	}
	if f.Raw != nil {
		s.Beside = &f.Raw.P50Ms
		s.Note += " · raw " + short(f.Raw.P50Ms)
	}
	s.Tip = fmt.Sprintf("%s: %s", b.title(f.Backend), s.Note)
	return s
}

func latencyCells(f coordbench.Figures) []string {
	both := func(get func(*coordbench.Side) string) string {
		texts := []string{"–", "–"}
		for i, s := range []*coordbench.Side{f.Layer, f.Raw} {
			if s != nil {
				texts[i] = get(s)
			}
		}
		return texts[0] + " / " + texts[1]
	}
	return []string{
		both(func(s *coordbench.Side) string { return short(s.P50Ms) }) + nbsp + "ms",
		both(func(s *coordbench.Side) string { return interval(s.P50CI) }),
		both(func(s *coordbench.Side) string {
			if s.P99Ms == nil {
				return "–"
			}
			return short(*s.P99Ms)
		}),
		both(func(s *coordbench.Side) string { return short(s.MaxMs) }),
		both(func(s *coordbench.Side) string { return strconv.Itoa(s.N) }),
		both(func(s *coordbench.Side) string { return strconv.Itoa(s.Errors) }),
	}
}

func interval(i *coordbench.Interval) string {
	if i == nil {
		return "–"
	}
	return short(i.Low) + "–" + short(i.High)
}

// short writes a number with three digits at least.
func short(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func (b builder) ratios(p *report.Page) {
	p.Section("ratio", "What the layer adds")
	var charts []report.SpanGroup
	var lines []report.Line
	b.groups(func(c coordbench.Cell, fs []coordbench.Figures) {
		target := b.operation(c.Operation).Target
		g := report.SpanGroup{Title: c.String(), Mark: target}
		lines = append(lines, report.Line{Group: c.String()})
		for _, f := range fs {
			s := report.Span{Label: b.title(f.Backend), Colour: b.colour(f.Backend), Low: math.NaN(), High: math.NaN(), Note: "not measured"}
			cells := []string{"–", "–", "–", short(target) + "×", "no valid figure: " + firstLine(f.Reason)}
			if f.Ratio != nil {
				s.Value, s.Note, s.Tip = f.Ratio.Value, short(f.Ratio.Value)+"×", fmt.Sprintf("%d pairs", f.Ratio.Pairs)
				cells[0], cells[1], cells[2] = short(f.Ratio.Value)+"×", interval(f.Ratio.CI), strconv.Itoa(f.Ratio.Pairs)
				if f.Ratio.CI != nil {
					s.Low, s.High = f.Ratio.CI.Low, f.Ratio.CI.High
				}
			}
			if f.Met != nil {
				cells[4] = "within"
				if !*f.Met {
					cells[4] = "above"
					s.Note += " · above"
				}
			}
			g.Rows = append(g.Rows, s)
			lines = append(lines, report.Line{Head: b.title(f.Backend), Colour: b.colour(f.Backend), Cells: cells})
		}
		charts = append(charts, g)
	})
	p.Spans("ratios", "Ratio of the layer's median to the raw client's", "Dots are ratios of medians with 95 % intervals from resampled pairs: each pair is one measurement of either side, back to back. The dashed line is the target.",
		"layer / raw client, logarithmic", true, charts)
	p.Table("ratio-figures", "The layer's median latency over that of the raw client sending the same transaction.", []string{"Backend", "Ratio", "95 % interval", "Pairs", "Target", "Verdict"}, lines)
}

func (b builder) throughput(p *report.Page) {
	var lines []report.Line
	b.groups(func(c coordbench.Cell, fs []coordbench.Figures) {
		if c.Clients < 2 {
			return
		}
		lines = append(lines, report.Line{Group: c.String()})
		for _, f := range fs {
			cells := []string{"–", "–"}
			for i, s := range []*coordbench.Side{f.Layer, f.Raw} {
				if s != nil {
					cells[i] = strconv.FormatFloat(s.PerS, 'f', 0, 64)
				}
			}
			lines = append(lines, report.Line{Head: b.title(f.Backend), Colour: b.colour(f.Backend), Cells: cells})
		}
	})
	if len(lines) == 0 {
		return
	}
	p.Section("throughput", "Throughput")
	p.Table("throughput-figures", "Operations a second, all clients together, each waiting for its answer before it sends the next.", []string{"Backend", "Layer", "Raw client"}, lines)
}

func (b builder) setting(p *report.Page, e metrics.Environment) {
	p.Section("operations", "What is measured")
	var lines []report.Line
	for _, o := range b.r.Operations {
		if !slices.ContainsFunc(b.r.Cells, func(f coordbench.Figures) bool { return f.Operation == o.Name }) {
			continue
		}
		lines = append(lines, report.Line{Head: o.Title, Colour: -1, Cells: []string{o.Layer, o.Raw, short(o.Target) + "×"}})
	}
	p.TextTable("operation-figures", "From where to where each operation is timed.", []string{"Operation", "Through the layer", "Raw client", "Target"}, lines)
	p.Section("services", "Services")
	lines = nil
	for i, x := range b.r.Backends {
		var settings []string
		for _, s := range x.Settings {
			settings = append(settings, s.Key+" "+s.Value)
		}
		lines = append(lines, report.Line{Head: x.Title, Colour: i, Cells: []string{orText(x.Version, "–"), strings.Join(settings, "; ")}})
	}
	p.TextTable("service-figures", "Three members each, all running all the time.", []string{"Service", "Version", "Settings"}, lines)
	p.Section("environment", "Environment")
	fsync := "not measured"
	if f := e.Fsync; f != nil {
		fsync = fmt.Sprintf("p50 %s ms, p99 %s ms, max %s ms (n %d)", short(f.P50Ms), short(f.P99Ms), short(f.MaxMs), f.N)
	}
	lines = nil
	for _, kv := range [][2]string{
		{"system", e.Host}, {"kernel", e.Kernel}, {"processor", e.CPU}, {"cores usable", strconv.Itoa(e.Cores)}, {"memory", fmt.Sprintf("%.1f GB", float64(e.MemoryB)/1e9)},
		{"Go", e.Go}, {"file system of the results", e.Filesystem}, {"write 4 KiB + fsync, before the run", fsync}, {"seed", strconv.FormatUint(b.r.Seed, 10)},
	} {
		lines = append(lines, report.Line{Head: kv[0], Colour: -1, Cells: []string{orText(kv[1], "unknown")}})
	}
	p.TextTable("machine", "The machine that everything ran on.", []string{"Property", "Value"}, lines)
}

func orText(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
