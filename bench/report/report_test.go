package report

import (
	"encoding/json"
	"html"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/regency-project/regency/bench/metrics"
)

// example is the run that the metrics package publishes as what a run looks like.
func example(t *testing.T) metrics.Run {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "metrics", "testdata", "example.json"))
	if err != nil {
		t.Fatal(err)
	}
	var run metrics.Run
	if err := json.Unmarshal(data, &run); err != nil {
		t.Fatal(err)
	}
	return run
}

// small is the example with one scenario of each kind.
func small(t *testing.T) metrics.Run {
	run := example(t)
	keep := func(name string) bool { return name == "controller-kill" || name == "steady-throughput" }
	run.Scenarios = slices.DeleteFunc(run.Scenarios, func(s metrics.Scenario) bool { return !keep(s.Name) })
	run.Cells = slices.DeleteFunc(run.Cells, func(c metrics.Cell) bool { return !keep(c.Scenario) })
	return run
}

// written is what Write left in a directory.
type written struct{ dir, html, markdown string }

func write(t *testing.T, run metrics.Run) written {
	t.Helper()
	dir := t.TempDir()
	if err := Write(dir, run); err != nil {
		t.Fatal(err)
	}
	return written{dir, read(t, dir, HTMLFile), read(t, dir, MarkdownFile)}
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestRenderExample leaves the example's report where REGENCY_REPORT_DIR says, to be looked at.
func TestRenderExample(t *testing.T) {
	dir := os.Getenv("REGENCY_REPORT_DIR")
	if dir == "" {
		dir = t.TempDir()
	}
	if err := Write(dir, example(t)); err != nil {
		t.Fatal(err)
	}
	t.Log("report in", filepath.Join(dir, HTMLFile))
}

func TestSectionsArePresent(t *testing.T) {
	got := write(t, example(t))
	for _, title := range []string{"In short", "Profile matched", "Backend × scenario", "Every outage", "Where the time goes", "Outage minus detection", "Comparisons",
		"Embedded: who led the coordination service", "Other partitions and the control plane", "What real clients saw", "Timelines", "Steady throughput", "Cost", "Correctness",
		"Trials that do not count", "Settings", "Environment", "What these figures do not show", "How to read this", "Repeat this run", "Every trial"} {
		if !strings.Contains(got.html, ">"+title+"</h") {
			t.Errorf("the HTML lacks the section %q", title)
		}
		if !strings.Contains(got.markdown, "# "+title+"\n") {
			t.Errorf("the Markdown lacks the section %q", title)
		}
	}
	for _, text := range []string{"684,348", "Nothing acknowledged was lost", "not run: consul 1.22.3 is not installed", "too few trials", "make bench SEED=4711 TRIALS=5", "1,350\u00a0ms",
		"delivered 91.3 % of the offered load in the steady phase, the limit is 95 %"} {
		if !strings.Contains(html.UnescapeString(got.html), text) {
			t.Errorf("the HTML lacks %q", text)
		}
		if !strings.Contains(unescape(got.markdown), text) {
			t.Errorf("the Markdown lacks %q", text)
		}
	}
}

var (
	cellPattern = regexp.MustCompile(`(?s)<td[^>]*>(.*?)</td>`)
	svgPattern  = regexp.MustCompile(`(?s)<svg.*?</svg>`)
	tagPattern  = regexp.MustCompile(`<[^>]*>`)
)

// unescape undoes what plain did.
func unescape(markdown string) string {
	return html.UnescapeString(regexp.MustCompile("\\\\([\\\\|`*_\\[\\]#~!])").ReplaceAllString(markdown, "$1"))
}

func TestEveryCellOfTheHTMLStandsInTheMarkdown(t *testing.T) {
	for name, run := range map[string]metrics.Run{"example": example(t), "two profiles": twoProfiles(t), "hostile": hostile(t)} {
		got := write(t, run)
		markdown := unescape(got.markdown)
		cells := cellPattern.FindAllStringSubmatch(got.html, -1)
		if len(cells) < 300 {
			t.Fatalf("%s: %d cells in the HTML, want hundreds", name, len(cells))
		}
		for _, c := range cells {
			for _, part := range regexp.MustCompile(`</span>`).Split(svgPattern.ReplaceAllString(c[1], ""), -1) {
				text := strings.NewReplacer("\n", " ", "\r", " ").Replace(html.UnescapeString(tagPattern.ReplaceAllString(part, "")))
				if !strings.Contains(markdown, text) {
					t.Errorf("%s: the Markdown lacks the cell %q", name, text)
				}
			}
		}
	}
}

func TestNothingIsLoadedFromElsewhere(t *testing.T) {
	for _, run := range []metrics.Run{example(t), hostile(t)} {
		got := write(t, run)
		for _, m := range regexp.MustCompile(`(?i)\b(?:src|href|action|data|poster)\s*=\s*"([^"]*)"`).FindAllStringSubmatch(got.html, -1) {
			if !strings.HasPrefix(m[1], "#") {
				t.Errorf("the HTML refers to %q", m[1])
			}
		}
		if regexp.MustCompile(`(?i)url\(|@import|<link|<iframe|<img`).MatchString(got.html) {
			t.Error("the HTML loads something")
		}
		for _, m := range regexp.MustCompile(`(?m)^!\[[^\n]*\]\(([^)\n]*)\)$`).FindAllStringSubmatch(got.markdown, -1) {
			if _, err := os.Stat(filepath.Join(got.dir, filepath.FromSlash(m[1]))); err != nil {
				t.Errorf("the Markdown shows a picture that does not exist: %v", err)
			}
		}
	}
}

func TestAnchorsOfTheContentsExist(t *testing.T) {
	got := write(t, twoProfiles(t))
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(` id="([^"]*)"`).FindAllStringSubmatch(got.html, -1) {
		if ids[m[1]] {
			t.Errorf("id %q occurs twice", m[1])
		}
		ids[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`href="#([^"]*)"`).FindAllStringSubmatch(got.html, -1) {
		if !ids[m[1]] {
			t.Errorf("no element has the id %q", m[1])
		}
		if !strings.Contains(got.markdown, `<a id="`+m[1]+`"></a>`) {
			t.Errorf("the Markdown has no anchor %q", m[1])
		}
	}
}

// noPlaceholders fails when a text shows how a program writes a missing value.
func noPlaceholders(t *testing.T, name string, got written) {
	t.Helper()
	for file, text := range map[string]string{HTMLFile: got.html, MarkdownFile: got.markdown} {
		for _, bad := range []string{"NaN", "Inf", "<nil>", "&lt;nil&gt;", "null", "%!", "0xc0"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s: %s contains %q", name, file, bad)
			}
		}
	}
}

func TestEmptyRun(t *testing.T) {
	got := write(t, metrics.Run{})
	noPlaceholders(t, "empty", got)
	if !strings.Contains(got.html, "Nothing was measured") {
		t.Error("the report of an empty run does not say that nothing was measured")
	}
}

// TestAnyPartMayBeMissing takes each nullable field out of the whole run, one at a time.
func TestAnyPartMayBeMissing(t *testing.T) {
	for _, field := range nullable(reflect.TypeFor[metrics.Run](), map[reflect.Type]bool{}) {
		run := small(t)
		removed := 0
		visit(reflect.ValueOf(&run).Elem(), func(owner reflect.Type, f reflect.StructField, v reflect.Value) {
			if owner.String()+"."+f.Name == field && !v.IsNil() {
				v.SetZero()
				removed++
			}
		})
		t.Logf("without %s (%d places)", field, removed)
		noPlaceholders(t, "without "+field, write(t, run))
	}
}

func nullable(of reflect.Type, seen map[reflect.Type]bool) []string {
	switch of.Kind() {
	case reflect.Pointer, reflect.Slice:
		return nullable(of.Elem(), seen)
	case reflect.Struct:
	default:
		return nil
	}
	if seen[of] || of.PkgPath() == "time" {
		return nil
	}
	seen[of] = true
	var out []string
	for i := range of.NumField() {
		f := of.Field(i)
		if f.Type.Kind() == reflect.Pointer || f.Type.Kind() == reflect.Slice {
			out = append(out, of.String()+"."+f.Name)
		}
		out = append(out, nullable(f.Type, seen)...)
	}
	return out
}

// visit calls do for every pointer and slice field below v.
func visit(v reflect.Value, do func(reflect.Type, reflect.StructField, reflect.Value)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			visit(v.Elem(), do)
		}
	case reflect.Slice:
		for i := range v.Len() {
			visit(v.Index(i), do)
		}
	case reflect.Struct:
		if v.Type().PkgPath() == "time" {
			return
		}
		for i := range v.NumField() {
			f := v.Type().Field(i)
			visit(v.Field(i), do)
			if f.Type.Kind() == reflect.Pointer || f.Type.Kind() == reflect.Slice {
				do(v.Type(), f, v.Field(i))
			}
		}
	}
}

// leaves calls do for every value of one kind below v.
func leaves(v reflect.Value, kind reflect.Kind, do func(reflect.Value)) {
	switch v.Kind() {
	case kind:
		do(v)
	case reflect.Pointer:
		if !v.IsNil() {
			leaves(v.Elem(), kind, do)
		}
	case reflect.Slice:
		for i := range v.Len() {
			leaves(v.Index(i), kind, do)
		}
	case reflect.Struct:
		if v.Type().PkgPath() == "time" {
			return
		}
		for i := range v.NumField() {
			leaves(v.Field(i), kind, do)
		}
	}
}
