package report

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/regency-project/regency/bench/metrics"
)

// settings shows what was configured: the timing of each backend, the bound that follows from it, and the scenarios.
func (b *builder) settings() section {
	s := section{ID: b.id("settings"), Title: "Settings", Level: 2}
	if len(b.run.Backends) > 0 {
		s.Blocks = append(s.Blocks, tabled(b.backendTable()))
	}
	if t := b.boundTable(); len(t.Rows) > 0 {
		s.Blocks = append(s.Blocks, tabled(t))
	}
	if len(b.run.Scenarios) > 0 {
		s.Blocks = append(s.Blocks, tabled(b.scenarioTable()))
	}
	if len(s.Blocks) == 0 {
		s.Blocks = []block{prose("The run records no settings.")}
	}
	return s
}

func (b *builder) backendTable() *table {
	t := &table{ID: b.id("backends"), Caption: "Timing settings by profile, versions and processes of each backend.", Columns: b.backendColumns("Setting")}
	version, processes := row{Cells: []cell{head("version of the service")}}, row{Cells: []cell{head("processes")}}
	var keys []string
	for _, x := range b.run.Backends {
		what := text(orText(x.Version, "unknown"))
		if x.Title != shortTitle(x) {
			what.Sub = append(what.Sub, x.Title)
		}
		version.Cells = append(version.Cells, what)
		service := "service inside the brokers"
		if x.Service > 0 {
			service = strconv.Itoa(x.Service) + " of the service"
		}
		processes.Cells = append(processes.Cells, text(plural(x.Brokers, "broker", "brokers"), service))
		for _, kv := range x.Settings {
			if !contains(keys, kv.Key) {
				keys = append(keys, kv.Key)
			}
		}
	}
	t.Rows = []row{version, processes}
	for _, key := range keys {
		r := row{Cells: []cell{head(key)}}
		for _, x := range b.run.Backends {
			value := mute("–")
			for _, kv := range x.Settings {
				if kv.Key == key {
					value = text(orText(kv.Value, "–"))
				}
			}
			r.Cells = append(r.Cells, value)
		}
		t.Rows = append(t.Rows, r)
	}
	return t
}

func (b *builder) boundTable() *table {
	t := &table{ID: b.id("bounds"), Caption: "Detection bound: the window in which the service alone can notice the loss, computed from the settings before any of our code runs.",
		Columns: []column{{Title: "Backend"}, {Title: "Profile"}, {Title: "Bound"}, {Title: "Formula"}}}
	seen := map[string]bool{}
	for _, x := range b.run.Backends {
		for _, c := range b.run.Cells {
			if c.Backend != x.Name || c.Bound == nil {
				continue
			}
			bound := withUnit(span(c.Bound.LowerMs, c.Bound.UpperMs), "ms")
			key := strings.Join([]string{x.Name, c.Profile, bound, c.Bound.Formula}, "\x00")
			if seen[key] {
				continue
			}
			seen[key] = true
			t.Rows = append(t.Rows, row{Cells: []cell{b.backendHead(x.Name), text(c.Profile), figureCell(bound), text(orText(c.Bound.Formula, "not recorded"))}})
		}
	}
	return t
}

func (b *builder) scenarioTable() *table {
	t := &table{ID: b.id("scenarios"), Caption: "Scenarios: what was done and under which load.", Columns: []column{{Title: "Scenario"}, {Title: "What happens"}, {Title: "Fault"}, {Title: "Offered by one client"}, {Title: "Record"}, {Title: "Topics"}}}
	for _, s := range b.run.Scenarios {
		rate := "as many as are taken"
		if s.Rate > 0 {
			rate = perSecond(s.Rate)
		}
		var topics []string
		for _, kv := range s.Topics {
			topics = append(topics, kv.Key+": "+kv.Value)
		}
		t.Rows = append(t.Rows, row{Cells: []cell{head(orText(s.Title, s.Name), s.Name), text(s.Description), text(orText(s.Fault, "none")), text(rate), text(withUnit(strconv.Itoa(s.RecordSize), "B")), text(orText(strings.Join(topics, "; "), "none"))}})
	}
	return t
}

func (b *builder) environment() section {
	e := b.run.Environment
	s := section{ID: b.id("environment"), Title: "Environment", Level: 2}
	t := &table{ID: b.id("machine"), Caption: "The machine that everything ran on.", Columns: []column{{Title: "Property"}, {Title: "Value"}}}
	add := func(name, value string) {
		t.Rows = append(t.Rows, row{Cells: []cell{head(name), text(orText(value, "unknown"))}})
	}
	add("system", e.Host)
	add("kernel", e.Kernel)
	add("processor", e.CPU)
	add("cores usable", strconv.Itoa(e.Cores))
	add("memory", byteSize(float64(e.MemoryB)))
	add("Go", e.Go)
	add("file system of the brokers' data", e.Filesystem)
	add("flush", e.Flush)
	fsync := notMeasured
	if f := e.Fsync; f != nil {
		fsync = fmt.Sprintf("p50 %s, p99 %s, max %s (n%s%d)", ms(f.P50Ms), ms(f.P99Ms), ms(f.MaxMs), nbsp, f.N)
	}
	add("write 4 KiB + fsync, before the run", fsync)
	add("resolution of every outage (interval of probes)", ms(e.Resolution))
	add("a probe fails after", ms(e.Deadline))
	cost := notMeasured
	if a := e.AA; a != nil {
		cost = fmt.Sprintf("client latency with the prober p50 %s, p99 %s; without p50 %s, p99 %s", ms(a.OnP50Ms), ms(a.OnP99Ms), ms(a.OffP50Ms), ms(a.OffP99Ms))
	}
	add("what probing costs", cost)
	s.Blocks = append(s.Blocks, tabled(t))
	if len(e.Binaries) > 0 {
		bt := &table{ID: b.id("binaries"), Caption: "Programs that took part.", Columns: []column{{Title: "Program"}, {Title: "Version"}, {Title: "SHA-256"}}}
		for _, x := range e.Binaries {
			bt.Rows = append(bt.Rows, row{Cells: []cell{head(x.Name), text(orText(x.Version, "unknown")), text(orText(x.SHA256, "unknown"))}})
		}
		s.Blocks = append(s.Blocks, tabled(bt))
	}
	return s
}

func (b *builder) limits() section {
	s := section{ID: b.id("limits"), Title: "What these figures do not show", Level: 2}
	if len(b.run.Limits) == 0 {
		s.Blocks = []block{prose("The run names no limits of its own.")}
		return s
	}
	s.Blocks = []block{listed(b.run.Limits)}
	return s
}

func (b *builder) words() section {
	list := []string{
		"Outage: from the intended time of the first failed probe of a partition to the intended time of the first of 5 consecutive successes. Probes are sent open loop every " + ms(b.run.Environment.Resolution) + " with acks=all, so that is the resolution.",
		"Headline: the worst probed partition of the class that the scenario is about, one value a trial.",
		"Detection: from the fault's effect to the first survivor that sees the victim's registration gone.",
		"Detection bound: what the service, and under some profiles the brokers' own detector, permit by their settings alone. It is a property of the configuration, not a measurement.",
		"Evidence: from the fault's effect until a detector of the brokers knew of it (profiles with one); the rest of detection is the eviction at the service.",
		"“Not observed” and “not measured” are not 0. An outage of 0 is a measurement: the partition was probed all the time and no probe failed.",
		"“≥”: recovery was not seen before the observation ended, so the value is a lower limit.",
	}
	for _, name := range metrics.PhaseNames {
		list = append(list, "Phase "+name+": "+phaseTitles[name]+".")
	}
	return section{ID: b.id("words"), Title: "How to read this", Level: 2, Blocks: []block{listed(list)}}
}

func (b *builder) repeat() section {
	s := section{ID: b.id("repeat"), Title: "Repeat this run", Level: 2}
	if strings.TrimSpace(b.run.Command) == "" {
		s.Blocks = []block{prose("The command was not recorded.")}
		return s
	}
	s.Blocks = []block{
		prose(fmt.Sprintf("At revision %s; the seed %d gives the same order of blocks and the same instants of faults.", orText(b.run.Revision, "unknown"), b.run.Seed)),
		{Code: b.run.Command},
		prose("The report alone is made again from the raw timeline in the run's directory."),
	}
	return s
}
