package report

import (
	"bytes"
	"fmt"
	"strings"
)

// renderMarkdown lays the document out for a repository's page; pictures are files beside it.
func renderMarkdown(d *document) []byte {
	b := &bytes.Buffer{}
	fmt.Fprintf(b, "# %s\n\n%s\n\n", plain(d.Title), plain(d.Subtitle))
	fmt.Fprintf(b, "> **%s**\n>\n", plain(d.Banner.Headline))
	var counts []string
	for _, c := range d.Banner.Counts {
		counts = append(counts, fmt.Sprintf("%s **%s**", plain(c.Label), plain(c.Value)))
	}
	fmt.Fprintf(b, "> %s\n", strings.Join(counts, " · "))
	for _, n := range d.Banner.Notes {
		fmt.Fprintf(b, ">\n> %s\n", plain(n))
	}
	b.WriteString("\n## Contents\n\n")
	for _, c := range d.contents() {
		fmt.Fprintf(b, "- [%s](#%s)\n", plain(c.Title), c.ID)
		for _, p := range c.Parts {
			fmt.Fprintf(b, "  - [%s](#%s)\n", plain(p.Title), p.ID)
		}
	}
	for _, s := range d.Sections {
		fmt.Fprintf(b, "\n<a id=\"%s\"></a>\n\n%s %s\n\n", s.ID, strings.Repeat("#", s.Level), plain(s.Title))
		markdownBlocks(b, s.Blocks)
	}
	return b.Bytes()
}

func markdownBlocks(b *bytes.Buffer, blocks []block) {
	for _, x := range blocks {
		switch {
		case x.Prose != "":
			fmt.Fprintf(b, "%s\n\n", plain(x.Prose))
		case x.List != nil:
			for _, item := range x.List {
				fmt.Fprintf(b, "- %s\n", plain(item))
			}
			b.WriteByte('\n')
		case x.Code != "":
			fence := "```"
			for strings.Contains(x.Code, fence) {
				fence += "`"
			}
			fmt.Fprintf(b, "%s\n%s\n%s\n\n", fence, printable(x.Code), fence)
		case x.Table != nil:
			markdownTable(b, x.Table)
		case x.Figure != nil:
			fmt.Fprintf(b, "![%s](%s/%s)\n\n*%s. %s*\n\n", plain(x.Figure.Title), PictureDir, x.Figure.File(), plain(x.Figure.Title), plain(x.Figure.Caption))
		case x.Fold != nil:
			fmt.Fprintf(b, "<details><summary>%s</summary>\n\n", plain(x.Fold.Summary))
			markdownBlocks(b, x.Fold.Blocks)
			b.WriteString("</details>\n\n")
		}
	}
}

func markdownTable(b *bytes.Buffer, t *table) {
	for _, c := range t.Columns {
		b.WriteString("| " + plain(c.Title))
		if c.Sub != "" {
			b.WriteString(" (" + plain(c.Sub) + ")")
		}
		b.WriteByte(' ')
	}
	b.WriteString("|\n" + strings.Repeat("|---", len(t.Columns)) + "|\n")
	for _, r := range t.Rows {
		if r.Group != "" {
			fmt.Fprintf(b, "| **%s** %s|\n", plain(r.Group), strings.Repeat("| ", len(t.Columns)-1))
			continue
		}
		for _, c := range r.Cells {
			main := plain(c.Main)
			if c.Link != "" {
				main = "[" + main + "](" + linkEscapes.Replace(c.Link) + ")"
			}
			if t.Matrix && c.Kind == "" {
				main = "**" + main + "**"
			}
			b.WriteString("| " + strings.Join(append([]string{main}, plainAll(c.Sub)...), "<br>") + " ")
		}
		b.WriteString("|\n")
	}
	fmt.Fprintf(b, "\n*%s*\n\n", plain(t.Caption))
}

var markdownEscapes = strings.NewReplacer("\\", "\\\\", "|", "\\|", "<", "&lt;", ">", "&gt;", "&", "&amp;", "`", "\\`", "*", "\\*", "_", "\\_", "[", "\\[", "]", "\\]", "#", "\\#",
	"\r", " ", "\n", " ", "~", "\\~", "!", "\\!")

// linkEscapes keeps a path in one piece; a page leads to the Markdown beside the HTML that it names.
var linkEscapes = strings.NewReplacer("%", "%25", " ", "%20", "(", "%28", ")", "%29", "<", "%3C", ">", "%3E", "|", "%7C", ".html", ".md")

// plain writes any text so that Markdown shows it as it is, on one line.
func plain(s string) string { return markdownEscapes.Replace(printable(s)) }

// PlainMarkdown is plain for pages that are written elsewhere.
func PlainMarkdown(s string) string { return plain(s) }

// printable replaces what no text file should hold, as the HTML does.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' {
			return '\ufffd'
		}
		return r
	}, s)
}

func plainAll(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = plain(s)
	}
	return out
}
