package metrics

import (
	"slices"
	"strings"
	"testing"

	"github.com/regency-project/regency/bench/plan"
	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/bench/timeline"
)

// without drops the events that the test says.
func without(events []timeline.Event, drop func(timeline.Event) bool) []timeline.Event {
	return slices.DeleteFunc(slices.Clone(events), drop)
}

func leaderKills(t *testing.T, r Run) *Cell {
	t.Helper()
	c := r.Find("matched", "leader-kill", "etcd", "")
	if c == nil {
		t.Fatal("no cell")
	}
	return c
}

func TestFailoverThatNeverHappenedCounts(t *testing.T) {
	s := newStory(t)
	id := s.leaderKill(1, 10000)
	s.at(11650, roles(id, "after", 2, -1, 3)) // nobody took over
	events := without(s.end(30000), func(e timeline.Event) bool {
		var r timeline.ProbeRun
		return e.Name == timeline.NameProbeRun && e.Decode(&r) == nil && r.Class == ClassLed && r.OK && r.From >= 10000*ms
	})
	c := leaderKills(t, compute(t, manifest(t, 1), events))
	if c.Valid != 1 || c.Headline == nil || c.Headline.Censored != 1 {
		t.Errorf("cell is %s (%s), headline %+v; want one valid, censored trial", c.Status, c.Reason, c.Headline)
	}
}

func TestUnverifiedTrialDoesNotCount(t *testing.T) {
	s := newStory(t)
	s.leaderKill(1, 10000)
	id := s.leaderKill(2, 20000)
	events := without(s.end(40000), func(e timeline.Event) bool { return e.Trial == id && e.Name == timeline.NameChecked })
	c := leaderKills(t, compute(t, manifest(t, 2), events))
	if c.Valid != 1 || c.Trials[1].Status != StatusInvalid || !strings.Contains(c.Trials[1].Reasons[0], "not verified") {
		t.Errorf("%d valid, second trial %s: %q", c.Valid, c.Trials[1].Status, c.Trials[1].Reasons)
	}
	judged, err := Judge(manifest(t, 2), events, id)
	if err != nil || judged.Status != StatusOK {
		t.Errorf("judged in its block, before the check: %s %q %v", judged.Status, judged.Reasons, err)
	}
}

func TestFailedBlockAndRepeatedTrial(t *testing.T) {
	s := newStory(t)
	s.leaderKill(1, 10000)
	s.at(20000, timeline.BlockEnded{Block: 1, Error: "broker 2 left"})
	s.at(20001, timeline.BlockStarted{Block: 2, Backend: "etcd", Profile: "matched"})
	id := s.leaderKill(1, 30000)
	s.at(50000, timeline.BlockEnded{Block: 2})
	r := compute(t, manifest(t, 1), s.w.Recent())
	c := leaderKills(t, r)
	if len(c.Trials) != 2 || c.Valid != 1 || c.Trials[0].ID != id+"~1" || c.Trials[1].ID != id || c.Trials[1].Status != StatusOK {
		t.Fatalf("trials = %+v", c.Trials)
	}
	if got := strings.Join(c.Trials[0].Reasons, "; "); !strings.Contains(got, "run again") || !strings.Contains(got, "broker 2 left") {
		t.Errorf("reasons = %q", got)
	}
	if r.Verdict.OK || len(r.Verdict.Failed) != 1 || !strings.Contains(r.Verdict.Failed[0], "broker 2 left") {
		t.Errorf("verdict = %+v, want the failed block", r.Verdict)
	}
}

func TestClientGapOpenAtTheCutIsALowerLimit(t *testing.T) {
	s := newStory(t)
	id := s.leaderKill(1, 10000)
	s.at(11700, timeline.AckGap{Trial: id, Client: "tuned", Topic: "load", Partition: 0, From: 9992 * ms, To: 11699 * ms})
	c := leaderKills(t, compute(t, manifest(t, 1), s.end(30000)))
	if gap := c.Clients[0].Gap; gap == nil || gap.Censored != 1 || gap.Max != 1707 {
		t.Errorf("gap = %+v, want 1707, censored", gap)
	}
}

func TestPartitionSecondsSumAllOutages(t *testing.T) {
	s := newStory(t)
	id := s.leaderKill(1, 10000)
	s.run(id, ClassLed, "probe", 0, false, 11710, 11800, 10) // a second outage, of 100 ms
	s.run(id, ClassLed, "probe", 0, true, 11810, 12000, 10)
	c := leaderKills(t, compute(t, manifest(t, 1), s.end(30000)))
	if got := c.Trials[0].Classes[0]; got.MaxMs != 1060 || got.PartitionSeconds != 1.16 {
		t.Errorf("class = %+v, want 1060 ms at most and 1.16 s in all", got)
	}
}

func TestFewerTrialsThanPlannedAreNoPass(t *testing.T) {
	m := manifest(t, 2)
	m.Backends = m.Backends[:1]
	m.Scenarios = slices.DeleteFunc(slices.Clone(m.Scenarios), func(s scenario.Scenario) bool { return s.Name != "leader-kill" })
	var err error
	if m.Plan, err = plan.Make(plan.Options{Backends: []string{"etcd"}, Profiles: []string{"matched"}, Scenarios: m.Scenarios, Trials: 2, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	for n, ok := range map[int]bool{1: false, 2: true} {
		s := newStory(t)
		for i := range n {
			s.leaderKill(i+1, int64(10000*(i+1)))
		}
		r := compute(t, m, s.end(40000))
		if r.Verdict.OK != ok || (len(r.Verdict.Short) == 0) != ok {
			t.Errorf("%d of 2 trials: verdict %+v", n, r.Verdict)
		}
	}
}

// Both backends need 60 ms after detection; one detects half a second later, as it is set to.
func TestDetectionWindowIsNotRanked(t *testing.T) {
	cell := func(backend string, detection, after float64) Cell {
		c := Cell{Profile: "matched", Scenario: "leader-kill", Backend: backend}
		for i := range 12 {
			end := detection + after + float64(i)
			// The outage itself may even be shorter than detection: it counts from intended times.
			c.Trials = append(c.Trials, Trial{
				Status: StatusOK, Detect: number(detection), Headline: number(detection - 40), Phases: []Phase{{Name: PhaseAcknowledge, EndMs: number(end)}},
			})
		}
		return c
	}
	r := Run{
		Reference: "etcd", Profiles: []Profile{{Name: "matched", Ranked: true}}, Scenarios: []Scenario{{Name: "leader-kill", Kind: "failover"}},
		Backends: []Backend{{Name: "etcd"}, {Name: "consul"}},
		Cells: []Cell{
			cell("etcd", 1000, 60), cell("consul", 1500, 60),
		},
	}
	r.compare()
	if len(r.Comparisons) != 1 || r.Comparisons[0].Says != "no difference shown" {
		t.Errorf("comparisons = %+v", r.Comparisons)
	}
}

// TestALateGlitchDoesNotHideTheOutage: a probe that fails just before the end leaves a spell open; the outage is not that spell alone.
func TestALateGlitchDoesNotHideTheOutage(t *testing.T) {
	const ms = 1_000_000
	run := func(from, to int64, ok bool) timeline.ProbeRun {
		return timeline.ProbeRun{From: from * ms, To: to * ms, N: int((to - from) / 10), OK: ok}
	}
	o := outage(&raw{effect: 1000 * ms}, []timeline.ProbeRun{run(0, 1000, true), run(1000, 3000, false), run(3000, 3600, true), run(3600, 3610, false)})
	if o.Recovered || o.OutageMs != nil || o.WaitedMs == nil || *o.WaitedMs < 2000 {
		t.Errorf("outage = %+v, want a censored one of at least 2000 ms", o)
	}
}

func TestRatioNeedsPositiveNumbers(t *testing.T) {
	for _, pair := range [][2][]float64{{{-1, 2}, {3, 4}}, {{1, 2}, {0, 4}}, {nil, {1}}} {
		if q := ratio(pair[0], pair[1]); q != nil {
			t.Errorf("ratio(%v, %v) = %+v, want none", pair[0], pair[1], *q)
		}
	}
}
