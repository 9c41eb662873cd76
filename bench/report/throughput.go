package report

import (
	"strconv"

	"github.com/regency-project/regency/bench/metrics"
)

// throughput is the steady rate without a fault.
func (b *builder) throughput(p metrics.Profile) []block {
	lines := b.lines(p.Name, "throughput")
	if len(lines) == 0 {
		return nil
	}
	ref := b.backendTitle(b.run.Reference)
	t := b.matrix("throughput-"+p.Name, "Acknowledged records per second: median of the rounds and their range, the same as bytes of values, the ratio to "+ref+" with its spread, and latency from the intended send time, as the range over the rounds.",
		p.Name, lines, true, func(_ line, c *metrics.Cell) cell { return b.throughputCell(c) })
	return append(optional(b.throughputFigure(p, lines)), tabled(t))
}

func (b *builder) throughputCell(c *metrics.Cell) cell {
	t := c.Throughput
	if t == nil || len(t.Rounds) == 0 {
		return mute(notMeasured)
	}
	out := figureCell(perSecond(t.RecordsPerS), "range "+span(t.MinRecords, t.MaxRecords), byteSize(t.BytesPerS)+"/s")
	switch {
	case c.Backend == b.run.Reference:
		out.Sub = append(out.Sub, "the reference")
	case t.Ratio != nil:
		out.Sub = append(out.Sub, ratioText(t.Ratio.Value)+" of the reference", ratioSpan(*t.Ratio))
	default:
		out.Sub = append(out.Sub, "no ratio")
	}
	var p50, p99, p999, most extremes
	errors := int64(0)
	for _, r := range t.Rounds {
		errors += r.Errors
		if r.Latency.N > 0 {
			p50.add("", r.Latency.P50Ms)
			p99.add("", r.Latency.P99Ms)
			p999.add("", r.Latency.P999Ms)
			most.add("", r.Latency.MaxMs)
		}
	}
	if most.n > 0 {
		out.Sub = append(out.Sub,
			"p50 "+withUnit(span(p50.low, p50.high), "ms"),
			"p99 "+withUnit(span(p99.low, p99.high), "ms"),
			"p99.9 "+withUnit(span(p999.low, p999.high), "ms"),
			"max "+ms(most.high))
	}
	out.Sub = append(out.Sub, plural(len(t.Rounds), "round", "rounds")+" · "+plural(int(errors), "error", "errors"))
	return out
}

func (b *builder) throughputFigure(p metrics.Profile, lines []line) *figure {
	var groups []stripGroup
	any := false
	for _, l := range lines {
		g := stripGroup{title: l.title()}
		for _, x := range b.run.Backends {
			c := b.cell(p.Name, l, x.Name)
			r := strip{label: shortTitle(x), class: b.colour(x.Name), note: b.blocked(c, l, x, false)}
			if r.note == "" && (c.Throughput == nil || len(c.Throughput.Rounds) == 0) {
				r.note = "no round counted"
			}
			if r.note == "" {
				for _, round := range c.Throughput.Rounds {
					if finite(round.RecordsPerS) {
						r.points = append(r.points, stripPoint{max(round.RecordsPerS, 0), false, round.Trial + ": " + perSecond(round.RecordsPerS)})
					}
				}
				r.median = &c.Throughput.RecordsPerS
				r.right = perSecond(c.Throughput.RecordsPerS) + " · n" + nbsp + strconv.Itoa(len(c.Throughput.Rounds))
				any = any || len(r.points) > 0
			}
			g.rows = append(g.rows, r)
		}
		groups = append(groups, g)
	}
	if !any {
		return nil
	}
	c, height := drawStrips(groups, "acknowledged records per second", "one round")
	return c.figure(b.id("throughput-rounds", p.Name), "Steady throughput, profile "+p.Name, "Each dot is the rate of one round without a fault, as many records as were taken; the axis starts at 0.", stripWidth, height)
}

// cost shows what brokers and coordination service used, apart.
func (b *builder) cost(p metrics.Profile) []block {
	t := &table{ID: b.id("cost", p.Name), Caption: "Use of the machine in the steady phases, summed over the processes of a kind. The embedded service's cost is inside its brokers'. Memory is the highest sum seen."}
	t.Columns = []column{{Title: "Backend"}, {Title: "Processes"}, {Title: "CPU", Sub: "cores used"}, {Title: "Memory"}, {Title: "Written to disk"}, {Title: "CPU per 1,000 records", Sub: "seconds"}}
	for _, kind := range []string{"failover", "throughput"} {
		for _, l := range b.lines(p.Name, kind) {
			group := false
			for _, x := range b.run.Backends {
				c := b.cell(p.Name, l, x.Name)
				if b.blocked(c, l, x, true) != "" || c.Cost == nil {
					continue
				}
				if !group {
					t.Rows = append(t.Rows, row{Group: l.title()})
					group = true
				}
				if c.Cost.Service.Processes == 0 {
					t.Rows = append(t.Rows, row{Cells: append([]cell{b.usageHead(x.Name, "brokers with the service inside")}, usageCells(c.Cost.Brokers)...)})
					continue
				}
				t.Rows = append(t.Rows,
					row{Cells: append([]cell{b.usageHead(x.Name, "brokers")}, usageCells(c.Cost.Brokers)...)},
					row{Cells: append([]cell{b.usageHead(x.Name, "coordination service")}, usageCells(c.Cost.Service)...)})
			}
		}
	}
	if len(t.Rows) == 0 {
		return []block{prose("The use of CPU, memory and disk was not measured.")}
	}
	return []block{tabled(t)}
}

func (b *builder) usageHead(backend, kind string) cell {
	h := b.backendHead(backend)
	h.Main += ", " + kind
	return h
}

func usageCells(u metrics.Usage) []cell {
	perK := mute("none offered")
	if u.CPUPerK > 0 {
		perK = figureCell(withUnit(fixed(u.CPUPerK, 2), "s"))
	}
	return []cell{figureCell(strconv.Itoa(u.Processes)), figureCell(fixed(u.CPU, 2)), figureCell(byteSize(float64(u.RSSB))), figureCell(byteSize(u.WriteBPerS) + "/s"), perK}
}
