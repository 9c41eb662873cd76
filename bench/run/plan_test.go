package run

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/plan"
	"github.com/regency-project/regency/bench/suite"
)

var rewrite = flag.Bool("rewrite", false, "write the golden plans anew")

// optionsOf takes a suite's options as the command does.
func optionsOf(t *testing.T, name string) Options {
	t.Helper()
	s, err := suite.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Suite: s.Name, Backends: s.Backends, Profiles: s.Profiles, Scenarios: s.Scenarios, Trials: s.Trials, ScenarioTrials: s.ScenarioTrials,
		ProfileTrials: s.ProfileTrials, Flush: s.Flush, Seed: 4711,
	}
}

// preview is what Plan gives on a machine with every server, without what differs between machines.
func preview(t *testing.T, o Options) Preview {
	t.Helper()
	if err := o.choose(); err != nil {
		t.Fatal(err)
	}
	p, err := o.makePlan()
	if err != nil {
		t.Fatal(err)
	}
	e := newEstimator(o.Scenarios)
	m := metrics.Manifest{
		Suite: o.Suite, Seed: o.Seed, Trials: o.Trials, Flush: o.Flush, Scenarios: o.Scenarios, Plan: p, ProfileTrials: o.ProfileTrials, Until: o.Until, Shard: o.Shard,
	}
	for _, name := range o.Profiles {
		m.Profiles = append(m.Profiles, metrics.Profile{Name: name})
	}
	for _, name := range o.Backends {
		m.Backends = append(m.Backends, metrics.BackendInfo{Name: name, Status: metrics.StatusOK})
	}
	v := Preview{Manifest: m, Duration: e.plan(p), Disk: e.disk(p), Files: e.files(p)}
	for _, b := range p.Blocks {
		v.Blocks = append(v.Blocks, e.block(b))
	}
	return v
}

// The plans of a seed never change unnoticed: a published run can be repeated by its command. (go test -rewrite writes them anew.)
func TestGoldenPlans(t *testing.T) {
	small := Options{Backends: []string{"embedded", "etcd"}, Profiles: []string{"tuned"}, Scenarios: scenarios(t, "leader-kill", "steady-throughput"), Seed: 7}
	small.Trials = 6
	until, shard := small, small
	until.Until = &metrics.Until{Width: 0.1, Trials: 60}
	shard.Trials, shard.Shard = 9, "2/2"
	for name, o := range map[string]Options{"quick": optionsOf(t, "quick"), "until": until, "shard": shard} {
		var text strings.Builder
		if err := preview(t, o).Write(&text, 100); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", "plan-"+name+".txt")
		if *rewrite {
			if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if text.String() != string(want) {
			t.Errorf("the plan of %s is not that of %s; it is\n%s", name, path, text.String())
		}
	}
}

func TestPlansFitTheTerminal(t *testing.T) {
	for _, columns := range []int{80, 120} {
		var text strings.Builder
		if err := preview(t, optionsOf(t, "failover")).Write(&text, columns); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text.String()) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > columns {
				t.Errorf("%d columns: a line has %d: %s", columns, n, line)
			}
		}
	}
}

// What a suite announces is what the harness expects, and not much more.
func TestSuitesEndWithinTheirAnnouncedTime(t *testing.T) {
	for _, name := range suite.Names() {
		s, err := suite.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Expected(optionsOf(t, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: estimated %v, announced %v", name, d.Round(time.Second), s.Expected)
		if d > s.Expected || d < s.Expected/2 {
			t.Errorf("%s: the estimate is %v, the suite announces %v", name, d.Round(time.Second), s.Expected)
		}
	}
}

// The published run of 2026-11-22 (3 080 s: 15 trials of three faults and 5 rounds, matched and tuned) is what the estimate was made from.
func TestEstimateOfAPublishedRun(t *testing.T) {
	d, err := Expected(Options{Profiles: []string{"matched", "tuned"}, Trials: 15, Seed: 1, Scenarios: scenarios(t, "controller-kill", "leader-kill", "leader-unresponsive", "steady-throughput")})
	if err != nil {
		t.Fatal(err)
	}
	if real := 3080 * time.Second; d < real*9/10 || d > real*11/10 {
		t.Errorf("estimate %v, the run took %v", d.Round(time.Second), real)
	}
}

func TestMachineThatCannotHoldTheRun(t *testing.T) {
	o := optionsOf(t, "quick")
	if err := o.choose(); err != nil {
		t.Fatal(err)
	}
	p, err := o.makePlan()
	if err != nil {
		t.Fatal(err)
	}
	e := newEstimator(o.Scenarios)
	fine := machine{cores: 4, load: 0.5, free: 1 << 40, files: 1 << 20, memory: 16 << 30}
	if warnings, err := fine.check(e, p); err != nil || len(warnings) != 0 {
		t.Errorf("a fine machine: %v, %v", warnings, err)
	}
	for want, change := range map[string]func(*machine){
		"of disk are free": func(m *machine) { m.free = 1 << 20 },
		"ulimit -Hn":       func(m *machine) { m.files = 64 },
	} {
		m := fine
		change(&m)
		if _, err := m.check(e, p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want %q", err, want)
		}
	}
	for want, change := range map[string]func(*machine){
		"1 core": func(m *machine) { m.cores = 1 }, "is busy: load 9.0 on 4": func(m *machine) { m.load = 9 }, "of memory": func(m *machine) { m.memory = 1 << 30 },
	} {
		m := fine
		change(&m)
		warnings, err := m.check(e, p)
		if err != nil || !slices.ContainsFunc(warnings, func(w string) bool { return strings.Contains(w, want) }) {
			t.Errorf("warnings = %v, %v, want %q", warnings, err, want)
		}
	}
}

// interval makes a summary with an interval.
func interval(n int, median, low, high float64) *metrics.Summary {
	return &metrics.Summary{N: n, Median: median, CI: &metrics.Interval{Low: low, High: high}}
}

func TestWideCellsAndAdvice(t *testing.T) {
	m := metrics.Manifest{ProfileTrials: map[string]int{"default": 3}}
	cell := func(profile, name string, h *metrics.Summary) metrics.Cell {
		return metrics.Cell{Profile: profile, Scenario: name, Backend: "etcd", Headline: h}
	}
	variant := cell("matched", "split", interval(15, 100, 50, 200))
	variant.Variant = "coordination-leader"
	r := metrics.Run{Cells: []metrics.Cell{
		cell("matched", "narrow", interval(15, 1000, 950, 1080)),
		cell("matched", "wide", interval(15, 1000, 800, 1200)),
		cell("matched", "few", &metrics.Summary{N: 5, Median: 1000}),
		cell("default", "limited", &metrics.Summary{N: 3, Median: 1000}),
		cell("matched", "none", nil), // not run
		cell("matched", "zero", interval(15, 0, 0, 0)),
		variant,
	}}
	want := []plan.Need{{Profile: "matched", Scenario: "wide"}, {Profile: "matched", Scenario: "few"}}
	if got := rows(wideCells(m, r, 0.1)); !slices.Equal(got, want) {
		t.Errorf("wide cells %v, want %v", got, want)
	}
	if got := rows(wideCells(m, r, 0.25)); !slices.Equal(got, want[1:]) {
		t.Errorf("cells wider than 25 %% %v, want %v", got, want[1:])
	}
	text := strings.Join(advice(m, r), "\n")
	for _, want := range []string{"etcd/matched/wide: ±20 % with 15 trials; about 60 trials", "an interval, which takes 10: 1"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, bad := range []metrics.Until{{Width: 0, Trials: 60}, {Width: 10, Trials: 60}, {Width: 0.1, Trials: 5}} {
		if err := checkUntil(&bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

// What is left is estimated by what was measured as soon as there is something.
func TestTimeLeftFollowsWhatWasMeasured(t *testing.T) {
	list := scenarios(t, "leader-kill")
	p, err := plan.Make(plan.Options{Backends: []string{"embedded"}, Profiles: []string{"matched"}, Scenarios: list, Trials: 4, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	g := newProgress(&out, newEstimator(list))
	now := time.Unix(0, 0)
	g.now, g.last = func() time.Time { return now }, now
	g.expect(p.Blocks)
	whole := g.left()
	b := p.Blocks[0]
	g.cluster(b)
	now = now.Add(20 * time.Second)
	g.done(b, b.Items[0], metrics.Trial{})
	for i, item := range b.Items[1:] {
		now = now.Add(30 * time.Second)
		g.done(b, item, metrics.Trial{})
		if left, want := g.left(), time.Duration(3-i)*30*time.Second; left != want {
			t.Errorf("after %d trials of 30 s: %v left, want %v", i+1, left, want)
		}
	}
	if whole > time.Minute {
		t.Errorf("before the first: %v", whole)
	}
	if g.close(b); g.left() != 0 || g.finished != g.total {
		t.Errorf("at the end: %v left, %d of %d", g.left(), g.finished, g.total)
	}
}

func TestStatusNeverWraps(t *testing.T) {
	for _, n := range []int{5, 40, 80} {
		if got := []rune(Cut(strings.Repeat("ä", 60), n)); len(got) > max(n, 1) && n < 60 {
			t.Errorf("cut to %d gave %d characters", n, len(got))
		}
	}
	if got := Cut("short", 80); got != "short" {
		t.Errorf("Cut(short) = %q", got)
	}
}
