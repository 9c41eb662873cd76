package report

import (
	"slices"
	"strconv"
	"strings"

	"github.com/regency-project/regency/bench/metrics"
)

// variantCoordination names the trials whose victim hosted the leader of the embedded coordination service.
const variantCoordination = "coordination-leader"

// builder holds the run and what is looked up in it while the document is made.
type builder struct {
	run    metrics.Run
	cells  map[cellKey]*metrics.Cell
	trials map[string]*metrics.Trial
	used   map[string]int // identifiers given out
}

type cellKey struct{ profile, scenario, variant, backend string }

func newBuilder(run metrics.Run) *builder {
	b := &builder{run: run, cells: map[cellKey]*metrics.Cell{}, trials: map[string]*metrics.Trial{}, used: map[string]int{}}
	for i := range b.run.Cells {
		c := &b.run.Cells[i]
		b.cells[cellKey{c.Profile, c.Scenario, c.Variant, c.Backend}] = c
		for j := range c.Trials {
			b.trials[c.Trials[j].ID] = &c.Trials[j]
		}
	}
	return b
}

// id gives out an identifier that no other part of the document has.
func (b *builder) id(parts ...string) string {
	s := slug(parts...)
	b.used[s]++
	if n := b.used[s]; n > 1 {
		return b.id(s, strconv.Itoa(n))
	}
	return s
}

// line is a row of a matrix: a scenario, or a variant of it.
type line struct {
	scenario metrics.Scenario
	variant  string
}

func (l line) title() string {
	if l.variant == "" {
		return l.scenario.Title
	}
	return l.scenario.Title + " " + variantTitle(l.variant)
}

func variantTitle(v string) string {
	switch v {
	case "":
		return ""
	case variantCoordination:
		return "(victim also led the coordination service)"
	}
	return "(" + v + ")"
}

// variantShort fits beside a backend's name in a picture.
func variantShort(v string) string {
	if v == variantCoordination {
		return "victim led coordination too"
	}
	return v
}

// lines lists the rows of a profile of one kind of scenario, variants after the plain row.
func (b *builder) lines(profile, kind string) []line {
	var out []line
	for _, s := range b.run.Scenarios {
		if s.Kind != kind {
			continue
		}
		variants := []string{}
		for _, c := range b.run.Cells {
			if c.Profile == profile && c.Scenario == s.Name && !slices.Contains(variants, c.Variant) {
				variants = append(variants, c.Variant)
			}
		}
		slices.Sort(variants)
		for _, v := range variants {
			out = append(out, line{s, v})
		}
	}
	return out
}

func (b *builder) cell(profile string, l line, backend string) *metrics.Cell {
	return b.cells[cellKey{profile, l.scenario.Name, l.variant, backend}]
}

// inVariantOnly tells, of a scenario that has no plain cell on a backend, whether its trials went to the row of a variant.
func (b *builder) inVariantOnly(scenario, backend string) bool {
	for k := range b.cells {
		if k.scenario == scenario && k.backend == backend && k.variant != "" {
			return true
		}
	}
	return false
}

// blocked says why a cell has no figures to show, or "" when it has. Short leaves the reason out, for tables that follow one with the reasons.
func (b *builder) blocked(c *metrics.Cell, l line, backend metrics.Backend, short bool) string {
	with := func(what, reason string) string {
		if short || reason == "" {
			return what
		}
		return what + ": " + reason
	}
	switch {
	case c == nil && backend.Status == metrics.StatusNotRun:
		return with("not run", backend.Reason)
	case c == nil && l.variant != "":
		return "does not apply"
	case c == nil && b.inVariantOnly(l.scenario.Name, backend.Name):
		return "every victim led the coordination service too: next row"
	case c == nil:
		return "not part of this run"
	case c.Status == metrics.StatusNotRun:
		return with("not run", orText(c.Reason, backend.Reason))
	case c.Status == metrics.StatusVoid:
		return with("void", orText(c.Reason, plural(len(c.Violations), "violation", "violations")))
	case c.Status == metrics.StatusInvalid:
		return with("no valid trial", c.Reason)
	}
	return ""
}

// backendTitle is the name as people write it.
func (b *builder) backendTitle(name string) string {
	for _, x := range b.run.Backends {
		if x.Name == name {
			return shortTitle(x)
		}
	}
	return name
}

// shortTitle is a backend's title without what stands in parentheses behind it: the settings give it in full.
func shortTitle(x metrics.Backend) string {
	title, _, _ := strings.Cut(x.Title, " (")
	return orText(title, x.Name)
}

// fixedColour keeps a backend's colour the same in every report, whichever others ran.
var fixedColour = map[string]int{"embedded": 0, "etcd": 1, "zookeeper": 2, "consul": 3, "kafka-zookeeper": 4, "kafka-kraft": 5, "memory": 6}

func (b *builder) colour(name string) string {
	n, ok := fixedColour[name]
	if !ok {
		n = 4 + slices.IndexFunc(b.run.Backends, func(x metrics.Backend) bool { return x.Name == name })%4
	}
	return "c" + strconv.Itoa(max(n, 0))
}

// backendColumns are the columns of a matrix after its first.
func (b *builder) backendColumns(first string) []column {
	cols := []column{{Title: first}}
	for _, x := range b.run.Backends {
		sub := x.Version
		if x.Status == metrics.StatusNotRun {
			sub = "not run"
		}
		cols = append(cols, column{Title: shortTitle(x), Sub: sub, Class: b.colour(x.Name)})
	}
	return cols
}

// matrix fills a table with one column a backend; fill makes the cell of a line that has figures.
func (b *builder) matrix(id, caption, profile string, lines []line, short bool, fill func(line, *metrics.Cell) cell) *table {
	t := &table{ID: b.id(id), Caption: caption, Columns: b.backendColumns("Scenario"), Matrix: true}
	for _, l := range lines {
		r := row{Cells: []cell{lineHead(l)}}
		for _, x := range b.run.Backends {
			c := b.cell(profile, l, x.Name)
			if why := b.blocked(c, l, x, short); why != "" {
				blank := mute(why)
				if c != nil && c.Status == metrics.StatusVoid {
					blank.Kind = "mute void"
				}
				r.Cells = append(r.Cells, blank)
				continue
			}
			r.Cells = append(r.Cells, fill(l, c))
		}
		t.Rows = append(t.Rows, r)
	}
	return t
}

func lineHead(l line) cell {
	h := head(orText(l.scenario.Title, l.scenario.Name))
	if l.variant != "" {
		h.Sub = append(h.Sub, variantTitle(l.variant))
	}
	if l.scenario.Fault != "" {
		h.Sub = append(h.Sub, l.scenario.Fault)
	}
	return h
}

// className is how a class of partitions is named in tables.
func className(class string) string {
	if of, reads := metrics.WriteClass(class); reads {
		return "reads: " + className(of)
	}
	switch class {
	case metrics.ClassLed:
		return "led by the victim"
	case metrics.ClassFollowed:
		return "followed by the victim"
	case metrics.ClassUntouched:
		return "untouched"
	case metrics.ClassData:
		return "any partition"
	case metrics.ClassControl:
		return "control plane"
	}
	return class
}
