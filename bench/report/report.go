// Package report turns the figures of a run (metrics.Run) into what a person reads: report.html, one file that needs no network, and report.md
// with its pictures beside it.
//
// Both are rendered from one document. It is built once: every number becomes text there, and the renderers only lay text out. So the HTML and the
// Markdown cannot disagree, and a figure that was not measured says so in the same words in both.
//
// The rules of metrics hold here as well: what was not observed is named and never drawn as 0, no axis clips a point, and one backend is called
// faster than another only when the interval of the ratio excludes 1.
package report

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/regency-project/regency/bench/metrics"
)

// Names of what Write leaves in a run directory.
const (
	HTMLFile     = "report.html"
	MarkdownFile = "report.md"
	PictureDir   = "pictures"
)

// Write renders run into dir: report.html, report.md and the pictures that the Markdown shows. It replaces an earlier report.
// The run may be empty or partial: sections without data say so.
func Write(dir string, run metrics.Run) error {
	doc := build(run)
	page, err := renderHTML(doc)
	if err != nil {
		return fmt.Errorf("render %s: %w", HTMLFile, err)
	}
	pictures := filepath.Join(dir, PictureDir)
	if err := os.RemoveAll(pictures); err != nil {
		return fmt.Errorf("remove old pictures: %w", err)
	}
	if err := os.MkdirAll(pictures, 0o755); err != nil {
		return fmt.Errorf("create picture directory: %w", err)
	}
	for _, fig := range doc.figures() {
		if err := os.WriteFile(filepath.Join(pictures, fig.File()), []byte(fig.standalone()), 0o644); err != nil {
			return fmt.Errorf("write picture: %w", err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, MarkdownFile), renderMarkdown(doc), 0o644); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, HTMLFile), page, 0o644); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
