package metrics

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/bench/timeline"
)

var update = flag.Bool("update", false, "rewrite golden files")

const ms = int64(1e6)

// story writes a synthetic timeline. Instants are milliseconds.
type story struct {
	t *testing.T
	w *timeline.Writer
}

func (s *story) at(t int64, p timeline.Payload) { s.w.EmitAt(t*ms, p) }

func (s *story) broker(t int64, id int, event, rest string) {
	s.t.Helper()
	e, err := timeline.Parse(fmt.Appendf(nil, `{"t":%d,"broker":%d,"pid":%d,"event":%q%s}`, t*ms, id, 100+id, event, rest))
	if err != nil {
		s.t.Fatal(err)
	}
	s.w.Add(e)
}

func (s *story) run(trial, class, topic string, part int32, ok bool, from, to, interval int64) {
	r := timeline.ProbeRun{Trial: trial, Class: class, Topic: topic, Partition: part, OK: ok, From: from * ms, To: to * ms, N: int((to-from)/interval) + 1, Done: (from + 3) * ms}
	if !ok {
		r.Error = "gone"
	}
	s.w.EmitAt(from*ms, r)
}

func (s *story) load(from, to, downFrom, downTo int64) {
	for t := from; t < to; t += 200 {
		b := timeline.LoadBin{Client: "tuned", From: t * ms, Width: 200 * ms, Offered: 20, Acked: 20, P50: 4, Max: 9}
		if t >= downFrom && t < downTo {
			b.Acked, b.P50, b.Max = 0, 0, 0
		}
		s.at(t+200, b)
	}
}

func roles(trial, when string, controller int32, leaders ...int32) timeline.Roles {
	r := timeline.Roles{Trial: trial, When: when, Controller: controller}
	for i, l := range leaders {
		r.Partitions = append(r.Partitions, timeline.PartitionRole{Topic: "probe", Partition: int32(i), Leader: l, Epoch: 5, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}})
		r.Partitions = append(r.Partitions, timeline.PartitionRole{Topic: "load", Partition: int32(i), Leader: l, Epoch: 5, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}})
	}
	return r
}

// leaderKill is one trial whose fault takes effect at t0: detection after 1000 ms, new leader after 1030, writes again after 1040.
func (s *story) leaderKill(n int, t0 int64) string {
	id := fmt.Sprintf("etcd/matched/leader-kill/%d", n)
	s.at(t0-2000, timeline.TrialStarted{Trial: id, Scenario: "leader-kill", Backend: "etcd", Profile: "matched", Block: 1, Counted: true})
	s.at(t0-20, roles(id, "before", 2, 1, 3))
	s.at(t0-10, timeline.Victim{Trial: id, Broker: 1, Action: "kill", Leads: 2, Follows: 2})
	s.at(t0-2, timeline.Fault{Trial: id, Step: timeline.StepAsked, Broker: 1})
	s.at(t0, timeline.Fault{Trial: id, Step: timeline.StepEffect, Broker: 1})
	s.broker(t0+500, 1, "registration.gone", `,"id":1`) // the victim's own word does not count
	s.broker(t0+700, 3, "peer.suspected", `,"id":2`)
	s.broker(t0+990, 2, "peer.suspected", `,"id":1`)
	s.broker(t0+999, 1, "guardian.acted", `,"id":1,"took_ms":19`)
	s.broker(t0+1000, 3, "registration.gone", `,"id":1`)
	s.broker(t0+1004, 2, "registration.gone", `,"id":1`)
	s.broker(t0+1020, 2, "controller.committed", `,"epoch":7,"seq":40,"leaders":2,"brokers":[1]`)
	s.broker(t0+1018, 3, "view.applied", `,"seq":40,"leaders":2`) // before the controller has its answer
	s.broker(t0+1030, 3, "partition.leader", `,"topic":"probe","partition":0,"epoch":6,"offset":9`)
	s.run(id, ClassLed, "probe", 0, true, t0-1900, t0-10, 10)
	s.run(id, ClassLed, "probe", 0, false, t0, t0+1020, 10)
	s.run(id, ClassLed, "probe", 0, true, t0+1030, t0+1040, 10) // two successes are not five
	s.run(id, ClassLed, "probe", 0, false, t0+1050, t0+1050, 10)
	s.run(id, ClassLed, "probe", 0, true, t0+1060, t0+1700, 10)
	s.run(id, ClassUntouched, "probe", 1, true, t0-1900, t0+1700, 10)
	s.load(t0-2000, t0+2000, t0, t0+1000)
	s.at(t0+1600, roles(id, "after", 2, 3, 3))
	s.at(t0+1700, timeline.AckGap{Trial: id, Client: "tuned", Topic: "load", Partition: 0, From: (t0 - 8) * ms, To: (t0 + 1080) * ms})
	s.at(t0+1700, timeline.AckGap{Trial: id, Client: "tuned", Topic: "load", Partition: 1, From: (t0 - 8) * ms, To: (t0 + 60) * ms})
	s.at(t0+1701, timeline.Delay{Trial: id, Source: "probe", P99: 3, Max: 5})
	s.at(t0+1710, timeline.TrialEnded{Trial: id})
	s.at(t0+1720, timeline.Fault{Trial: id, Step: timeline.StepRestarted, Broker: 1})
	s.at(t0+3000, timeline.TrialHealed{Trial: id})
	s.at(t0+9000, timeline.Checked{Trial: id, Acknowledged: 100, Read: 101, Unknown: 1})
	return id
}

func (s *story) usage(from, to int64) {
	for t := from; t <= to; t += 500 {
		s.at(t, timeline.Usage{Kind: "brokers", Processes: 4, CPU: float64(t) / 1000 * 0.5, RSS: 1 << 28, WriteBytes: t * 1000})
	}
}

func newStory(t *testing.T) *story {
	s := &story{t: t, w: timeline.NewWriter()}
	s.at(1, timeline.BlockStarted{Block: 1, Backend: "etcd", Profile: "matched"})
	return s
}

func (s *story) end(t int64) []timeline.Event {
	s.at(t, timeline.BlockEnded{Block: 1})
	return s.w.Recent()
}

func manifest(t *testing.T, trials int) Manifest {
	t.Helper()
	list, err := scenario.Defaults()
	if err != nil {
		t.Fatal(err)
	}
	return Manifest{
		Schema: Schema, ID: "test", Seed: 1, Trials: trials, Scenarios: list, Started: time.Unix(0, 0).UTC(),
		Profiles: []Profile{{Name: "matched", Ranked: true}},
		Backends: []BackendInfo{
			{Name: "etcd", Title: "etcd", Status: StatusOK, Service: 3, Settings: []BackendGiven{{Profile: "matched", Bound: Bound{LowerMs: 500, UpperMs: 2500}}}},
			{Name: "consul", Title: "Consul", Status: StatusNotRun, Reason: "not installed: run `make servers`"},
		},
		Environment: Environment{Cores: 2, Resolution: 10, Deadline: 100, Binaries: []Binary{}},
	}
}

func compute(t *testing.T, m Manifest, events []timeline.Event) Run {
	t.Helper()
	r, err := Compute(m, events)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLeaderKillPhases(t *testing.T) {
	s := newStory(t)
	s.usage(2000, 12000)
	id := s.leaderKill(1, 10000)
	r := compute(t, manifest(t, 1), s.end(30000))
	c := r.Find("matched", "leader-kill", "etcd", "")
	if c == nil || c.Status != StatusOK || c.Valid != 1 {
		t.Fatalf("cell = %+v", c)
	}
	trial := c.Trials[0]
	if trial.Evidence == nil || *trial.Evidence != 980 || c.Evidence == nil || c.Evidence.Median != 980 {
		t.Errorf("evidence %v, summary %+v; want 980: when the guardian began to act", trial.Evidence, c.Evidence)
	}
	want := map[string][3]float64{ // start, end, broker
		PhaseDetection: {0, 1000, 3}, PhaseCommit: {1000, 1018, 3}, PhaseServe: {1018, 1030, 3}, PhaseAcknowledge: {1030, 1063, 0},
	}
	for _, p := range trial.Phases {
		w, seen := want[p.Name]
		if !seen {
			if p.WidthMs != nil || p.EndMs != nil {
				t.Errorf("phase %s = %v, want null: the controller survived", p.Name, *p.WidthMs)
			}
			continue
		}
		if p.EndMs == nil || *p.StartMs != w[0] || *p.EndMs != w[1] || *p.WidthMs != w[1]-w[0] {
			t.Errorf("phase %s = %+v, want %v", p.Name, p, w)
			continue
		}
		if (p.Broker == nil) != (w[2] == 0) || (p.Broker != nil && float64(*p.Broker) != w[2]) {
			t.Errorf("phase %s ended by broker %v, want %v", p.Name, p.Broker, w[2])
		}
	}
	if *trial.Headline != 1060 || *trial.Detect != 1000 || *trial.Remain != 60 {
		t.Errorf("headline %v, detection %v, remainder %v; want 1060, 1000, 60", *trial.Headline, *trial.Detect, *trial.Remain)
	}
	untouched := trial.Outages[slices.IndexFunc(trial.Outages, func(o Outage) bool { return o.Class == ClassUntouched })]
	if untouched.OutageMs == nil || *untouched.OutageMs != 0 || untouched.StartMs != nil {
		t.Errorf("untouched = %+v, want an outage of 0: it was probed and never failed", untouched)
	}
	if got := trial.Clients[0]; got.GapMs == nil || *got.GapMs != 1088 {
		t.Errorf("client gap = %v, want 1088: of the partition that the victim led", got.GapMs)
	}
	if trial.Delivered == nil || *trial.Delivered != 1 {
		t.Errorf("delivered = %v, want 1", trial.Delivered)
	}
	if c.Cost == nil || math.Abs(c.Cost.Brokers.CPU-0.5) > 0.01 || c.Cost.Service.Processes != 0 {
		t.Errorf("cost = %+v, want 0.5 CPU seconds per second of brokers", c.Cost)
	}
	checkSeries(t, c.Typical, id)
	if c.Worst != nil {
		t.Error("one trial has a worst one beside the typical one")
	}
}

func checkSeries(t *testing.T, s *Series, id string) {
	t.Helper()
	if s == nil || s.Trial != id || s.BinMs != 200 || s.StartMs != -2000 {
		t.Fatalf("series = %+v", s)
	}
	tuned := s.Configs[0]
	if got := tuned.Acked[10]; got != 0 || tuned.MaxMs[10] != nil {
		t.Errorf("first bin of the outage: %v acknowledged, latency %v; want 0 and null", got, tuned.MaxMs[10])
	}
	if tuned.Acked[0] != 100 || tuned.Offered[10] != 100 {
		t.Errorf("rates %v and %v, want 100 a second", tuned.Acked[0], tuned.Offered[10])
	}
	lane := s.Lanes[1]
	if lane.Topic != "probe" || len(lane.Spans) != 2 || *lane.Spans[0].ToMs != 0 || lane.Spans[1].Broker != 3 || lane.Spans[1].FromMs != 1030 {
		t.Errorf("lane = %+v, want broker 1 until 0 and broker 3 from 1030", lane)
	}
	if *s.Window.EndMs != 1720 {
		t.Errorf("fault window ends at %v, want 1720: the restart", *s.Window.EndMs)
	}
}

func TestWithoutRecoveryTheOutageIsALowerLimit(t *testing.T) {
	s := newStory(t)
	s.leaderKill(1, 10000)
	id := s.leaderKill(2, 20000)
	events := s.end(40000)
	// The second trial's partition never comes back: its successes after the fault are cut out.
	events = slices.DeleteFunc(events, func(e timeline.Event) bool {
		var r timeline.ProbeRun
		return e.Trial == id && e.Name == timeline.NameProbeRun && e.Decode(&r) == nil && r.OK && r.From >= 20000*ms
	})
	r := compute(t, manifest(t, 2), events)
	c := r.Find("matched", "leader-kill", "etcd", "")
	bad := c.Trials[1].Outages[0]
	if bad.OutageMs != nil || bad.Recovered || bad.WaitedMs == nil || *bad.WaitedMs != 1050 {
		t.Errorf("outage = %+v, want null, waited 1050", bad)
	}
	if c.Headline.Censored != 1 || c.Headline.N != 2 || c.Headline.Max != 1060 {
		t.Errorf("summary = %+v, want 2 points of which one censored", c.Headline)
	}
	for _, p := range c.Trials[1].Phases {
		if p.Name == PhaseAcknowledge && p.EndMs != nil {
			t.Errorf("acknowledged at %v without recovery", *p.EndMs)
		}
	}
}

func TestGatesAndVoid(t *testing.T) {
	for name, c := range map[string]struct {
		change func(id string, s *story)
		status string
		want   string
	}{
		"harness late": {func(id string, s *story) {
			s.at(11000, timeline.Delay{Trial: id, Source: "tuned", P99: 80})
		}, StatusInvalid, "timers were late"},
		"said invalid": {func(id string, s *story) {
			s.at(11000, timeline.TrialInvalid{Trial: id, Reason: "no victim"})
		}, StatusInvalid, "no victim"},
		"victim became controller": {func(id string, s *story) {
			s.at(9995, timeline.Victim{Trial: id, Broker: 1, Controller: true, Leads: 2})
		}, StatusInvalid, "controller was true"},
		"victim kept its partitions": {func(id string, s *story) {
			s.at(11650, roles(id, "after", 2, 1, 3))
		}, StatusInvalid, "nobody else"},
		"load not delivered": {func(id string, s *story) {
			for t := int64(8000); t < 9800; t += 200 {
				s.at(t+200, timeline.LoadBin{Client: "default", From: t * ms, Width: 200 * ms, Offered: 20, Acked: 10})
			}
		}, StatusInvalid, "delivered 7"},
		"lost": {func(id string, s *story) {
			s.at(20000, timeline.Violation{Trial: id, Check: "acknowledged-lost", Detail: "record 1"})
		}, StatusVoid, "violation"},
		"two leaders": {func(_ string, s *story) {
			s.broker(11300, 2, "partition.leader", `,"topic":"probe","partition":0,"epoch":6,"offset":9`)
		}, StatusVoid, "violation"},
		"two controllers": {func(_ string, s *story) {
			s.broker(11200, 2, "controller.claimed", `,"epoch":9,"seq":1`)
			s.broker(11300, 3, "controller.claimed", `,"epoch":9,"seq":2`)
		}, StatusVoid, "violation"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStory(t)
			id := s.leaderKill(1, 10000)
			c.change(id, s)
			r := compute(t, manifest(t, 1), s.end(30000))
			cell := r.Find("matched", "leader-kill", "etcd", "")
			trial := cell.Trials[0]
			if trial.Status != c.status || !strings.Contains(strings.Join(trial.Reasons, "; "), c.want) {
				t.Errorf("status %s, reasons %q; want %s and %q", trial.Status, trial.Reasons, c.status, c.want)
			}
			if cell.Status != c.status || cell.Valid != 0 || cell.Headline != nil || r.Verdict.OK {
				t.Errorf("cell is %s with %d valid trials, verdict %t", cell.Status, cell.Valid, r.Verdict.OK)
			}
		})
	}
}

func TestControllerKillAndItsVariant(t *testing.T) {
	s := newStory(t)
	yes, no := true, false
	for n, hosted := range []*bool{&no, &yes} {
		t0 := int64(10000 * (n + 1))
		id := fmt.Sprintf("etcd/matched/controller-kill/%d", n+1)
		s.at(t0-2000, timeline.TrialStarted{Trial: id, Scenario: "controller-kill", Backend: "etcd", Profile: "matched", Block: 1, Counted: true})
		s.at(t0-20, roles(id, "before", 1, 1, 3))
		s.at(t0-10, timeline.Victim{Trial: id, Broker: 1, Action: "kill", Controller: true, Leads: 2, CoordinationLeader: hosted})
		s.at(t0-2, timeline.Fault{Trial: id, Step: timeline.StepAsked, Broker: 1})
		s.at(t0, timeline.Fault{Trial: id, Step: timeline.StepEffect, Broker: 1})
		s.broker(t0+900, 3, "controller.claimed", fmt.Sprintf(`,"epoch":%d,"seq":%d`, 8+n, 50+10*n)) // its watch shows the key's end first
		s.broker(t0+902, 2, "registration.gone", `,"id":1`)
		s.broker(t0+910, 3, "controller.loaded", fmt.Sprintf(`,"epoch":%d,"seq":%d`, 8+n, 50+10*n))
		s.broker(t0+920, 3, "controller.committed", fmt.Sprintf(`,"epoch":%d,"seq":%d,"leaders":2,"brokers":[1]`, 8+n, 51+10*n))
		s.broker(t0+990, 2, "view.applied", fmt.Sprintf(`,"seq":%d,"leaders":2`, 51+10*n)) // after the control plane answers: not on its path
		s.run(id, ClassControl, "", -1, true, t0-1000, t0-50, 50)
		s.run(id, ClassControl, "", -1, false, t0, t0+900, 50)
		s.run(id, ClassControl, "", -1, true, t0+950, t0+1700, 50)
		s.at(t0+1600, roles(id, "after", 3, 3, 3))
		s.at(t0+1710, timeline.TrialEnded{Trial: id})
	}
	r := compute(t, manifest(t, 2), s.end(40000))
	plain, both := r.Find("matched", "controller-kill", "etcd", ""), r.Find("matched", "controller-kill", "etcd", VariantBoth)
	if plain == nil || both == nil || plain.Valid != 1 || both.Valid != 1 {
		t.Fatalf("plain %+v\nboth %+v", plain, both)
	}
	ends := map[string]float64{}
	for _, p := range plain.Trials[0].Phases {
		if p.EndMs != nil {
			ends[p.Name] = *p.EndMs
		}
	}
	want := map[string]float64{PhaseDetection: 900, PhaseElection: 900, PhaseLoad: 910, PhaseCommit: 920, PhaseAcknowledge: 953}
	for name, end := range want {
		if ends[name] != end {
			t.Errorf("phase %s ends at %v, want %v", name, ends[name], end)
		}
	}
	if end, seen := ends[PhaseServe]; seen {
		t.Errorf("serve ends at %v, want null: it came after the acknowledgement", end)
	}
	if plain.Headline.Median != 950 {
		t.Errorf("headline = %v, want 950", plain.Headline.Median)
	}
}

func TestThroughputAndNotRun(t *testing.T) {
	s := newStory(t)
	h := hdrhistogram.New(1, 1e8, 3)
	for i := range int64(100) {
		_ = h.RecordValue(1000 * (i + 1))
	}
	text, err := h.EncodeV2()
	if err != nil {
		t.Fatal(err)
	}
	for n := range int64(3) {
		id := fmt.Sprintf("etcd/matched/steady-throughput/%d", n+1)
		t0 := 10000 * (n + 1)
		s.at(t0, timeline.TrialStarted{Trial: id, Scenario: "steady-throughput", Backend: "etcd", Profile: "matched", Block: 1, Counted: true})
		s.at(t0+7000, timeline.Round{Trial: id, From: (t0 + 2000) * ms, To: (t0 + 7000) * ms, Records: 5000 * (n + 1), Bytes: 512 * 5000 * (n + 1), Histogram: string(text)})
		s.at(t0+7100, timeline.TrialEnded{Trial: id})
		s.at(t0+7200, timeline.Checked{Trial: id, Acknowledged: 5000 * (n + 1), Read: 5000 * (n + 1)})
	}
	r := compute(t, manifest(t, 3), s.end(50000))
	c := r.Find("matched", "steady-throughput", "etcd", "")
	if c.Throughput == nil || c.Throughput.RecordsPerS != 2000 || c.Throughput.MinRecords != 1000 || c.Throughput.MaxRecords != 3000 || c.Throughput.BytesPerS != 2000*512 {
		t.Errorf("throughput = %+v", c.Throughput)
	}
	if got := c.Throughput.Rounds[0].Latency; got.N != 100 || math.Abs(got.P50Ms-50) > 0.5 || math.Abs(got.MaxMs-100) > 0.5 {
		t.Errorf("latency = %+v, want a median of 50 ms and a maximum of 100", got)
	}
	missing := r.Find("matched", "leader-kill", "consul", "")
	if missing.Status != StatusNotRun || !strings.Contains(missing.Reason, "make servers") || r.Verdict.NotRun[0] != "consul" || r.Verdict.OK {
		t.Errorf("consul = %+v, verdict %+v", missing, r.Verdict)
	}
}

func TestALateHarnessSpoilsARound(t *testing.T) {
	for late, want := range map[float64]string{499: StatusOK, 501: StatusInvalid} {
		s := newStory(t)
		id := "etcd/matched/steady-throughput/1"
		s.at(1000, timeline.TrialStarted{Trial: id, Scenario: "steady-throughput", Backend: "etcd", Profile: "matched", Block: 1, Counted: true})
		s.at(8000, timeline.Delay{Trial: id, Source: "saturating", P99: late, Max: 2 * late})
		s.at(8000, timeline.Round{Trial: id, From: 3000 * ms, To: 8000 * ms, Records: 5000, Bytes: 512 * 5000})
		s.at(8100, timeline.TrialEnded{Trial: id})
		s.at(8200, timeline.Checked{Trial: id, Acknowledged: 5000, Read: 5000})
		r := compute(t, manifest(t, 1), s.end(9000))
		c := r.Find("matched", "steady-throughput", "etcd", "")
		if got := c.Trials[0]; got.Status != want || got.DelayP99 == nil {
			t.Errorf("late by %v ms: %s %v, want %s", late, got.Status, got.Reasons, want)
		}
	}
}

func TestReadsAreAClassOfTheirOwn(t *testing.T) {
	s := newStory(t)
	id := s.leaderKill(1, 20000)
	if r := compute(t, manifest(t, 1), s.end(50000)); !strings.Contains(strings.Join(r.Limits, " "), "reads are checked, not probed") {
		t.Error("a run without fetches does not say so")
	}
	s = newStory(t)
	s.leaderKill(1, 20000)
	s.run(id, ReadClass(ClassLed), "probe", 0, true, 18100, 19990, 10)
	s.run(id, ReadClass(ClassLed), "probe", 0, false, 20000, 20590, 10)
	s.run(id, ReadClass(ClassLed), "probe", 0, true, 20600, 21700, 10)
	s.at(49000, timeline.Disks{Block: 1, Partitions: 3, Batches: 77})
	r := compute(t, manifest(t, 1), s.end(50000))
	if r.Verdict.Compared != 77 {
		t.Errorf("%d batches compared, want 77", r.Verdict.Compared)
	}
	c := r.Find("matched", "leader-kill", "etcd", "")
	var led, reads float64
	for _, o := range c.Outages {
		switch o.Class {
		case ClassLed:
			led = o.Summary.Median
		case ReadClass(ClassLed):
			reads = o.Summary.Median
		}
	}
	if reads != 600 || led <= 1000 || c.Headline.Median != led {
		t.Errorf("outage of reads %v, of writes %v, headline %v; want 600 for reads and the writes' as the headline", reads, led, c.Headline.Median)
	}
	if strings.Contains(strings.Join(r.Limits, " "), "not probed") {
		t.Errorf("limits: %v", r.Limits)
	}
}

func TestSummariesWaitForEnoughPoints(t *testing.T) {
	of := func(n int) *Summary {
		var points []Point
		for i := range n {
			points = append(points, Point{Trial: fmt.Sprint(i), Value: float64(100 + i)})
		}
		return summarise(points)
	}
	if of(0) != nil {
		t.Error("a summary of nothing")
	}
	if s := of(9); s.CI != nil || s.P95 != nil || s.Median != 104 {
		t.Errorf("9 points: %+v", s)
	}
	if s := of(10); s.CI == nil || s.P95 != nil || s.CI.Low > s.Median || s.CI.High < s.Median {
		t.Errorf("10 points: %+v", s)
	}
	if s := of(40); s.P95 == nil || *s.P95 < 136 || *s.P95 > 138 {
		t.Errorf("40 points: %+v", s)
	}
	var a, b []float64
	for _, p := range of(20).Points {
		a, b = append(a, p.Value*0.5), append(b, p.Value)
	}
	if q := ratio(a, b); q == nil || !q.CI || q.says() != "faster" {
		t.Errorf("half of it: %+v", q)
	}
	if q := ratio(b, b); q.says() != "no difference shown" {
		t.Errorf("the same: %+v says %s", q, q.says())
	}
	if q := ratio(a[:5], b[:5]); q.says() != "too few trials" {
		t.Errorf("5 trials say %s", q.says())
	}
}

// TestGolden holds the whole of what is computed from one story: run with -update, then read the difference.
func TestGolden(t *testing.T) {
	s := newStory(t)
	s.usage(2000, 42000)
	for n := range 3 {
		s.leaderKill(n+1, int64(10000*(n+1)))
	}
	r := compute(t, manifest(t, 3), s.end(50000))
	got, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const path = "testdata/golden.json"
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(got) {
		t.Error("metrics differ from testdata/golden.json: run with -update and read the difference")
	}
}
