package report

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/regency-project/regency/bench/metrics"
)

// hostile is the example with text in every place that would be code if it were not escaped. Names by which things find each other stay.
func hostile(t *testing.T) metrics.Run {
	run := example(t)
	keep := map[string]bool{"ok": true, "not-run": true, "invalid": true, "void": true, "failover": true, "throughput": true, "matched": true, "embedded": true, "etcd": true, "zookeeper": true,
		"consul": true, "coordination-leader": true, "tuned": true, "default": true, "led": true, "followed": true, "untouched": true, "control": true, "": true}
	for _, s := range run.Scenarios {
		keep[s.Name] = true
	}
	for _, name := range metrics.PhaseNames {
		keep[name] = true
	}
	leaves(reflect.ValueOf(&run).Elem(), reflect.String, func(v reflect.Value) {
		if !keep[v.String()] {
			v.SetString(v.String() + "\"><script>alert('1')</script> | `x` *b* [l](http://example.org/) <img src=\"http://example.org/\" onerror=alert(1)> \x00\n# h &amp; \\")
		}
	})
	return run
}

// twoProfiles has the example's cells under a second profile that must not be ranked.
func twoProfiles(t *testing.T) metrics.Run {
	run := example(t)
	run.Profiles = append(run.Profiles, metrics.Profile{Name: "default", Title: "As shipped."})
	for _, c := range slices.Clone(run.Cells) {
		c.Profile = "default"
		run.Cells = append(run.Cells, c)
	}
	for _, c := range slices.Clone(run.Comparisons) {
		c.Profile = "default"
		run.Comparisons = append(run.Comparisons, c)
	}
	return run
}

func TestHostileTextIsEscaped(t *testing.T) {
	got := write(t, hostile(t))
	if n := strings.Count(got.html, "<script"); n != 1 {
		t.Errorf("%d scripts in the HTML, want the report's own", n)
	}
	text := regexp.MustCompile("(?s)\n```+\n.*?\n```+\n").ReplaceAllString(got.markdown, "")
	for _, bad := range []string{"<img", "alert('1')</script>", "<script>alert"} {
		if strings.Contains(got.html, bad) || strings.Contains(text, bad) {
			t.Errorf("the report contains %q", bad)
		}
	}
	columns := 0
	pipes := regexp.MustCompile(`(^|[^\\])\|`)
	for i, l := range strings.Split(got.markdown, "\n") {
		if !strings.HasPrefix(l, "|") {
			columns = 0
			continue
		}
		n := len(pipes.FindAllString(strings.ReplaceAll(l, `\\`, ""), -1))
		if columns == 0 {
			columns = n
		}
		if n != columns {
			t.Fatalf("line %d of the Markdown has %d columns, want %d: %s", i+1, n, columns, l)
		}
	}
	checkPictures(t, "hostile", got.dir)
}

func TestPicturesAreWellFormed(t *testing.T) {
	for name, run := range map[string]metrics.Run{"example": example(t), "two profiles": twoProfiles(t)} {
		if n := checkPictures(t, name, write(t, run).dir); n < 14 {
			t.Errorf("%s: %d pictures, want at least 14", name, n)
		}
	}
}

var numberPattern = regexp.MustCompile(`-?\d+(\.\d+)?`)

// checkPictures parses every picture and requires every coordinate to be a number inside the picture.
func checkPictures(t *testing.T, name, dir string) int {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, PictureDir, "*.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		var width, height float64
		dec := xml.NewDecoder(strings.NewReader(read(t, path)))
		for {
			tok, err := dec.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: parse %s: %v", name, filepath.Base(path), err)
			}
			el, ok := tok.(xml.StartElement)
			if !ok || slices.Contains(el.Attr, xml.Attr{Name: xml.Name{Local: "class"}, Value: "paper"}) {
				continue
			}
			for _, a := range el.Attr {
				inside := func(limit float64, text string) {
					v, err := strconv.ParseFloat(text, 64)
					if err != nil || !finite(v) || v < -1 || v > limit-2*margin+1 {
						t.Errorf("%s: %s: <%s %s=%q>, want a number from 0 to %v", name, filepath.Base(path), el.Name.Local, a.Name.Local, a.Value, limit)
					}
				}
				switch a.Name.Local {
				case "viewBox":
					if _, err := fmt.Sscanf(a.Value, "-14 -14 %f %f", &width, &height); err != nil {
						t.Fatalf("%s: viewBox %q: %v", name, a.Value, err)
					}
				case "width":
					if el.Name.Local == "rect" {
						inside(width, a.Value)
					}
				case "x", "x1", "x2", "cx":
					inside(width, a.Value)
				case "y", "y1", "y2", "cy":
					inside(height, a.Value)
				case "height":
					if el.Name.Local == "rect" {
						inside(height, a.Value)
					}
				case "d":
					for _, n := range numberPattern.FindAllString(a.Value, -1) {
						inside(max(width, height), strings.TrimPrefix(n, "-"))
					}
				}
			}
		}
	}
	return len(paths)
}

// TestOutliersAreNotClipped makes one point and one latency thousands of times larger than the others.
func TestOutliersAreNotClipped(t *testing.T) {
	for _, huge := range []float64{2.5e4, 1e6, 3e8} {
		run := example(t)
		for i := range run.Cells {
			c := &run.Cells[i]
			if c.Headline == nil || c.Backend != "etcd" || c.Scenario != "leader-kill" {
				continue
			}
			c.Headline.Points[0] = metrics.Point{Trial: "the-outlier", Value: huge}
			c.Headline.Max = huge
			c.Headline.Points[1] = metrics.Point{Trial: "a-zero"}
			c.Typical.Configs[0].MaxMs[20] = &huge
			c.Typical.Configs[1].Acked[20] = huge
		}
		got := write(t, run)
		picture := read(t, got.dir, PictureDir, "outages-matched.svg")
		for _, tip := range []string{"the-outlier: " + ms(huge), "a-zero: " + ms(0)} {
			if !strings.Contains(picture, tip) {
				t.Errorf("the point %q is not drawn", tip)
			}
		}
		checkPictures(t, "outlier", got.dir)
		if !strings.Contains(picture, "logarithmic") {
			t.Errorf("outlier of %v: the axis is linear and hides the other points", huge)
		}
		if !strings.Contains(got.markdown, "max "+ms(huge)) {
			t.Errorf("the maximum %s is not in the matrix", ms(huge))
		}
	}
}

func TestNumbersThatAreNone(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		run := example(t)
		leaves(reflect.ValueOf(&run).Elem(), reflect.Float64, func(x reflect.Value) { x.SetFloat(v) })
		got := write(t, run)
		noPlaceholders(t, fmt.Sprint(v), got)
		checkPictures(t, fmt.Sprint(v), got.dir)
	}
}

func TestCensoredPointsAreLowerLimits(t *testing.T) {
	run := example(t)
	for i := range run.Cells {
		if c := &run.Cells[i]; c.Headline != nil && c.Backend == "etcd" && c.Scenario == "leader-kill" {
			c.Headline.Points[2] = metrics.Point{Trial: "not-back", Value: 30000, Censored: true}
			c.Headline.Max, c.Headline.Censored = 30000, 1
		}
	}
	got := write(t, run)
	for _, want := range []string{"max ≥\u00a030,000\u00a0ms", "1 did not recover"} {
		if !strings.Contains(got.markdown, want) {
			t.Errorf("the matrix lacks %q", want)
		}
	}
	if picture := read(t, got.dir, PictureDir, "outages-matched.svg"); !strings.Contains(picture, `class="open s-c1"`) {
		t.Error("the censored point is not an open arrow")
	}
}

func TestJudgeNeedsAnIntervalThatExcludesOne(t *testing.T) {
	for _, c := range []struct {
		ratio metrics.Ratio
		want  string
	}{
		{metrics.Ratio{Value: 0.5, Low: 0.4, High: 0.6}, "too few trials"},
		{metrics.Ratio{Value: 0.5, Low: 0.4, High: 0.6, CI: true}, "faster"},
		{metrics.Ratio{Value: 0.9, Low: 0.7, High: 1, CI: true}, "no difference shown"},
		{metrics.Ratio{Value: 2, Low: 1.1, High: 3, CI: true}, "slower"},
	} {
		if got := judge(c.ratio); got != c.want {
			t.Errorf("judge(%+v) = %q, want %q", c.ratio, got, c.want)
		}
	}
}

func TestUnrankedProfilesHaveNoRatios(t *testing.T) {
	run := twoProfiles(t)
	run.Profiles = run.Profiles[1:]
	for i := range run.Comparisons {
		run.Comparisons[i].Ratio.CI = true
		run.Comparisons[i].Ratio.High = 0.9
	}
	got := write(t, run)
	if strings.Contains(got.markdown, "× · ") || regexp.MustCompile(`\| (faster|slower) \|`).MatchString(got.markdown) {
		t.Error("a profile that is not ranked has a comparison")
	}
	if !strings.Contains(got.markdown, "not ranked") {
		t.Error("the report does not say that the profile is not ranked")
	}
}

func TestBannerTellsLossFirst(t *testing.T) {
	run := example(t)
	run.Verdict.Lost = 3
	run.Verdict.Violations = []metrics.Violation{{Trial: "etcd/1", Check: "acknowledged-lost", Detail: "3 records of bench-0"}}
	run.Cells[2].Status, run.Cells[2].Reason = metrics.StatusVoid, "3 acknowledged records lost"
	got := write(t, run)
	if !strings.Contains(got.html, `class="banner bad"`) || !strings.Contains(got.html, "3 acknowledged records were lost") {
		t.Error("the banner does not tell the loss")
	}
	if !strings.Contains(got.markdown, "void: 3 acknowledged records lost") {
		t.Error("the void cell shows figures, want the reason")
	}
}

func TestOnlyOneBackendAndAllInvalid(t *testing.T) {
	run := example(t)
	run.Backends = run.Backends[:1]
	run.Cells = slices.DeleteFunc(run.Cells, func(c metrics.Cell) bool { return c.Backend != "embedded" })
	run.Comparisons = nil
	noPlaceholders(t, "one backend", write(t, run))
	for i := range run.Cells {
		c := &run.Cells[i]
		c.Status, c.Reason = metrics.StatusInvalid, "the host was busy"
		c.Headline, c.Detection, c.Remainder, c.Throughput, c.Typical, c.Worst = nil, nil, nil, nil, nil, nil
	}
	got := write(t, run)
	noPlaceholders(t, "all invalid", got)
	if !strings.Contains(got.markdown, "no valid trial: the host was busy") {
		t.Error("the matrix does not say that no trial is valid")
	}
}

func TestFindingsNamePhaseThatTakesTheTime(t *testing.T) {
	run := example(t)
	for i := range run.Cells {
		if c := &run.Cells[i]; c.Backend == "zookeeper" && c.Scenario == "leader-kill" {
			c.Remainder.Median = 420
			for j := range c.Phases {
				if c.Phases[j].Name == metrics.PhaseServe {
					c.Phases[j].Summary.Median = 390
				}
			}
		}
	}
	if got := write(t, run); !strings.Contains(got.markdown, "ZooKeeper, A partition leader is killed: 420\u00a0ms, most of it in serve (390\u00a0ms)") {
		t.Error("the findings do not name the phase that takes the time")
	}
}

func TestAxesHoldTheirValues(t *testing.T) {
	for _, high := range []float64{0, 1e-3, 0.9, 1, 7, 99, 100, 12345, 2e9} {
		for _, low := range []float64{0, 0.01, 1, 50} {
			for name, a := range map[string]axis{"linear": linearAxis(low, high, 10, 500, 6), "log": logAxis(low, high, 10, 500), "range": rangeAxis(-low, high, 10, 500, 6)} {
				if high > low && (a.low > low && name != "log" || a.high < high) {
					t.Errorf("%s axis of %v–%v spans %v–%v", name, low, high, a.low, a.high)
				}
				if len(a.ticks) == 0 || len(a.ticks) > 14 {
					t.Errorf("%s axis of %v–%v has %d ticks", name, low, high, len(a.ticks))
				}
				for _, v := range a.ticks {
					if p := a.pos(v); !(p >= 9.99 && p <= 500.01) {
						t.Errorf("%s axis of %v–%v: tick %v at %v", name, low, high, v, p)
					}
				}
			}
		}
	}
}

func TestCoarsenKeepsMaxima(t *testing.T) {
	s := &metrics.Series{BinMs: 10, StartMs: -1000, Configs: []metrics.Traffic{{Config: "tuned"}}}
	for i := range 1000 {
		v := float64(i % 7)
		if i == 501 {
			v = 9999
		}
		s.Configs[0].Offered = append(s.Configs[0].Offered, 100)
		s.Configs[0].Acked = append(s.Configs[0].Acked, 100)
		s.Configs[0].MaxMs = append(s.Configs[0].MaxMs, &v)
	}
	got := coarsen(s)
	if n := binsOf(got); n > timeBins || n < timeBins/3 {
		t.Errorf("coarsen made %d bins, want at most %d", n, timeBins)
	}
	if p := peakOf(got.Configs[0].MaxMs); p != 9999 {
		t.Errorf("longest latency after coarsen = %v, want 9999", p)
	}
	if end, want := got.StartMs+got.BinMs*float64(binsOf(got)), 9000.0; end < want {
		t.Errorf("the coarsened series ends at %v, want at least %v", end, want)
	}
}
