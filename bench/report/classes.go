package report

import (
	"strconv"

	"github.com/regency-project/regency/bench/metrics"
)

// classes shows every class of partitions, so that a short headline cannot hide what the fault did elsewhere.
func (b *builder) classes(p metrics.Profile) []block {
	t := &table{ID: b.id("classes", p.Name), Matrix: true, Columns: b.backendColumns("Class"),
		Caption: "Outage by class, one value a trial: the worst partition of the class. Below: the unavailable time summed over the probed partitions, and failed probes, medians over trials. An outage of 0 means that no probe failed."}
	for _, l := range b.lines(p.Name, "failover") {
		rows := []row{}
		for _, class := range metrics.Classes {
			r, any := row{Cells: []cell{classHead(l, class)}}, false
			for _, x := range b.run.Backends {
				c := b.cell(p.Name, l, x.Name)
				if why := b.blocked(c, l, x, true); why != "" {
					r.Cells = append(r.Cells, mute(why))
					continue
				}
				out, found := classCell(c, class)
				any = any || found
				r.Cells = append(r.Cells, out)
			}
			if any {
				rows = append(rows, r)
			}
		}
		if len(rows) > 0 {
			t.Rows = append(t.Rows, row{Group: l.title()})
			t.Rows = append(t.Rows, rows...)
		}
	}
	if len(t.Rows) == 0 {
		return nil
	}
	return []block{tabled(t)}
}

func classHead(l line, class string) cell {
	h := head(className(class))
	if class == l.scenario.Headline {
		h.Sub = []string{"headline"}
	}
	return h
}

func classCell(c *metrics.Cell, class string) (cell, bool) {
	for _, o := range c.Outages {
		if o.Class != class {
			continue
		}
		s := o.Summary
		if !usable(&s) {
			return mute(notMeasured), true
		}
		if s.Max == 0 && s.Censored == 0 {
			return figureCell(ms(0), "n"+nbsp+strconv.Itoa(s.N)+" · no probe failed"), true
		}
		out := figureCell(medianText(&s), spreadLines(&s)...)
		unit := "partition-s"
		if class == metrics.ClassControl {
			unit = "s"
		}
		out.Sub = append(out.Sub, withUnit(fixed(o.PartitionSeconds, 2), unit)+" unavailable", tickNumber(o.Failed)+" probes failed")
		return out, true
	}
	return mute("no such partition"), false
}

// clients shows what ordinary producers saw beside what the prober measured.
func (b *builder) clients(p metrics.Profile) []block {
	gaps := &table{ID: b.id("clients", p.Name), Matrix: true, Columns: b.backendColumns("Client"),
		Caption: "Longest time without an acknowledgement on a partition of the headline class, one value a trial, as an ordinary idempotent kgo producer saw it. The default client backs off and refreshes its metadata late, which hides the difference between the backends; the prober does neither."}
	latency := &table{ID: b.id("client-latency", p.Name), Matrix: true, Columns: b.backendColumns("Client"),
		Caption: "Latency of acknowledged records in the steady phases of the same trials, from the intended send time."}
	for _, l := range b.lines(p.Name, "failover") {
		configs := b.clientConfigs(p, l)
		if len(configs) == 0 {
			continue
		}
		gaps.Rows = append(gaps.Rows, row{Group: l.title()}, b.clientRow(p, l, "prober", func(c *metrics.Cell) cell { return summaryCell(c.Headline) }))
		latency.Rows = append(latency.Rows, row{Group: l.title()})
		for _, config := range configs {
			gaps.Rows = append(gaps.Rows, b.clientRow(p, l, config+" client", func(c *metrics.Cell) cell { return gapCell(c, config) }))
			latency.Rows = append(latency.Rows, b.clientRow(p, l, config+" client", func(c *metrics.Cell) cell { return clientLatency(c, config) }))
		}
	}
	if len(gaps.Rows) == 0 {
		return nil
	}
	return []block{tabled(gaps), {Fold: &fold{Summary: "Latency of the clients in the steady phases", Blocks: []block{tabled(latency)}}}}
}

func (b *builder) clientConfigs(p metrics.Profile, l line) []string {
	var out []string
	for _, x := range b.run.Backends {
		if c := b.cell(p.Name, l, x.Name); c != nil {
			for _, client := range c.Clients {
				if !contains(out, client.Config) {
					out = append(out, client.Config)
				}
			}
		}
	}
	return out
}

func (b *builder) clientRow(p metrics.Profile, l line, name string, of func(*metrics.Cell) cell) row {
	r := row{Cells: []cell{head(name)}}
	for _, x := range b.run.Backends {
		c := b.cell(p.Name, l, x.Name)
		if why := b.blocked(c, l, x, true); why != "" {
			r.Cells = append(r.Cells, mute(why))
			continue
		}
		r.Cells = append(r.Cells, of(c))
	}
	return r
}

func gapCell(c *metrics.Cell, config string) cell {
	for _, client := range c.Clients {
		if client.Config == config {
			out := mute(notMeasured)
			if usable(client.Gap) {
				out = figureCell(medianText(client.Gap), spreadLines(client.Gap)...)
			}
			out.Sub = append(out.Sub, plural(int(client.Errors), "record failed", "records failed"))
			return out
		}
	}
	return mute(notMeasured)
}

func clientLatency(c *metrics.Cell, config string) cell {
	for _, client := range c.Clients {
		if client.Config == config && client.Latency != nil && client.Latency.N > 0 {
			return latencyCell(*client.Latency)
		}
	}
	return mute(notMeasured)
}

func latencyCell(l metrics.Latency) cell {
	return figureCell("p50 "+ms(l.P50Ms), "p99 "+ms(l.P99Ms), "p99.9 "+ms(l.P999Ms), "max "+ms(l.MaxMs)+" · "+withUnit(grouped(l.N), "records"))
}
