package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// target is a line of the table: a metric of ours, divided by that of another member of the group unless there is none.
type target struct {
	name           string
	group          string
	ours, other    string
	metric         string
	atMost         bool
	least, stretch float64 // 0: not a target, only of interest
}

var targets = []target{
	{name: "append sync ÷ fdatasync per partition, 16 appenders", group: "append16", ours: "store-sync", other: "files-sync", metric: mbps, least: 1.3, stretch: 1.7},
	{name: "append sync ÷ fdatasync per partition, 64 appenders", group: "append64", ours: "store-sync", other: "files-sync", metric: mbps, least: 1.3, stretch: 1.7},
	{name: "append written ÷ files, 64 appenders", group: "append64", ours: "store-written", other: "files-written", metric: mbps},
	{name: "sustained append written ÷ files", group: "sustained", ours: "store-written", other: "files-written", metric: mbps, least: 0.5, stretch: 0.7},
	{name: "sustained append written ÷ files, last quarter", group: "sustained", ours: "store-written", other: "files-written", metric: lastQuarter},
	{name: "sustained append written, last quarter ÷ own first", group: "sustained", ours: "store-written", metric: lastToFirst, least: 0.6, stretch: 0.8},
	{name: "sustained append sync, last quarter ÷ own first", group: "sustained", ours: "store-sync", metric: lastToFirst},
	{name: "disk write amplification, sync", group: "append64", ours: "store-sync", metric: writeAmp, atMost: true, least: 2.1, stretch: 1.5},
	{name: "disk write amplification, written", group: "append64", ours: "store-written", metric: writeAmp, atMost: true, least: 2.1, stretch: 1.5},
	{name: "CPU-s/GB, sync", group: "append64", ours: "store-sync", metric: cpuPerGB, atMost: true, least: 3.0, stretch: 2.0},
	{name: "CPU-s/GB, written", group: "append64", ours: "store-written", metric: cpuPerGB, atMost: true, least: 3.0, stretch: 2.0},
	{name: "CPU of append sync ÷ fdatasync per partition", group: "append64", ours: "store-sync", other: "files-sync", metric: cpuPerGB, atMost: true},
	{name: "CPU of append written ÷ files", group: "append64", ours: "store-written", other: "files-written", metric: cpuPerGB, atMost: true},
	{name: "produce R=1 sync ÷ null broker", group: "produce1", ours: "regency-sync", other: "null", metric: mbps, least: 0.30, stretch: 0.45},
	{name: "produce R=1 sync ÷ kfake (in memory)", group: "produce1", ours: "regency-sync", other: "kfake", metric: mbps, least: 1.2, stretch: 1.6},
	{name: "produce R=1 sync ÷ NATS JetStream R1", group: "produce1", ours: "regency-sync", other: "nats", metric: mbps, least: 2.5, stretch: 4},
	{name: "produce R=1 written ÷ null broker", group: "produce1", ours: "regency-written", other: "null", metric: mbps},
	{name: "produce R=3 acks=all sync ÷ NATS JetStream R3", group: "produce3", ours: "regency-sync", other: "nats", metric: mbps, least: 2.0, stretch: 3.0},
	{name: "produce R=3 acks=all sync ÷ NATS R3, sync_interval: always", group: "produce3", ours: "regency-sync", other: "nats-always", metric: mbps},
	{name: "produce R=3 acks=all written ÷ NATS R3", group: "produce3", ours: "regency-written", other: "nats", metric: mbps},
	{name: "produce latency p50, R=1 sync ÷ null broker", group: "latency1", ours: "regency-sync", other: "null", metric: p50, atMost: true, least: 2.5, stretch: 2},
	{name: "produce latency p50, R=3 sync ÷ NATS R3", group: "latency3", ours: "regency-sync", other: "nats", metric: p50, atMost: true, least: 0.8, stretch: 0.5},
	{name: "produce latency p50, R=3 sync ÷ NATS R3, sync_interval: always", group: "latency3", ours: "regency-sync", other: "nats-always", metric: p50, atMost: true},
	{name: "produce latency p50, R=3 written ÷ NATS R3", group: "latency3", ours: "regency-written", other: "nats", metric: p50, atMost: true},
	{name: "produce latency p50, R=1 written ÷ null broker", group: "latency1", ours: "regency-written", other: "null", metric: p50, atMost: true},
	{name: "tail read ÷ files", group: "tail", ours: "store", other: "files", metric: mbps, least: 0.25, stretch: 0.5},
	{name: "cold read ÷ files", group: "cold", ours: "store", other: "files", metric: mbps, least: 0.3, stretch: 0.5},
	{name: "bytes on disk after retention ÷ live bytes", group: "space", ours: "store", metric: spaceAmp, atMost: true, least: 1.5, stretch: 1.2},
}

// result is what a run measured; its JSON is what -out writes.
type result struct {
	Time    time.Time                      `json:"time"`
	Machine string                         `json:"machine"`
	Seed    uint64                         `json:"seed"`
	Seconds float64                        `json:"seconds"`
	Samples map[string]map[string][]sample `json:"samples"` // by group and member, one per round
	Rows    []row                          `json:"targets"`
}

// row is a measured target.
type row struct {
	Name     string    `json:"name"`
	Measured float64   `json:"measured"` // median of the rounds
	Rounds   []float64 `json:"rounds"`
	AtMost   bool      `json:"at_most"`
	Target   float64   `json:"target,omitempty"`
	Stretch  float64   `json:"stretch,omitempty"`
	Verdict  string    `json:"verdict"`
}

func newResult(c *config, now time.Time) *result {
	return &result{Time: now.UTC(), Machine: machine(), Seed: c.seed, Samples: map[string]map[string][]sample{}}
}

func machine() string {
	cpu := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	memory, _ := procMemory()
	return fmt.Sprintf("%d × %s, %d GB, %s", runtime.NumCPU(), cpu, memory, runtime.Version())
}

func procMemory() (gigabytes int64, err error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	var kb int64
	_, err = fmt.Sscanf(string(b), "MemTotal: %d kB", &kb)
	return kb >> 20, err
}

func (r *result) add(group, member string, _ int, s sample) {
	if r.Samples[group] == nil {
		r.Samples[group] = map[string][]sample{}
	}
	r.Samples[group][member] = append(r.Samples[group][member], s)
}

// rows are the targets of the groups that were measured.
func (r *result) rows() []row {
	var rows []row
	for _, t := range targets {
		var values []float64
		for i, s := range r.Samples[t.group][t.ours] {
			v, ok := s[t.metric]
			if t.other != "" {
				others := r.Samples[t.group][t.other]
				if i >= len(others) || others[i][t.metric] == 0 {
					continue
				}
				v /= others[i][t.metric]
			}
			if ok {
				values = append(values, v)
			}
		}
		if len(values) > 0 {
			rows = append(rows, t.row(values))
		}
	}
	return rows
}

func (t target) row(values []float64) row {
	m := median(values)
	w := row{Name: t.name, Measured: m, Rounds: values, AtMost: t.atMost, Target: t.least, Stretch: t.stretch}
	within := func(limit float64) bool { return t.atMost && m <= limit || !t.atMost && m >= limit }
	switch {
	case t.least == 0:
		w.Verdict = "–"
	case within(t.stretch):
		w.Verdict = "stretch met"
	case within(t.least):
		w.Verdict = "met"
	default:
		w.Verdict = "missed"
	}
	return w
}

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

func (r *result) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured %s on %s; seed %d, %.0f s.\n\n", r.Time.Format("2006-01-02"), r.Machine, r.Seed, r.Seconds)
	b.WriteString("| what | measured | rounds | target | stretch | |\n|---|---|---|---|---|---|\n")
	for _, w := range r.rows() {
		sign, target, stretch := "≥ ", "–", "–"
		if w.AtMost {
			sign = "≤ "
		}
		if w.Target > 0 {
			target, stretch = sign+figure(w.Target), sign+figure(w.Stretch)
		}
		fmt.Fprintf(&b, "| %s | **%s** | %s | %s | %s | %s |\n", w.Name, figure(w.Measured), spread(w.Rounds), target, stretch, w.Verdict)
	}
	b.WriteString("\n| group | measured | medians (lowest to highest) |\n|---|---|---|\n")
	for _, g := range groups(&config{sustained: 1}) {
		for _, name := range slices.Sorted(maps.Keys(r.Samples[g.name])) {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", g.name, name, details(r.Samples[g.name][name]))
		}
	}
	return b.String()
}

func spread(values []float64) string {
	if len(values) == 1 {
		return "1"
	}
	return fmt.Sprintf("%s–%s (%d)", figure(slices.Min(values)), figure(slices.Max(values)), len(values))
}

func details(rounds []sample) string {
	var parts []string
	for _, m := range metricOrder {
		var values []float64
		for _, s := range rounds {
			if v, ok := s[m]; ok {
				values = append(values, v)
			}
		}
		switch {
		case len(values) == 1:
			parts = append(parts, figure(values[0])+" "+m)
		case len(values) > 1:
			parts = append(parts, fmt.Sprintf("%s %s (%s–%s)", figure(median(values)), m, figure(slices.Min(values)), figure(slices.Max(values))))
		}
	}
	return strings.Join(parts, "; ")
}

// write writes the results, unless path is empty.
func (r *result) write(path string) error {
	if path == "" {
		return nil
	}
	r.Rows = r.rows()
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(path+".json", append(b, '\n'), 0o644), os.WriteFile(path+".md", []byte(r.markdown()), 0o644))
}
