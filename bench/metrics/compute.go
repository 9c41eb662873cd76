package metrics

import (
	"fmt"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/regency-project/regency/bench/check"
	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/bench/stats"
	"github.com/regency-project/regency/bench/timeline"
)

// Compute makes every figure of a run from its manifest and its timeline.
func Compute(m Manifest, events []timeline.Event) (Run, error) {
	if m.Schema != Schema {
		return Run{}, fmt.Errorf("compute metrics: the run has schema %d, this program knows %d", m.Schema, Schema)
	}
	blocks, aside, err := collect(events)
	if err != nil {
		return Run{}, fmt.Errorf("compute metrics: %w", err)
	}
	giveUp(blocks)
	if err := judge(blocks); err != nil {
		return Run{}, fmt.Errorf("compute metrics: %w", err)
	}
	r := Run{
		Schema: Schema, ID: m.ID, Started: m.Started, DurationS: m.DurationS, Seed: m.Seed, Command: m.Command, Revision: m.Revision,
		Profiles: m.Profiles, Environment: m.Environment, Backends: []Backend{}, Scenarios: []Scenario{}, Cells: []Cell{}, Comparisons: []Comparison{},
	}
	r.reference(m)
	r.columns(m)
	r.rows(m)
	r.cells(m, blocks)
	r.compare()
	r.verdict(m, blocks)
	r.Environment.AA = probeCost(aside)
	r.Limits = limits(m, r.reads())
	return r, nil
}

// giveUp tells trials of the same name apart: the last one keeps it, and those before it were given up when their block failed.
func giveUp(blocks []*rawBlock) {
	runs := make(map[string][]*raw)
	for _, b := range blocks {
		for _, t := range b.trials {
			runs[t.start.Trial] = append(runs[t.start.Trial], t)
		}
	}
	for name, list := range runs {
		for i, t := range list[:len(list)-1] {
			reason := "it was run again"
			if why := t.block.failure(); why != "" {
				reason += ": " + why
			}
			t.invalid = append(t.invalid, reason)
			t.start.Trial = fmt.Sprintf("%s~%d", name, i+1)
			for j := range t.violated {
				t.violated[j].Trial = t.start.Trial
			}
		}
	}
}

// Judge computes one trial from the events of its block so far, while the block still runs.
func Judge(m Manifest, events []timeline.Event, trial string) (Trial, error) {
	blocks, _, err := collect(events)
	if err != nil {
		return Trial{}, fmt.Errorf("judge %s: %w", trial, err)
	}
	for _, b := range blocks {
		for _, t := range b.trials {
			if t.start.Trial == trial {
				s, ok := m.scenario(t.start.Scenario)
				if !ok {
					return Trial{}, fmt.Errorf("judge %s: unknown scenario %q", trial, t.start.Scenario)
				}
				return t.trial(s), nil
			}
		}
	}
	return Trial{}, fmt.Errorf("judge %s: no such trial in the timeline", trial)
}

// judge adds the violations that only the brokers' events of a whole block show, to the trial that ran then.
func judge(blocks []*rawBlock) error {
	for _, b := range blocks {
		found, err := check.Leadership(b.brokers)
		if err != nil {
			return err
		}
		for _, v := range found {
			at := -1
			for i, t := range b.trials {
				if t.from <= v.T || at < 0 {
					at = i
				}
			}
			if at >= 0 {
				t := b.trials[at]
				t.violated = append(t.violated, Violation{Trial: t.start.Trial, Check: v.Check, Detail: v.Detail})
			}
		}
	}
	return nil
}

func (r *Run) reference(m Manifest) {
	for _, b := range m.Backends {
		if b.Status == StatusOK {
			r.Reference = b.Name
			return
		}
	}
}

func (r *Run) columns(m Manifest) {
	brokers := 0
	for _, s := range m.Scenarios {
		brokers = max(brokers, s.Cluster.Brokers)
	}
	for _, b := range m.Backends {
		c := Backend{Name: b.Name, Title: b.Title, Status: b.Status, Reason: b.Reason, Version: b.Version, Brokers: brokers, Service: b.Service, Settings: []KV{}}
		for _, s := range b.Settings {
			for _, kv := range s.Constants {
				c.Settings = append(c.Settings, KV{Key: s.Profile + " " + kv.Key, Value: kv.Value})
			}
		}
		r.Backends = append(r.Backends, c)
	}
}

func (r *Run) rows(m Manifest) {
	for _, s := range m.Scenarios {
		row := Scenario{
			Name: s.Name, Title: s.Title, Description: s.Description, Kind: s.Kind, Headline: s.HeadlineClass(), Fault: s.FaultText(),
			Rate: s.Workload.Rate, RecordSize: s.Workload.Size, Topics: []KV{},
		}
		for _, t := range s.Cluster.Topics {
			row.Topics = append(row.Topics, KV{Key: t.Name, Value: fmt.Sprintf("%d partitions × %d", t.Partitions, t.Replication)})
		}
		r.Scenarios = append(r.Scenarios, row)
	}
}

func (r *Run) cells(m Manifest, blocks []*rawBlock) {
	type cellKey struct{ profile, scenario, backend, variant string }
	entries := make(map[cellKey][]entry)
	shaken := make(map[cellKey][]Violation)
	for _, b := range blocks {
		for _, raw := range b.trials {
			s, ok := m.scenario(raw.start.Scenario)
			if !ok {
				continue
			}
			if !raw.verified() {
				raw.invalid = append(raw.invalid, "its records were not verified (the cluster could not be read back)")
			}
			t := raw.trial(s)
			k := cellKey{raw.start.Profile, s.Name, raw.start.Backend, t.Variant()}
			if !raw.start.Counted {
				k.variant = ""
				shaken[k] = append(shaken[k], t.Violations...)
				continue
			}
			entries[k] = append(entries[k], entry{t, raw})
		}
	}
	for _, p := range m.Profiles {
		for _, s := range m.Scenarios {
			for _, b := range m.Backends {
				if !m.planned(p.Name, b.Name) {
					continue
				}
				k := cellKey{p.Name, s.Name, b.Name, ""}
				other := cellKey{p.Name, s.Name, b.Name, VariantBoth}
				if len(entries[k]) > 0 || len(entries[other]) == 0 {
					r.Cells = append(r.Cells, cell(m, p.Name, "", b.Name, s, entries[k], shaken[k]))
				}
				if len(entries[other]) > 0 {
					r.Cells = append(r.Cells, cell(m, p.Name, other.variant, b.Name, s, entries[other], nil))
				}
			}
		}
	}
}

// Find returns a cell.
func (r *Run) Find(profile, scenario, backend, variant string) *Cell {
	i := slices.IndexFunc(r.Cells, func(c Cell) bool {
		return c.Profile == profile && c.Scenario == scenario && c.Backend == backend && c.Variant == variant
	})
	if i < 0 {
		return nil
	}
	return &r.Cells[i]
}

func (r *Run) compare() {
	for _, p := range r.Profiles {
		for _, s := range r.Scenarios {
			ref := r.Find(p.Name, s.Name, r.Reference, "")
			if ref == nil {
				continue
			}
			for _, b := range r.Backends {
				c := r.Find(p.Name, s.Name, b.Name, "")
				if c == nil {
					continue
				}
				if c.Throughput != nil && ref.Throughput != nil {
					c.Throughput.Ratio = ratio(c.Throughput.rates(), ref.Throughput.rates())
				}
				if b.Name == r.Reference || !p.Ranked || s.Kind != scenario.Failover {
					continue
				}
				if q := ratio(c.afterDetection(), ref.afterDetection()); q != nil {
					r.Comparisons = append(r.Comparisons, Comparison{Profile: p.Name, Scenario: s.Name, Backend: b.Name, Ratio: *q, Says: q.says()})
				}
			}
		}
	}
}

// afterDetection is, of each counted trial in which both were seen, the time from detection until the first probe was acknowledged again. It is never
// negative, as the outage − detection may be: a request that a broker held over the failover counts there from its intended time, before the answer.
func (c *Cell) afterDetection() []float64 {
	var values []float64
	for _, t := range c.Trials {
		for _, p := range t.Phases {
			if t.Status == StatusOK && t.Detect != nil && p.Name == PhaseAcknowledge && p.EndMs != nil {
				values = append(values, *p.EndMs-*t.Detect)
			}
		}
	}
	return values
}

// verdict counts over everything that ran, trials that do not count included: a promise that was broken in one of them is broken.
func (r *Run) verdict(m Manifest, blocks []*rawBlock) {
	v := Verdict{OK: true, Violations: []Violation{}, NotRun: []string{}}
	for _, b := range blocks {
		for _, t := range b.trials {
			v.Acknowledged += t.checks.Acknowledged
			v.Lost += t.checks.Lost
			v.Duplicated += t.checks.Duplicated
		}
		v.Compared += b.disks.Batches
		if why := b.failure(); why != "" {
			v.Failed = append(v.Failed, fmt.Sprintf("block %d (%s, %s): %s", b.number, b.started.Backend, b.started.Profile, why))
		}
	}
	for _, c := range r.Cells {
		v.Trials += c.Valid
		v.Invalid += c.Invalid
		v.Violations = append(v.Violations, c.Violations...)
		v.OK = v.OK && c.Status == StatusOK
	}
	for _, b := range r.Backends {
		if b.Status != StatusOK {
			v.NotRun = append(v.NotRun, b.Name)
		}
	}
	v.Short = r.short(m)
	v.OK = v.OK && len(v.Violations) == 0 && len(r.Cells) > 0 && len(v.Failed) == 0 && len(v.Short) == 0
	r.Verdict = v
}

// short names what ran with fewer valid trials than were planned. The variants of a cell share its plan.
func (r *Run) short(m Manifest) []string {
	type planKey struct{ backend, profile, scenario string }
	planned := make(map[planKey]int)
	for _, b := range m.Plan.Blocks {
		for _, item := range b.Items {
			if item.Counted {
				planned[planKey{b.Backend, b.Profile, item.Scenario}]++
			}
		}
	}
	var list []string
	for _, p := range r.Profiles {
		for _, s := range r.Scenarios {
			for _, b := range r.Backends {
				valid, tried := 0, 0
				for _, variant := range []string{"", VariantBoth} {
					if c := r.Find(p.Name, s.Name, b.Name, variant); c != nil {
						valid += c.Valid
						tried += len(c.Trials)
					}
				}
				if want := planned[planKey{b.Name, p.Name, s.Name}]; tried > 0 && valid < want {
					list = append(list, fmt.Sprintf("%s, %s, %s: %d of %d planned trials count", b.Name, p.Name, s.Name, valid, want))
				}
			}
		}
	}
	return list
}

// Names in the latencies of the spells that measure what probing costs.
const (
	ProbeCostTrial = "probe-cost"
	ProbesOn       = "on"
	ProbesOff      = "off"
)

// probeCost compares client latency with the prober on and off. Null when it was not measured.
func probeCost(list []timeline.LoadLatency) *ProbeCost {
	sum := map[string]*hdrhistogram.Histogram{}
	for _, l := range list {
		h := decodeHistogram(l.Histogram)
		if h == nil || l.Client != "tuned" {
			continue
		}
		if have := sum[l.Phase]; have != nil {
			have.Merge(h)
		} else {
			sum[l.Phase] = h
		}
	}
	on, off := sum[ProbesOn], sum[ProbesOff]
	if on == nil || off == nil {
		return nil
	}
	a, b := latencyOf(on), latencyOf(off)
	return &ProbeCost{OnP50Ms: a.P50Ms, OnP99Ms: a.P99Ms, OffP50Ms: b.P50Ms, OffP99Ms: b.P99Ms}
}

// reads tells whether fetches were probed.
func (r *Run) reads() bool {
	return slices.ContainsFunc(r.Cells, func(c Cell) bool {
		return slices.ContainsFunc(c.Outages, func(o ClassSummary) bool { _, reads := WriteClass(o.Class); return reads })
	})
}

func limits(m Manifest, reads bool) []string {
	how := "Producers and prober write with acks=all; reads are checked, not probed."
	if reads {
		how = "Producers and prober write with acks=all. Reads are probed by fetching the newest record that was seen to be committed, without waiting at the broker: a new leader that does not know yet how far its log is committed is an outage of reads."
	}
	list := []string{
		fmt.Sprintf("One host: brokers, coordination service, clients and prober share %d cores, one disk and the loopback interface.", m.Environment.Cores),
		"On loopback the kernel closes a killed process's sockets at once, so that SIGKILL stands for a process crash and not for a lost host; SIGSTOP is nearer to that.",
		fmt.Sprintf("An outage is known to one probe interval, %.0f ms (control plane: its own interval); a probe that takes longer than its deadline has failed. A request that a broker holds and then serves within the deadline (%.0f ms) is a success from its intended time on: an outage can look shorter by that much.", m.Environment.Resolution, m.Environment.Deadline),
		"When the service itself declared the session lost is not observed: detection ends at the first survivor that learned of it.",
		how,
	}
	if m.Trials < stats.EnoughForInterval {
		list = append(list, fmt.Sprintf("%d trials a cell: points, median and range; an interval needs %d, a 95th percentile %d.", m.Trials, stats.EnoughForInterval, stats.EnoughForP95))
	}
	return list
}
