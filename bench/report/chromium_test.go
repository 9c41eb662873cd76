package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/regency-project/regency/bench/report/reporttest"
)

// TestChromiumShowsEveryPage opens the pages as a reader would, without a network: the browser's own document must hold the figures, and no error.
func TestChromiumShowsEveryPage(t *testing.T) {
	published := publishedDir(t)
	if err := Index(published); err != nil {
		t.Fatal(err)
	}
	for path, wants := range map[string][]string{
		filepath.Join(write(t, example(t)).dir, HTMLFile): {"<svg", "Backend × scenario", "ZooKeeper"},
		filepath.Join(published, IndexName+".html"):       {"<svg", "History", `scope="row"><a href="20261125-c/report.html">`},
	} {
		dom := reporttest.Browse(t, path)
		for _, want := range wants {
			if !strings.Contains(dom, want) {
				t.Errorf("the browser's document of %s does not contain %q", filepath.Base(path), want)
			}
		}
	}
}

// TestPagesCanBeHeardAndUsedByKeyboard: every table has a caption and scopes, every picture a title, and whatever scrolls can have the focus.
func TestPagesCanBeHeardAndUsedByKeyboard(t *testing.T) {
	published := publishedDir(t)
	if err := Index(published); err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile(filepath.Join(published, IndexName+".html"))
	if err != nil {
		t.Fatal(err)
	}
	for name, page := range map[string]string{"report": write(t, example(t)).html, "index": string(index)} {
		tables := strings.Count(page, "<table")
		if tables == 0 || strings.Count(page, "<caption>") != tables {
			t.Errorf("%s: %d tables, %d captions", name, tables, strings.Count(page, "<caption>"))
		}
		for _, tag := range strings.SplitAfter(page, "<th")[1:] {
			if rest, _, _ := strings.Cut(tag, ">"); !strings.HasPrefix(rest, "ead") && !strings.Contains(rest, "scope=") {
				t.Errorf("%s: a heading without scope: <th%s>", name, rest)
			}
		}
		if scrolls, focus := strings.Count(page, `class="scroll"`), strings.Count(page, `class="scroll" tabindex="0" role="group" aria-label=`); scrolls != focus {
			t.Errorf("%s: %d parts scroll, %d of them by keyboard", name, scrolls, focus)
		}
		if pictures, titled := strings.Count(page, `<svg class="fig"`), strings.Count(page, `role="img" aria-labelledby=`); pictures == 0 || pictures != titled {
			t.Errorf("%s: %d pictures, %d with a title", name, pictures, titled)
		}
	}
}
