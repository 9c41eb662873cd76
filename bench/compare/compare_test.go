package compare

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/regency-project/regency/bench/archive"
	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/report/reporttest"
	"github.com/regency-project/regency/bench/scenario"
)

// options are the defaults of the tests.
var options = Options{Threshold: 0.1}

// made is a run of one scenario with n trials on etcd and consul, whose outages are scaled and whose throughput is divided by factor.
func made(seed uint64, n int, factor float64) archive.Record {
	rng := rand.New(rand.NewPCG(seed, 1))
	var r archive.Record
	s := scenario.Scenario{Name: "leader-kill", Title: "Leader killed"}
	s.Workload.Rate = 500
	environment := metrics.Environment{Host: "linux/amd64", CPU: "a processor", Cores: 2, MemoryB: 4e9, Filesystem: "ext4", Flush: "sync", Resolution: 10, Kernel: "Linux 6.1"}
	r.Run = metrics.Run{Schema: metrics.Schema, ID: fmt.Sprintf("run-%d", seed), Revision: "abc", Environment: environment,
		Profiles: []metrics.Profile{{Name: "matched", Ranked: true}}, Scenarios: []metrics.Scenario{{Name: s.Name}},
		Backends: []metrics.Backend{{Name: "etcd", Settings: []metrics.KV{{Key: "matched session", Value: "1.6s"}}}, {Name: "consul"}}}
	r.Manifest = metrics.Manifest{Schema: metrics.Schema, Scenarios: []scenario.Scenario{s}, Environment: environment, Trials: n}
	for _, backend := range []string{"etcd", "consul"} {
		c := metrics.Cell{Profile: "matched", Scenario: s.Name, Backend: backend, Status: metrics.StatusOK, Headline: &metrics.Summary{}, Throughput: &metrics.Throughput{}}
		for i := range n {
			outage, detect := factor*(2000+200*rng.NormFloat64()), 1500.0
			id := fmt.Sprintf("%s/matched/leader-kill/%d", backend, i+1)
			end := detect + factor*(100+10*rng.NormFloat64())
			c.Headline.Points = append(c.Headline.Points, metrics.Point{Trial: id, Value: outage})
			c.Trials = append(c.Trials, metrics.Trial{ID: id, Status: metrics.StatusOK, Detect: &detect, Phases: []metrics.Phase{{Name: metrics.PhaseAcknowledge, EndMs: &end}}})
			c.Throughput.Rounds = append(c.Throughput.Rounds, metrics.Round{Trial: id, RecordsPerS: (50000 + 1000*rng.NormFloat64()) / factor})
		}
		r.Run.Cells = append(r.Run.Cells, c)
	}
	return r
}

func runs(t *testing.T, old, now archive.Record, o Options) Comparison {
	t.Helper()
	c, err := Runs(old, now, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// says is the verdict of a figure on etcd.
func says(t *testing.T, c Comparison, name string) *Measure {
	t.Helper()
	for _, f := range c.Each() {
		if f.Cell.Backend == "etcd" && f.Measure.Name == name {
			return f.Measure
		}
	}
	t.Fatalf("no %s in %+v", name, c.Cells)
	return nil
}

func TestVerdictsAndStatus(t *testing.T) {
	for name, c := range map[string]struct {
		factor float64
		n      int
		want   string
		beyond bool
		status int
	}{
		"the same program":        {1, 15, NoDifference, false, StatusFine},
		"half as fast":            {2, 15, Slower, true, StatusWorse},
		"twice as fast":           {0.5, 15, Faster, false, StatusFine},
		"half as fast, 9 trials":  {2, 9, NotComparable, false, StatusIncomparable},
		"a little slower, 200":    {1.05, 200, Slower, false, StatusFine},
		"half as fast, 10 trials": {2, 10, Slower, true, StatusWorse},
	} {
		got := runs(t, made(1, c.n, 1), made(2, c.n, c.factor), options)
		if got.Status != c.status {
			t.Errorf("%s: status %d, want %d: %s", name, got.Status, c.status, got.Headline())
		}
		for _, figure := range []string{Outage, AfterDetection, Throughput} {
			if m := says(t, got, figure); m.Says != c.want || m.Beyond != c.beyond {
				t.Errorf("%s: %s is %q (beyond %t, %s), want %q (beyond %t)", name, figure, m.Says, m.Beyond, m.interval(), c.want, c.beyond)
			}
		}
	}
}

func TestARunAgainstItselfIsTheSame(t *testing.T) {
	c := runs(t, made(1, 15, 1), made(1, 15, 1), Options{})
	if c.Status != StatusFine || len(c.Said(NoDifference)) != 6 {
		t.Errorf("status %d, %d without a difference, want %d and 6", c.Status, len(c.Said(NoDifference)), StatusFine)
	}
	if m := says(t, c, Outage); m.Ratio.Value != 1 || *m.Cliff != 0 || m.Shift.Value != 0 {
		t.Errorf("ratio %v, Cliff %v, shift %v", m.Ratio.Value, *m.Cliff, m.Shift.Value)
	}
}

// TestFalseAlarms: of comparisons of the same program with itself, few may be called slower, and next to none beyond the threshold.
func TestFalseAlarms(t *testing.T) {
	slower, beyond, all := 0, 0, 0
	for seed := range uint64(150) {
		c := runs(t, made(2*seed, 15, 1), made(2*seed+1, 15, 1), options)
		slower += len(c.Said(Slower))
		beyond += len(c.Beyond())
		all += c.Compared()
	}
	if share := float64(slower) / float64(all); share > 0.035 {
		t.Errorf("%.1f %% of %d unchanged figures are called slower, want about 2.5 %%", 100*share, all)
	}
	if beyond > 1 {
		t.Errorf("%d unchanged figures are worse by more than 10 %%", beyond)
	}
}

func TestViolationOutweighsEverything(t *testing.T) {
	old, now := made(1, 15, 1), made(2, 15, 0.5)
	now.Run.Verdict.Violations = []metrics.Violation{{Trial: "etcd/1", Check: "acknowledged-lost", Detail: "3 records"}}
	now.Run.Cells[0].Status = metrics.StatusVoid
	c := runs(t, old, now, options)
	if c.Status != StatusViolation {
		t.Errorf("status %d, want %d", c.Status, StatusViolation)
	}
	if m := says(t, c, Outage); m.Says != NotComparable || !strings.Contains(m.Reason, "void") {
		t.Errorf("a void cell is %q because %q", m.Says, m.Reason)
	}
	now.Run.Verdict.Violations, now.Run.Verdict.Lost = nil, 2
	if c := runs(t, old, now, options); c.Status != StatusViolation {
		t.Errorf("lost records without a violation: status %d, want %d", c.Status, StatusViolation)
	}
}

func TestAFigureThatIsGoneIsNotGreen(t *testing.T) {
	now := made(2, 15, 1)
	now.Run.Cells[1].Status, now.Run.Cells[1].Reason = metrics.StatusInvalid, "the load was not delivered"
	if c := runs(t, made(1, 15, 1), now, options); c.Status != StatusIncomparable || len(c.Lost) != 1 {
		t.Errorf("status %d, lost %q; want %d and consul's cell", c.Status, c.Lost, StatusIncomparable)
	}
	now.Run.Cells = now.Run.Cells[:1] // not planned at all: that is no failure
	if c := runs(t, made(1, 15, 1), now, options); c.Status != StatusFine || len(c.Absent) != 1 {
		t.Errorf("status %d, absent %q; want %d and consul's cell", c.Status, c.Absent, StatusFine)
	}
}

func TestNonsensePairs(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*archive.Record)
		mark   string
	}{
		"processor":   {func(r *archive.Record) { r.Run.Environment.CPU = "another" }, "ANOTHER MACHINE"},
		"cores":       {func(r *archive.Record) { r.Run.Environment.Cores = 8 }, "ANOTHER MACHINE"},
		"memory":      {func(r *archive.Record) { r.Run.Environment.MemoryB = 8e9 }, "ANOTHER MACHINE"},
		"file system": {func(r *archive.Record) { r.Run.Environment.Filesystem = "tmpfs" }, "ANOTHER FILE SYSTEM"},
		"flush":       {func(r *archive.Record) { r.Run.Environment.Flush = "written" }, "ANOTHER FLUSH MODE"},
	} {
		now := made(2, 15, 2)
		c.change(&now)
		got := runs(t, made(1, 15, 1), now, options)
		if got.Status != StatusIncomparable || got.Compared() != 0 || len(got.Marks) != 1 || !strings.Contains(got.Marks[0], c.mark) {
			t.Errorf("%s: status %d, %d compared, marks %q", name, got.Status, got.Compared(), got.Marks)
		}
		across := options
		across.AcrossMachines = true
		if got := runs(t, made(1, 15, 1), now, across); got.Status != StatusWorse || len(got.Marks) != 1 {
			t.Errorf("%s, across machines: status %d, marks %q", name, got.Status, got.Marks)
		}
	}
	for name, change := range map[string]func(*archive.Record){
		"schema": func(r *archive.Record) { r.Run.Schema++ }, "profile": func(r *archive.Record) { r.Run.Profiles[0].Name = "tuned" }, "no cell": func(r *archive.Record) { r.Run.Cells = nil },
	} {
		now := made(2, 15, 1)
		change(&now)
		if _, err := Runs(made(1, 15, 1), now, options); !errors.Is(err, ErrRefused) {
			t.Errorf("another %s: %v, want %v", name, err, ErrRefused)
		}
	}
	now := made(2, 15, 2)
	now.Manifest.Scenarios[0].Workload.Rate = 900
	if m := says(t, runs(t, made(1, 15, 1), now, options), Outage); m.Says != NotComparable || !strings.Contains(m.Reason, "500") || !strings.Contains(m.Reason, "900") {
		t.Errorf("another offered rate: %q because %q", m.Says, m.Reason)
	}
	now = made(2, 15, 2)
	now.Manifest.Scenarios[0].Title = "Renamed"
	now.Run.Backends[0].Settings[0].Value = "1.2s"
	c := runs(t, made(1, 15, 1), now, options)
	if says(t, c, Outage).Says != Slower || len(c.settings()) != 1 || !strings.Contains(c.settings()[0], "1.6s, then 1.2s") {
		t.Errorf("another title and session: %q, settings %q", says(t, c, Outage).Says, c.settings())
	}
	if _, err := Runs(made(1, 15, 1), made(2, 15, 1), Options{Threshold: -1}); err == nil {
		t.Error("a negative threshold was accepted")
	}
}

func TestLowerLimitsNeverLookFaster(t *testing.T) {
	now := made(2, 15, 0.5)
	for i := range 8 { // more than half of the observations were cut
		now.Run.Cells[0].Headline.Points[i].Censored = true
	}
	m := says(t, runs(t, made(1, 15, 1), now, options), Outage)
	if m.Says != NoDifference || m.Ratio.High != nil {
		t.Errorf("a run that was cut is called %q, %s", m.Says, m.interval())
	}
	old := made(1, 15, 1)
	for i := range 8 {
		old.Run.Cells[0].Headline.Points[i].Censored = true
	}
	if m := says(t, runs(t, old, made(2, 15, 2), options), Outage); m.Says != NoDifference || m.Beyond {
		t.Errorf("against a run that was cut: %q, %s", m.Says, m.interval())
	}
}

func TestOutagesOfZeroAreComparedByDifference(t *testing.T) {
	zero := func(seed uint64, rest float64) archive.Record {
		r := made(seed, 15, 1)
		for i := range r.Run.Cells[0].Headline.Points {
			r.Run.Cells[0].Headline.Points[i].Value = rest * float64(i%2+1)
		}
		return r
	}
	for rest, want := range map[float64]bool{4: false, 100: true} { // the probes resolve 10 ms
		m := says(t, runs(t, zero(1, 0), zero(2, rest), options), Outage)
		if m.Ratio != nil || m.Says != Slower || m.Beyond != want {
			t.Errorf("0 to %v ms: %q, beyond %t, ratio %v; want slower, beyond %t, no ratio", rest, m.Says, m.Beyond, m.Ratio, want)
		}
	}
	if m := says(t, runs(t, zero(1, 0), zero(2, 0), options), Outage); m.Says != NoDifference {
		t.Errorf("0 to 0 ms: %q", m.Says)
	}
}

func TestEveryFormTellsTheSame(t *testing.T) {
	now := made(2, 15, 2)
	now.Run.ID = "new <b>|`run`"
	now.Run.Verdict.Violations = []metrics.Violation{{Trial: "etcd/1", Check: "acknowledged-lost", Detail: "3 <script> records"}}
	c := runs(t, made(1, 15, 1), now, options)
	var text bytes.Buffer
	if err := c.Text(&text); err != nil {
		t.Fatal(err)
	}
	if v, table := strings.Index(text.String(), "VIOLATION"), strings.Index(text.String(), "CELL"); v < 0 || v > table {
		t.Errorf("the violation does not stand before the table:\n%s", text.String())
	}
	if !strings.Contains(text.String(), "SLOWER") {
		t.Errorf("no figure is in capitals:\n%s", text.String())
	}
	junit, err := c.JUnit()
	if err != nil {
		t.Fatal(err)
	}
	var s suite
	if err := xml.Unmarshal(junit, &s); err != nil {
		t.Fatalf("%v\n%s", err, junit)
	}
	if s.Failures != 7 || s.Tests != 7 || s.Skipped != 0 {
		t.Errorf("JUnit has %d tests, %d failures, %d skipped; want 7, 7 and 0", s.Tests, s.Failures, s.Skipped)
	}
	page, err := c.HTML()
	if err != nil {
		t.Fatal(err)
	}
	markdown := string(c.Markdown())
	for name, got := range map[string]string{"HTML": string(page), "Markdown": markdown} {
		if strings.Contains(got, "<script> records") || strings.Contains(got, "<b>|") {
			t.Errorf("the %s does not escape its text", name)
		}
		if !strings.Contains(got, "2.0") || !strings.Contains(got, "after detection") {
			t.Errorf("the %s lacks figures", name)
		}
	}
	for line := range strings.Lines(markdown) {
		if strings.HasPrefix(line, "|") && strings.Count(strings.ReplaceAll(line, `\|`, ""), "|") != 9 {
			t.Errorf("a row of the Markdown has not 8 cells: %s", line)
		}
	}
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var back Comparison
	if err := json.Unmarshal(data, &back); err != nil || back.Status != c.Status || len(back.Cells) != len(c.Cells) {
		t.Errorf("JSON comes back as status %d with %d cells: %v", back.Status, len(back.Cells), err)
	}
}

func TestJSONHoldsNoInfinity(t *testing.T) {
	now := made(2, 15, 1)
	for i := range now.Run.Cells[0].Headline.Points {
		now.Run.Cells[0].Headline.Points[i].Censored = true
	}
	c := runs(t, made(1, 15, 1), now, options)
	if _, err := json.Marshal(c); err != nil {
		t.Error(err)
	}
	if m := says(t, c, Outage); !math.IsInf(m.Ratio.HighEnd(), 1) || !strings.Contains(m.interval(), "open") {
		t.Errorf("interval %s", m.interval())
	}
	if _, err := c.HTML(); err != nil {
		t.Error(err)
	}
}

func TestChromiumShowsTheComparison(t *testing.T) {
	now := made(2, 15, 2)
	now.Run.Environment.Cores = 8
	c := runs(t, made(1, 15, 1), now, Options{Threshold: 0.1, AcrossMachines: true})
	page, err := c.HTML()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "comparison.html")
	if err := os.WriteFile(path, page, 0o644); err != nil {
		t.Fatal(err)
	}
	dom := reporttest.Browse(t, path)
	for _, want := range []string{"<svg", "ANOTHER MACHINE, cores: 2, then 8", "SLOWER", "<caption>"} {
		if !strings.Contains(dom, want) {
			t.Errorf("the browser's document does not contain %q", want)
		}
	}
}
