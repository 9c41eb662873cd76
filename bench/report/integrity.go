package report

import (
	"strconv"
	"strings"

	"github.com/regency-project/regency/bench/metrics"
)

// correctness shows what was checked and what broke.
func (b *builder) correctness() section {
	s := section{ID: b.id("correctness"), Title: "Correctness", Level: 2}
	s.Blocks = append(s.Blocks, prose("Every acknowledged record is read back at the end of its block of trials, on the same cluster; a trial whose records could not be read back does not count. Leadership and controllership are checked from the events of all brokers."))
	if n := b.run.Verdict.Compared; n > 0 {
		s.Blocks = append(s.Blocks, prose("Then the brokers were killed and the copies on their disks compared, up to the smaller high watermark: "+grouped(int64(n))+" batches of one replica were compared with another's."))
	}
	if t := b.checksTable(); len(t.Rows) > 0 {
		s.Blocks = append(s.Blocks, tabled(t))
	}
	if len(b.run.Verdict.Violations) == 0 {
		s.Blocks = append(s.Blocks, prose("No violation was found."))
	} else {
		t := &table{ID: b.id("violations"), Caption: "Violations. Each voids its cell.", Columns: []column{{Title: "Trial"}, {Title: "Check"}, {Title: "What was seen"}}}
		for _, v := range b.run.Verdict.Violations {
			t.Rows = append(t.Rows, row{Cells: []cell{head(v.Trial), text(v.Check), text(v.Detail)}})
		}
		s.Blocks = append(s.Blocks, tabled(t))
	}
	if t := b.zombieTable(); len(t.Rows) > 0 {
		s.Blocks = append(s.Blocks, tabled(t))
	}
	return s
}

func (b *builder) checksTable() *table {
	t := &table{ID: b.id("checks"), Caption: "Records over all counted trials. “Unknown” were not acknowledged and yet read back, which is allowed: the outcome of their sending was not known."}
	for _, name := range []string{"Backend", "Acknowledged", "Read back", "Lost", "Duplicated", "Out of order", "Corrupt", "Unknown"} {
		t.Columns = append(t.Columns, column{Title: name})
	}
	for _, x := range b.run.Backends {
		var sum metrics.Checks
		for _, c := range b.run.Cells {
			if c.Backend == x.Name {
				k := c.Checks
				sum = metrics.Checks{Acknowledged: sum.Acknowledged + k.Acknowledged, Read: sum.Read + k.Read, Lost: sum.Lost + k.Lost, Duplicated: sum.Duplicated + k.Duplicated,
					Reordered: sum.Reordered + k.Reordered, Corrupt: sum.Corrupt + k.Corrupt, Unknown: sum.Unknown + k.Unknown}
			}
		}
		r := row{Cells: []cell{b.backendHead(x.Name)}}
		for _, n := range []int64{sum.Acknowledged, sum.Read, sum.Lost, sum.Duplicated, sum.Reordered, sum.Corrupt, sum.Unknown} {
			if x.Status == metrics.StatusNotRun {
				r.Cells = append(r.Cells, mute("not run"))
				continue
			}
			r.Cells = append(r.Cells, figureCell(grouped(n)))
		}
		t.Rows = append(t.Rows, r)
	}
	return t
}

// zombieTable shows what paused brokers did when they were resumed.
func (b *builder) zombieTable() *table {
	t := &table{ID: b.id("zombies"), Caption: "A broker that was replaced while it lived, frozen or cut off from the coordination service, and was offered records for what others led: how long after it went on until it stepped down, probes that it refused, and probes that it wrongly acknowledged (each would be a violation). Not tested: no probe was answered in a way that proves anything."}
	for _, name := range []string{"Backend", "Profile", "Trials", "Stepped down after", "Refused", "Wrongly acknowledged"} {
		t.Columns = append(t.Columns, column{Title: name})
	}
	for _, p := range b.run.Profiles {
		for _, x := range b.run.Backends {
			var down extremes
			n, tested, refused, accepted := 0, 0, 0, 0
			for _, c := range b.run.Cells {
				if c.Profile != p.Name || c.Backend != x.Name {
					continue
				}
				for _, tr := range c.Trials {
					if tr.Zombie == nil || tr.Status == metrics.StatusInvalid {
						continue
					}
					n++
					if tr.Zombie.Refused+tr.Zombie.Accepted+tr.Zombie.Closed > 0 {
						tested++
					}
					refused += tr.Zombie.Refused
					accepted += tr.Zombie.Accepted
					if tr.Zombie.StepDownMs != nil {
						down.add("", *tr.Zombie.StepDownMs)
					}
				}
			}
			if n == 0 {
				continue
			}
			step := mute(notObserved)
			if down.n > 0 {
				step = figureCell(withUnit(span(down.low, down.high), "ms"))
				if down.n < n {
					step.Sub = []string{"seen in " + strconv.Itoa(down.n) + " of " + strconv.Itoa(n)}
				}
			}
			no, yes := mute("not tested"), mute("not tested")
			if tested > 0 {
				no, yes = figureCell(strconv.Itoa(refused)), figureCell(strconv.Itoa(accepted))
				if tested < n {
					yes.Sub = []string{"tested in " + strconv.Itoa(tested) + " of " + strconv.Itoa(n)}
				}
			}
			t.Rows = append(t.Rows, row{Cells: []cell{b.backendHead(x.Name), text(p.Name), figureCell(strconv.Itoa(n)), step, no, yes}})
		}
	}
	return t
}

// notCounted lists the trials that failed a gate or a check.
func (b *builder) notCounted() section {
	s := section{ID: b.id("not-counted"), Title: "Trials that do not count", Level: 2}
	t := &table{ID: b.id("invalid-trials"), Caption: "Trials that failed a validity gate or a check, with the reason. Their figures are in no summary.", Columns: []column{{Title: "Trial"}, {Title: "Status"}, {Title: "Reason"}}}
	for i := range b.run.Cells {
		for _, tr := range b.run.Cells[i].Trials {
			if tr.Status != metrics.StatusOK {
				t.Rows = append(t.Rows, row{Cells: []cell{head(tr.ID), text(tr.Status), text(orText(strings.Join(tr.Reasons, "; "), "no reason recorded"))}})
			}
		}
	}
	if len(t.Rows) == 0 {
		s.Blocks = []block{prose("Every trial counts: each passed the validity gates and the checks.")}
		return s
	}
	s.Blocks = []block{tabled(t)}
	return s
}

// everyTrial is the raw list behind the summaries.
func (b *builder) everyTrial() section {
	s := section{ID: b.id("all-trials"), Title: "Every trial", Level: 2}
	t := &table{ID: b.id("trials"), Caption: "All trials by cell, in the order of their run. “Effect after” is from asking for the fault until it took effect; “delivered” is acknowledged of offered in the steady phase; “harness delay” is how late the harness's own timers were (p99)."}
	for _, name := range []string{"Trial", "Block", "Status", "Victim", "Effect after", "Outage", "Detection", "Outage − detection", "Delivered", "Harness delay"} {
		t.Columns = append(t.Columns, column{Title: name})
	}
	for i := range b.run.Cells {
		for j := range b.run.Cells[i].Trials {
			t.Rows = append(t.Rows, row{Cells: trialCells(&b.run.Cells[i].Trials[j])})
		}
	}
	if len(t.Rows) == 0 {
		s.Blocks = []block{prose("The run holds no trial.")}
		return s
	}
	s.Blocks = []block{{Fold: &fold{Summary: plural(len(t.Rows), "trial", "trials"), Blocks: []block{tabled(t)}}}}
	return s
}

func trialCells(tr *metrics.Trial) []cell {
	optionalMs := func(v *float64) cell {
		if v == nil {
			return mute("–")
		}
		return figureCell(ms(*v))
	}
	outage := optionalMs(tr.Headline)
	for _, c := range tr.Classes {
		if tr.Headline != nil && c.Censored && c.MaxMs == *tr.Headline {
			outage.Main = "≥" + nbsp + outage.Main
			break
		}
	}
	delivered := mute("–")
	if tr.Delivered != nil {
		delivered = figureCell(withUnit(fixed(*tr.Delivered*100, 1), "%"))
	}
	return []cell{head(tr.ID), figureCell(strconv.Itoa(tr.Block)), text(tr.Status), text(victimText(tr.Victim)), optionalMs(tr.EffectMs),
		outage, optionalMs(tr.Detect), optionalMs(tr.Remain), delivered, optionalMs(tr.DelayP99)}
}

func victimText(v *metrics.Victim) string {
	if v == nil {
		return "none"
	}
	roles := []string{}
	if v.Controller {
		roles = append(roles, "controller")
	}
	if v.Leads > 0 {
		roles = append(roles, "leads "+strconv.Itoa(v.Leads))
	}
	if v.CoordinationLeader != nil && *v.CoordinationLeader {
		roles = append(roles, "leads coordination")
	}
	s := "broker " + strconv.Itoa(int(v.Broker))
	if len(roles) > 0 {
		s += ": " + strings.Join(roles, ", ")
	}
	return s
}
