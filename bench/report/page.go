package report

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
)

// Page is a document of the report's look for figures that are not a run's: it becomes one HTML file, and Markdown with its pictures beside it.
type Page struct{ doc document }

// Tone of a verdict and of a count.
type Tone string

const (
	Plain Tone = ""
	Good  Tone = "good"
	Warn  Tone = "warn"
	Bad   Tone = "bad"
)

// NewPage begins a page with its verdict.
func NewPage(title, subtitle string, tone Tone, verdict string, notes ...string) *Page {
	return &Page{document{Title: title, Subtitle: subtitle, Banner: banner{Tone: string(tone), Headline: verdict, Notes: notes}}}
}

// Count adds a figure to the verdict.
func (p *Page) Count(label, value string, tone Tone) {
	p.doc.Banner.Counts = append(p.doc.Banner.Counts, count{label, value, string(tone)})
}

// Section begins a section; what is added next belongs to it. The id is unique in the page.
func (p *Page) Section(id, title string) {
	p.doc.Sections = append(p.doc.Sections, section{ID: slug(id), Title: title, Level: 2})
}

func (p *Page) add(b block) {
	if len(p.doc.Sections) == 0 {
		p.Section("page", p.doc.Title)
	}
	s := &p.doc.Sections[len(p.doc.Sections)-1]
	s.Blocks = append(s.Blocks, b)
}

// Prose adds a paragraph.
func (p *Page) Prose(s string) { p.add(prose(s)) }

// List adds a list.
func (p *Page) List(items []string) { p.add(listed(items)) }

// Code adds text as it is.
func (p *Page) Code(s string) { p.add(block{Code: s}) }

// Line is a row of a table: with Group a heading across it, else a head cell and the others. Colour, when not negative, is a backend's.
type Line struct {
	Group  string
	Head   string
	Link   string // of Head, relative to the page; may be empty
	Colour int
	Cells  []string
}

// Table adds a table of figures; columns name the head cell's first.
func (p *Page) Table(id, caption string, columns []string, lines []Line) {
	p.table(id, caption, columns, lines, figureCell)
}

// TextTable adds a table of text, which wraps.
func (p *Page) TextTable(id, caption string, columns []string, lines []Line) {
	p.table(id, caption, columns, lines, text)
}

func (p *Page) table(id, caption string, columns []string, lines []Line, cellOf func(string, ...string) cell) {
	t := &table{ID: slug(id), Caption: caption}
	for _, c := range columns {
		t.Columns = append(t.Columns, column{Title: c})
	}
	for _, l := range lines {
		r := row{Group: l.Group}
		if l.Group == "" {
			c := head(l.Head)
			c.Link = l.Link
			if l.Colour >= 0 {
				c.Kind += " " + colour(l.Colour)
			}
			r.Cells = append(r.Cells, c)
			for _, s := range l.Cells {
				r.Cells = append(r.Cells, cellOf(s))
			}
		}
		t.Rows = append(t.Rows, r)
	}
	p.add(tabled(t))
}

// BackendColour is the colour of a backend, for Line and Span.
func BackendColour(name string) int {
	if n, ok := fixedColour[name]; ok {
		return n
	}
	return 7
}

func colour(i int) string { return fmt.Sprintf("c%d", i%8) }

// Span is a row of a chart: a value with its interval (Low and High, NaN when there is none), and up to one paler value to compare with.
type Span struct {
	Label, Note      string // Note stands at the row's end
	Colour           int
	Value, Low, High float64
	Beside           *float64 // an open mark
	Tip              string
}

// SpanGroup is a heading with rows.
type SpanGroup struct {
	Title string
	Rows  []Span
	Mark  float64 // a value that is marked in every row of the group, such as a limit; 0: none
}

// Spans adds a chart of values with intervals on one logarithmic axis. Values at or below 0 have no place on it and are left out.
func (p *Page) Spans(id, title, caption, axisTitle string, one bool, groups []SpanGroup) {
	p.add(drawn(spans(slug(id), title, caption, axisTitle, one, groups)))
}

// spans draws; with one, the axis has a line at 1.
func spans(id, title, caption, axisTitle string, one bool, groups []SpanGroup) *figure {
	const width, left, right, rowH, top = 1000.0, 200.0, 190.0, 24.0, 6.0
	a, bottom := spanAxis(groups, one, left+10, width-right), top
	for _, g := range groups {
		bottom += stripHeader + rowH*float64(len(g.Rows)) + 6
	}
	c := &canvas{}
	for _, v := range a.ticks {
		class := "grid"
		if one && v == 1 {
			class = "one"
		}
		c.line(a.pos(v), top+stripHeader, a.pos(v), bottom, class)
		c.text(a.pos(v), bottom+16, "middle", "tick", tickNumber(v))
	}
	c.text((a.from+a.to)/2, bottom+34, "middle", "unit", axisTitle)
	y := top
	for _, g := range groups {
		c.text(0, y+18, "start", "strong halo", ellipsis(g.Title, 110))
		c.line(0, y+stripHeader-3, width, y+stripHeader-3, "rule")
		y += stripHeader
		if g.Mark > 0 {
			c.line(a.pos(g.Mark), y, a.pos(g.Mark), y+rowH*float64(len(g.Rows)), "faultline dash")
		}
		for _, s := range g.Rows {
			s.draw(c, a, y+rowH/2, left, width)
			y += rowH
		}
		y += 6
	}
	return c.figure(id, title, caption, width, bottom+42)
}

func (s Span) draw(c *canvas, a axis, mid, left, width float64) {
	class := colour(s.Colour)
	c.rect(0, mid-5, 8, 10, "f-"+class, "")
	c.note(16, mid+4, left-20, "label", s.Label)
	c.text(width, mid+4, "end", "figure", s.Note)
	if !(s.Value > 0) {
		return
	}
	if s.Beside != nil && *s.Beside > 0 {
		c.circle(a.pos(*s.Beside), mid, 4.5, "open s-"+class, s.Tip)
	}
	if s.Low > 0 && finite(s.High) {
		c.line(a.pos(s.Low), mid, a.pos(s.High), mid, "whisker s-"+class)
	}
	c.circle(a.pos(s.Value), mid, 5, "dot f-"+class, s.Tip)
}

func spanAxis(groups []SpanGroup, one bool, from, to float64) axis {
	low, high := math.Inf(1), math.Inf(-1)
	for _, g := range groups {
		for _, r := range g.Rows {
			values := []float64{r.Value, r.Low, r.High, g.Mark}
			if r.Beside != nil {
				values = append(values, *r.Beside)
			}
			for _, v := range values {
				if finite(v) && v > 0 {
					low, high = min(low, v), max(high, v)
				}
			}
		}
	}
	if !one {
		return logAxis(low, high, from, to)
	}
	a := axis{log: true, low: min(low/1.05, 0.8), high: max(high*1.05, 1.5), from: from, to: to}
	if !finite(a.low) || !finite(a.high) {
		a.low, a.high = 0.5, 2
	}
	ticks := []float64{0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100}
	switch width := a.high / a.low; {
	case width < 12 && width >= 5:
		ticks = []float64{0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1, 1.4, 2, 3, 4, 5, 7, 10}
	case width < 5:
		ticks = []float64{0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.5, 1.75, 2, 2.5, 3, 4}
	}
	a.ticks = slices.DeleteFunc(ticks, func(v float64) bool { return v < a.low || v > a.high })
	return a
}

// HTML renders the page as one file.
func (p *Page) HTML() ([]byte, error) { return renderHTML(&p.doc) }

// Write renders the page into dir as NAME.html and NAME.md, with the Markdown's pictures in PictureDir.
func (p *Page) Write(dir, name string) error {
	page, err := renderHTML(&p.doc)
	if err != nil {
		return fmt.Errorf("render %s.html: %w", name, err)
	}
	if err := os.MkdirAll(filepath.Join(dir, PictureDir), 0o755); err != nil {
		return fmt.Errorf("create picture directory: %w", err)
	}
	for _, fig := range p.doc.figures() {
		if err := os.WriteFile(filepath.Join(dir, PictureDir, fig.File()), []byte(fig.standalone()), 0o644); err != nil {
			return fmt.Errorf("write picture: %w", err)
		}
	}
	for file, data := range map[string][]byte{name + ".md": renderMarkdown(&p.doc), name + ".html": page} {
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o644); err != nil {
			return fmt.Errorf("write page: %w", err)
		}
	}
	return nil
}
