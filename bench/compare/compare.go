// Package compare tells whether one run of the harness is worse than another, cell by cell, with the interval of what it says.
//
// Correctness comes first: a promise that the new run broke outweighs every figure. Then each figure that both runs have is compared: the outage, what
// follows detection, and the throughput. "Faster" and "slower" are said only when the interval of the ratio excludes 1; "beyond the threshold" only when the
// whole interval lies beyond it. Runs that cannot be compared (other schema, no profile in common) are refused; runs of different machines are marked, and
// get no verdicts unless Options.AcrossMachines asks for them.
//
// A figure that is only a lower limit (recovery was not seen) can make the interval open at one end and never closes it: a run cannot look faster because
// its observation was cut.
package compare

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/regency-project/regency/bench/archive"
	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/stats"
)

// Schema is the version of the JSON form of a Comparison.
const Schema = 1

// Verdicts of a measure.
const (
	Faster        = "faster"
	Slower        = "slower"
	NoDifference  = "no difference shown"
	NotComparable = "not comparable"
)

// Exit statuses of a comparison, the most serious first.
const (
	StatusViolation    = 2 // the new run broke a promise
	StatusWorse        = 4 // something is slower beyond the threshold
	StatusIncomparable = 3 // nothing could be compared, or the new run has no figure where the old one has
	StatusFine         = 0
)

// ErrRefused is wrapped when two runs have nothing to do with each other.
var ErrRefused = errors.New("these runs cannot be compared")

// Options of a comparison.
type Options struct {
	Threshold      float64 // share by which a figure must be worse to count: 0.1 is 10 %
	Confidence     float64 // of every interval; stats.Confidence when 0
	AcrossMachines bool    // give verdicts although the machines differ
}

// Comparison is what was found.
type Comparison struct {
	Schema     int     `json:"schema"`
	Old        Side    `json:"old"`
	New        Side    `json:"new"`
	Threshold  float64 `json:"threshold"`
	Confidence float64 `json:"confidence"`
	// Marks are differences that make the comparison doubtful, loudest first: another machine, another flush mode. Notes are those that are to be known.
	Marks []string `json:"marks"`
	Notes []string `json:"notes"`
	// Violations of the new run. The comparison has failed when there is one.
	Violations []metrics.Violation `json:"violations"`
	Cells      []Cell              `json:"cells"`
	Absent     []string            `json:"absent"` // cells that only one of the runs planned
	Lost       []string            `json:"lost"`   // cells with figures in the old run and none in the new one, though it planned them
	Status     int                 `json:"status"` // exit status
}

// Side is one of the two runs.
type Side struct {
	ID       string   `json:"id"`
	Dir      string   `json:"-"`
	Started  string   `json:"started"`
	Revision string   `json:"revision"`
	Machine  string   `json:"machine"`
	Profiles []string `json:"profiles"`
	Seed     uint64   `json:"seed"`
}

// Cell is one scenario on one backend under one profile, in both runs.
type Cell struct {
	Profile  string    `json:"profile"`
	Scenario string    `json:"scenario"`
	Backend  string    `json:"backend"`
	Variant  string    `json:"variant,omitempty"`
	Reason   string    `json:"reason,omitempty"` // why it is not comparable as a whole
	Notes    []string  `json:"notes,omitempty"`  // what differs between its two settings
	Measures []Measure `json:"measures"`
}

// Name of a cell, as it stands in tables.
func (c Cell) Name() string {
	parts := []string{c.Profile, c.Scenario, c.Backend}
	if c.Variant != "" {
		parts = append(parts, c.Variant)
	}
	return strings.Join(parts, " / ")
}

// Runs compares two run directories.
func Runs(before, after archive.Record, o Options) (Comparison, error) {
	if o.Confidence == 0 {
		o.Confidence = stats.Confidence
	}
	if o.Threshold < 0 || o.Confidence <= 0.5 || o.Confidence >= 1 {
		return Comparison{}, fmt.Errorf("compare: threshold %v and confidence %v: the threshold is at least 0, the confidence above 0.5 and below 1", o.Threshold, o.Confidence)
	}
	c := Comparison{
		Schema: Schema, Old: side(before), New: side(after), Threshold: o.Threshold, Confidence: o.Confidence,
		Marks: []string{}, Notes: []string{}, Violations: []metrics.Violation{}, Cells: []Cell{}, Absent: []string{}, Lost: []string{},
	}
	if err := refuse(before, after); err != nil {
		return c, err
	}
	c.Violations = append(c.Violations, after.Run.Verdict.Violations...)
	if lost := after.Run.Verdict.Lost; lost > 0 && len(c.Violations) == 0 {
		c.Violations = append(c.Violations, metrics.Violation{Check: "acknowledged-lost", Detail: fmt.Sprintf("%d acknowledged records were lost", lost)})
	}
	if n := len(before.Run.Verdict.Violations); n > 0 {
		c.Marks = append(c.Marks, fmt.Sprintf("the old run has %d violations of its own: its void cells are not compared", n))
	}
	doubt := c.contrast(before, after)
	blocked := ""
	if doubt && !o.AcrossMachines {
		blocked = "the runs were not made under the same conditions (see above); --across-machines compares them all the same"
	}
	c.pair(before, after, o, blocked)
	c.Status = c.status()
	return c, nil
}

func side(r archive.Record) Side {
	s := Side{ID: r.Run.ID, Dir: r.Dir, Started: r.Run.Started.UTC().Format("2006-01-02 15:04:05 UTC"), Revision: r.Run.Revision, Machine: machine(r.Run.Environment), Seed: r.Run.Seed, Profiles: []string{}}
	for _, p := range r.Run.Profiles {
		s.Profiles = append(s.Profiles, p.Name)
	}
	return s
}

// refuse says why two runs have nothing to do with each other.
func refuse(before, after archive.Record) error {
	if before.Run.Schema != after.Run.Schema {
		return fmt.Errorf("%w: schema %d and schema %d", ErrRefused, before.Run.Schema, after.Run.Schema)
	}
	if len(before.Run.Cells) == 0 || len(after.Run.Cells) == 0 {
		return fmt.Errorf("%w: one of them holds no cell", ErrRefused)
	}
	old, now := side(before).Profiles, side(after).Profiles
	if !slices.ContainsFunc(old, func(p string) bool { return slices.Contains(now, p) }) {
		return fmt.Errorf("%w: they have no profile in common (%s; %s)", ErrRefused, strings.Join(old, ", "), strings.Join(now, ", "))
	}
	return nil
}

// pair makes the cells.
func (c *Comparison) pair(before, after archive.Record, o Options, blocked string) {
	for i := range after.Run.Cells {
		now := &after.Run.Cells[i]
		old := before.Run.Find(now.Profile, now.Scenario, now.Backend, now.Variant)
		cell := Cell{Profile: now.Profile, Scenario: now.Scenario, Backend: now.Backend, Variant: now.Variant, Measures: []Measure{}}
		if old == nil {
			c.Absent = append(c.Absent, cell.Name()+": only in the new run")
			continue
		}
		cell.Reason = why(old, now)
		if cell.Reason == "" {
			cell.Reason = scenarioDiffers(before, after, now.Scenario)
		}
		if old.Status == metrics.StatusOK && now.Status != metrics.StatusOK && now.Status != metrics.StatusVoid {
			c.Lost = append(c.Lost, cell.Name()+": "+cell.Reason)
		}
		if cell.Reason == "" {
			cell.Reason = blocked
		}
		cell.Notes = settingsDiffer(before, after, now.Profile, now.Backend)
		cell.measure(old, now, o, after.Run.Environment.Resolution)
		c.Cells = append(c.Cells, cell)
	}
	for i := range before.Run.Cells {
		old := &before.Run.Cells[i]
		if after.Run.Find(old.Profile, old.Scenario, old.Backend, old.Variant) == nil {
			name := Cell{Profile: old.Profile, Scenario: old.Scenario, Backend: old.Backend, Variant: old.Variant}.Name()
			c.Absent = append(c.Absent, name+": only in the old run")
		}
	}
}

// why says what is the matter with one of two cells; nothing when both have figures.
func why(old, now *metrics.Cell) string {
	for _, x := range []struct {
		name string
		cell *metrics.Cell
	}{{"new", now}, {"old", old}} {
		if x.cell.Status != metrics.StatusOK {
			text := x.cell.Status + " in the " + x.name + " run"
			if x.cell.Reason != "" {
				text += ": " + x.cell.Reason
			}
			return text
		}
	}
	return ""
}

func (c *Comparison) status() int {
	if len(c.Violations) > 0 {
		return StatusViolation
	}
	if len(c.Beyond()) > 0 {
		return StatusWorse
	}
	if c.Compared() == 0 || len(c.Lost) > 0 {
		return StatusIncomparable
	}
	return StatusFine
}

// Finding is a measure with its cell.
type Finding struct {
	Cell    *Cell
	Measure *Measure
}

// Each lists every measure of every cell, in order.
func (c *Comparison) Each() []Finding {
	var list []Finding
	for i := range c.Cells {
		for j := range c.Cells[i].Measures {
			list = append(list, Finding{&c.Cells[i], &c.Cells[i].Measures[j]})
		}
	}
	return list
}

func (c *Comparison) where(keep func(*Measure) bool) []Finding {
	return slices.DeleteFunc(c.Each(), func(f Finding) bool { return !keep(f.Measure) })
}

// Beyond are the measures that are worse beyond the threshold.
func (c *Comparison) Beyond() []Finding { return c.where(func(m *Measure) bool { return m.Beyond }) }

// Compared is how many measures have a verdict.
func (c *Comparison) Compared() int {
	return len(c.where(func(m *Measure) bool { return m.Says != NotComparable }))
}

// Said lists the measures with a verdict.
func (c *Comparison) Said(verdict string) []Finding {
	return c.where(func(m *Measure) bool { return m.Says == verdict })
}

// Chance is how many of the measures would be expected to be called slower if nothing had changed at all.
func (c *Comparison) Chance() float64 { return float64(c.Compared()) * (1 - c.Confidence) / 2 }
