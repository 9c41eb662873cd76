package report

import "html/template"

// document is the whole report as text and pictures, before any layout.
type document struct {
	Title    string
	Subtitle string
	Banner   banner
	Sections []section
}

// banner is the verdict at the top.
type banner struct {
	Tone     string // good, warn or bad
	Headline string
	Counts   []count
	Notes    []string
}

type count struct {
	Label, Value string
	Tone         string
}

// section is a heading with its content. Level 2 stands in the table of contents, level 3 below the last level 2.
type section struct {
	ID     string
	Title  string
	Level  int
	Blocks []block
}

// block is one piece of a section: exactly one field is set.
type block struct {
	Prose  string
	List   []string
	Code   string
	Table  *table
	Figure *figure
	Fold   *fold
}

// fold is content that starts closed where the medium can do that.
type fold struct {
	Summary string
	Blocks  []block
}

type table struct {
	ID      string
	Caption string
	Columns []column
	Rows    []row
	Matrix  bool // cells of several lines under one column a backend
}

type column struct {
	Title string
	Sub   string
	Class string // colour of a backend
}

// row is a line of cells, or, with Group, a heading across the table.
type row struct {
	Group string
	Cells []cell
}

// cell is the main text with smaller lines below it.
type cell struct {
	Main  string
	Sub   []string
	Kind  string        // "" a figure, head, text or mute
	Spark template.HTML // a small picture of the figures above it; HTML only
	Link  string        // of a heading: where its text leads, relative to the page
}

func head(main string, sub ...string) cell { return cell{Main: main, Sub: sub, Kind: "head"} }
func text(main string, sub ...string) cell { return cell{Main: main, Sub: sub, Kind: "text"} }
func mute(main string, sub ...string) cell { return cell{Main: main, Sub: sub, Kind: "mute"} }
func figureCell(main string, sub ...string) cell {
	return cell{Main: main, Sub: sub}
}

func prose(s string) block    { return block{Prose: s} }
func tabled(t *table) block   { return block{Table: t} }
func drawn(f *figure) block   { return block{Figure: f} }
func listed(s []string) block { return block{List: s} }

// figures lists every picture of the document in order.
func (d *document) figures() []*figure {
	var out []*figure
	var walk func([]block)
	walk = func(blocks []block) {
		for _, b := range blocks {
			switch {
			case b.Figure != nil:
				out = append(out, b.Figure)
			case b.Fold != nil:
				walk(b.Fold.Blocks)
			}
		}
	}
	for _, s := range d.Sections {
		walk(s.Blocks)
	}
	return out
}
