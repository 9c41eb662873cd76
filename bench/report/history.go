package report

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/regency-project/regency/bench/metrics"
)

// Sizes of the history.
const (
	historyWidth = 1000.0
	historyPanel = 180.0
	historyLeft  = 62.0
	historyGap   = 46.0
)

// dashes tell lines apart without their colour, marks do so for points.
var dashes = []string{"", "7 3", "2 3", "9 3 2 3", "12 4", "1 4", "5 2 1 2", "3 6"}

// historyPoint is a cell's headline figure in one run.
type historyPoint struct {
	slot              int // of the run
	median, low, high float64
	ci                bool
	n, censored       int
}

// historySeries is one backend in one panel.
type historySeries struct {
	backend string
	points  []historyPoint
}

// historyGraph is one scenario under one profile.
type historyGraph struct {
	title, unit string
	series      []historySeries
}

// history adds a figure and a table for each profile.
func history(p *Page, list []archived) {
	list = slices.DeleteFunc(slices.Clone(list), func(a archived) bool { return a.run == nil })
	var profiles []string
	for _, a := range list {
		for _, x := range a.run.Profiles {
			if !slices.Contains(profiles, x.Name) {
				profiles = append(profiles, x.Name)
			}
		}
	}
	if len(profiles) == 0 {
		return
	}
	p.Section("history", "History")
	p.Prose("The headline figure of every cell over the published runs: the median outage of the worst probed partition, or the median throughput. Thick bars are 95 % intervals of the median; thin ones are the range of all trials, where these are too few for an interval. Hollow marks hold trials that had not recovered when the observation ended. Points are joined where two runs had the same machine. Trials whose victim led the embedded coordination service as well are not in it.")
	for _, name := range profiles {
		runs := slices.DeleteFunc(slices.Clone(list), func(a archived) bool {
			return !slices.ContainsFunc(a.run.Profiles, func(x metrics.Profile) bool { return x.Name == name })
		})
		graphs := historyGraphs(name, runs)
		if len(graphs) == 0 {
			continue
		}
		p.Section("history "+name, "Profile "+name)
		p.add(drawn(historyFigure(name, runs, graphs)))
		p.historyTable(name, runs, graphs)
	}
}

func historyGraphs(profile string, runs []archived) []historyGraph {
	var graphs []historyGraph
	at := make(map[string]int)
	for slot, a := range runs {
		for _, s := range a.run.Scenarios {
			for _, b := range a.run.Backends {
				c := a.run.Find(profile, s.Name, b.Name, "")
				if c == nil || c.Status != metrics.StatusOK {
					continue
				}
				point, unit, ok := headlinePoint(c)
				if !ok {
					continue
				}
				point.slot = slot
				i, known := at[s.Name]
				if !known {
					i = len(graphs)
					at[s.Name] = i
					graphs = append(graphs, historyGraph{title: orText(s.Title, s.Name), unit: unit})
				}
				graphs[i].add(b.Name, point)
			}
		}
	}
	return graphs
}

func (g *historyGraph) add(backend string, point historyPoint) {
	i := slices.IndexFunc(g.series, func(s historySeries) bool { return s.backend == backend })
	if i < 0 {
		i = len(g.series)
		g.series = append(g.series, historySeries{backend: backend})
	}
	g.series[i].points = append(g.series[i].points, point)
}

// headlinePoint is a cell's median with its interval, or its range.
func headlinePoint(c *metrics.Cell) (historyPoint, string, bool) {
	if t := c.Throughput; t != nil && len(t.Rounds) > 0 {
		return historyPoint{median: t.RecordsPerS, low: t.MinRecords, high: t.MaxRecords, n: len(t.Rounds)}, "records/s", finite(t.RecordsPerS)
	}
	s := c.Headline
	if !usable(s) {
		return historyPoint{}, "", false
	}
	p := historyPoint{median: s.Median, low: s.Min, high: s.Max, n: s.N, censored: s.Censored}
	if s.CI != nil {
		p.low, p.high, p.ci = s.CI.Low, s.CI.High, true
	}
	return p, "ms", true
}

func sameMachine(a, b *metrics.Run) bool {
	x, y := a.Environment, b.Environment
	return x.Host == y.Host && x.CPU == y.CPU && x.Cores == y.Cores && x.Filesystem == y.Filesystem && x.Flush == y.Flush
}

func historyFigure(profile string, runs []archived, graphs []historyGraph) *figure {
	c := &canvas{}
	y := historyLegend(c, graphs)
	slot := (historyWidth - historyLeft - 10) / float64(len(runs))
	for _, g := range graphs {
		top := 0.0
		for _, s := range g.series {
			for _, p := range s.points {
				top = max(top, p.high, p.median)
			}
		}
		c.text(0, y+14, "start", "strong", ellipsis(g.title, 90))
		y += 24
		a := linearAxis(0, top, y+historyPanel, y+8, 4)
		for _, v := range a.ticks {
			c.line(historyLeft, a.pos(v), historyWidth, a.pos(v), "grid")
			c.text(historyLeft-8, a.pos(v)+4, "end", "tick", tickNumber(v))
		}
		c.text(historyLeft+4, a.pos(a.ticks[len(a.ticks)-1])-3, "start", "unit", g.unit)
		for i, r := range runs {
			left := historyLeft + slot*float64(i)
			if i > 0 {
				class := "hair"
				if !sameMachine(runs[i-1].run, r.run) {
					class = "faultline dash"
				}
				c.line(left, y, left, y+historyPanel, class)
			}
			c.text(left+slot/2, y+historyPanel+16, "middle", "tick", ellipsis(r.started.UTC().Format("2006-01-02 15:04"), int(slot/6)))
		}
		for k, s := range g.series {
			s.draw(c, a, runs, slot, k, len(g.series), g.unit)
		}
		y += historyPanel + historyGap
	}
	caption := "Medians by run, oldest left; every axis begins at 0. Each backend has its own mark, line and colour. A broken red line between two runs says that the machine or the flush mode changed there: nothing follows from a difference across it."
	return c.figure("history-"+slug(profile), "History, profile "+profile, caption, historyWidth, y-historyGap+30)
}

// historyLegend names the marks that the graphs use, and returns where it ends.
func historyLegend(c *canvas, graphs []historyGraph) float64 {
	var names []string
	for _, g := range graphs {
		for _, s := range g.series {
			if !slices.Contains(names, s.backend) {
				names = append(names, s.backend)
			}
		}
	}
	x := historyLeft
	for _, name := range names {
		n := BackendColour(name)
		dashed(c, x, 12, x+34, 12, n)
		mark(c, x+17, 12, n, true, name)
		c.text(x+42, 16, "start", "legend", name)
		x += 66 + 7*float64(len(name))
	}
	return 34
}

func (s historySeries) draw(c *canvas, a axis, runs []archived, slot float64, k, of int, unit string) {
	n := BackendColour(s.backend)
	step := min(34, slot/float64(of+1))
	at := func(i int) float64 {
		return historyLeft + slot*(float64(i)+0.5) + step*(float64(k)-float64(of-1)/2)
	}
	for i, p := range s.points {
		if i > 0 {
			if q := s.points[i-1]; sameMachine(runs[q.slot].run, runs[p.slot].run) {
				dashed(c, at(q.slot), a.pos(q.median), at(p.slot), a.pos(p.median), n)
			}
		}
		x := at(p.slot)
		bar, cap := "s-"+colour(n), 5.0
		if p.ci {
			bar, cap = "whisker "+bar, 9
		}
		c.line(x-cap, a.pos(p.low), x+cap, a.pos(p.low), bar)
		c.line(x-cap, a.pos(p.high), x+cap, a.pos(p.high), bar)
		c.line(x, a.pos(p.low), x, a.pos(p.high), bar)
	}
	for _, p := range s.points {
		mark(c, at(p.slot), a.pos(p.median), n, p.censored == 0, fmt.Sprintf("%s, %s: %s", s.backend, runs[p.slot].dir, p.text(unit)))
	}
}

// text is the point as its table and its tip have it.
func (p historyPoint) text(unit string) string {
	text := ""
	if p.censored > 0 {
		text = "≥" + nbsp
	}
	name := "range"
	if p.ci {
		name = "95" + nbsp + "% CI"
	}
	return text + withUnit(number(p.median), unit) + ", " + name + " " + span(p.low, p.high) + ", n" + nbsp + strconv.Itoa(p.n)
}

func dashed(c *canvas, x1, y1, x2, y2 float64, n int) {
	fmt.Fprintf(c, `<line class="curve s-%s" stroke-dasharray="%s" x1="%s" y1="%s" x2="%s" y2="%s"/>`, colour(n), dashes[n%len(dashes)], coordinate(x1), coordinate(y1), coordinate(x2), coordinate(y2))
}

// mark draws one of eight shapes; one that is not filled holds lower limits.
func mark(c *canvas, x, y float64, n int, filled bool, title string) {
	class := "dot f-" + colour(n)
	if !filled {
		class = "open s-" + colour(n)
	}
	shapes := [][][2]float64{
		1: {{-4.5, -4.5}, {4.5, -4.5}, {4.5, 4.5}, {-4.5, 4.5}},
		2: {{0, -6}, {5.6, 4.5}, {-5.6, 4.5}},
		3: {{0, -6.4}, {6.4, 0}, {0, 6.4}, {-6.4, 0}},
		4: {{0, 6}, {5.6, -4.5}, {-5.6, -4.5}},
		5: {{-2, -6}, {2, -6}, {2, -2}, {6, -2}, {6, 2}, {2, 2}, {2, 6}, {-2, 6}, {-2, 2}, {-6, 2}, {-6, -2}, {-2, -2}},
		6: {{-6, 0}, {4.5, -5.6}, {4.5, 5.6}},
		7: {{6, 0}, {-4.5, -5.6}, {-4.5, 5.6}},
	}
	if n%8 == 0 {
		c.circle(x, y, 5, class, title)
		return
	}
	d := ""
	for i, v := range shapes[n%8] {
		step := "L"
		if i == 0 {
			step = "M"
		}
		d += step + coordinate(x+v[0]) + " " + coordinate(y+v[1])
	}
	c.path(d+"Z", class, title)
}

func (p *Page) historyTable(profile string, runs []archived, graphs []historyGraph) {
	var lines []Line
	columns := []string{"Backend"}
	for _, r := range runs {
		columns = append(columns, r.started.UTC().Format("2006-01-02 15:04"))
	}
	for _, g := range graphs {
		lines = append(lines, Line{Group: g.title + ", " + g.unit})
		for _, s := range g.series {
			l := Line{Head: s.backend, Colour: BackendColour(s.backend), Cells: slices.Repeat([]string{"–"}, len(runs))}
			for _, x := range s.points {
				l.Cells[x.slot] = x.text(g.unit)
			}
			lines = append(lines, l)
		}
	}
	p.TextTable("history-table-"+profile, "The same figures: median, interval or range, number of trials.", columns, lines)
}
