package report

import (
	"encoding/xml"
	"fmt"
	"html/template"
	"strconv"
	"strings"

	_ "embed"
)

//go:embed figure.css
var figureCSS string

// margin surrounds a picture that is a file of its own.
const margin = 14

// figure is a finished picture.
type figure struct {
	ID      string
	Title   string
	Caption string // one sentence: what one sees
	width   float64
	height  float64
	body    string
}

// File is its name in the picture directory.
func (f *figure) File() string { return f.ID + ".svg" }

// SVG is the picture for a page that has the figures' style.
func (f *figure) SVG() template.HTML { return template.HTML(f.svg(false)) }

func (f *figure) standalone() string { return f.svg(true) }

func (f *figure) svg(alone bool) string {
	var b strings.Builder
	box, file := fmt.Sprintf("0 0 %s %s", coordinate(f.width), coordinate(f.height)), ""
	if alone { // a margin, since no page gives one
		box = fmt.Sprintf("-%d -%d %s %s", margin, margin, coordinate(f.width+2*margin), coordinate(f.height+2*margin))
		file = fmt.Sprintf(` xmlns="http://www.w3.org/2000/svg" width="%s" height="%s"`, coordinate(f.width+2*margin), coordinate(f.height+2*margin))
	}
	fmt.Fprintf(&b, `<svg class="fig" viewBox="%s"%s role="img" aria-labelledby="%s-t %s-d">`, box, file, f.ID, f.ID)
	fmt.Fprintf(&b, `<title id="%s-t">%s</title><desc id="%s-d">%s</desc>`, f.ID, escape(f.Title), f.ID, escape(f.Caption))
	if alone {
		b.WriteString("<style>" + figureCSS + "</style>")
		fmt.Fprintf(&b, `<rect class="paper" x="-%d" y="-%d" width="100%%" height="100%%"/>`, margin, margin)
	}
	b.WriteString(f.body)
	b.WriteString("</svg>")
	return b.String()
}

// canvas collects the elements of a picture. Colours and fonts come from classes, so that one picture serves light and dark pages.
type canvas struct{ strings.Builder }

// escape makes any string safe as XML text or attribute; characters that XML cannot hold are replaced.
func escape(s string) string {
	var b strings.Builder
	// A strings.Builder takes every write.
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

// coordinate writes a length. Values without a place are filtered where the data is read; this keeps a picture well formed if one slips through.
func coordinate(v float64) string {
	if !finite(v) {
		return "0"
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
}

func tip(s string) string {
	if s == "" {
		return ""
	}
	return "<title>" + escape(s) + "</title>"
}

func (c *canvas) line(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(c, `<line class="%s" x1="%s" y1="%s" x2="%s" y2="%s"/>`, class, coordinate(x1), coordinate(y1), coordinate(x2), coordinate(y2))
}

func (c *canvas) rect(x, y, w, h float64, class, title string) {
	fmt.Fprintf(c, `<rect class="%s" x="%s" y="%s" width="%s" height="%s">%s</rect>`,
		class, coordinate(x), coordinate(y), coordinate(max(w, 0)), coordinate(max(h, 0)), tip(title))
}

func (c *canvas) circle(x, y, r float64, class, title string) {
	fmt.Fprintf(c, `<circle class="%s" cx="%s" cy="%s" r="%s">%s</circle>`, class, coordinate(x), coordinate(y), coordinate(r), tip(title))
}

// text places s at the baseline; anchor is start, middle or end.
func (c *canvas) text(x, y float64, anchor, class, s string) {
	fmt.Fprintf(c, `<text class="%s" x="%s" y="%s" text-anchor="%s">%s</text>`, class, coordinate(x), coordinate(y), anchor, escape(s))
}

// note is text cut to a width, with the whole of it as its tip.
func (c *canvas) note(x, y, width float64, class, s string) {
	cut := ellipsis(s, int(width/6))
	if cut == s {
		c.text(x, y, "start", class, s)
		return
	}
	fmt.Fprintf(c, `<text class="%s" x="%s" y="%s">%s%s</text>`, class, coordinate(x), coordinate(y), escape(cut), tip(s))
}

func (c *canvas) path(d, class, title string) {
	if d != "" {
		fmt.Fprintf(c, `<path class="%s" d="%s">%s</path>`, class, d, tip(title))
	}
}

// bracket marks [x1, x2] with feet that point down to y+h.
func (c *canvas) bracket(x1, x2, y, h float64, class, title string) {
	c.path(fmt.Sprintf("M%s %sV%sH%sV%s", coordinate(x1), coordinate(y+h), coordinate(y), coordinate(x2), coordinate(y+h)), class, title)
}

func (c *canvas) figure(id, title, caption string, width, height float64) *figure {
	return &figure{ID: id, Title: title, Caption: caption, width: width, height: height, body: c.String()}
}
