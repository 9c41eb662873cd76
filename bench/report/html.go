package report

import (
	"bytes"
	_ "embed"
	"html/template"
	"strings"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageCSS string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// chapter is an entry of the table of contents.
type chapter struct {
	ID, Title string
	Parts     []chapter
}

// Heading and Colour are for the template.
func (c cell) Heading() bool { return strings.HasPrefix(c.Kind, "head") }

// Colour is the backend's colour of a heading cell, or "".
func (c cell) Colour() string { return strings.TrimSpace(strings.TrimPrefix(c.Kind, "head")) }

// Wide tells whether a table has so many columns that it is set smaller.
func (t *table) Wide() bool { return len(t.Columns) > 8 }

func (d *document) contents() []chapter {
	var out []chapter
	for _, s := range d.Sections {
		c := chapter{ID: s.ID, Title: s.Title}
		if s.Level == 2 || len(out) == 0 {
			out = append(out, c)
			continue
		}
		last := &out[len(out)-1]
		last.Parts = append(last.Parts, c)
	}
	return out
}

func renderHTML(d *document) ([]byte, error) {
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, struct {
		*document
		Style    template.CSS
		Contents []chapter
	}{d, template.CSS(figureCSS + pageCSS), d.contents()})
	return b.Bytes(), err
}
