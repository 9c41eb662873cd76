package report

import (
	"fmt"
	"time"

	"github.com/regency-project/regency/bench/metrics"
)

// build makes the document of a run: what was found first, how and on what it was measured last.
func build(run metrics.Run) *document {
	b := newBuilder(run)
	doc := &document{
		Title:    "Failover report " + orText(run.ID, "without a name"),
		Subtitle: b.subtitle(),
		Banner:   b.banner(),
	}
	if found := b.findings(); len(found) > 0 {
		doc.add(section{ID: b.id("in-short"), Title: "In short", Level: 2, Blocks: []block{listed(found)}})
	}
	for i, p := range run.Profiles {
		doc.Sections = append(doc.Sections, b.profile(p, i == 0)...)
	}
	if len(run.Profiles) == 0 {
		doc.add(section{ID: b.id("profiles"), Title: "Measurements", Level: 2, Blocks: []block{prose("This run holds no profile, so nothing was measured.")}})
	}
	doc.add(b.correctness(), b.notCounted(), b.settings(), b.environment(), b.limits(), b.words(), b.repeat(), b.everyTrial())
	return doc
}

func (d *document) add(s ...section) { d.Sections = append(d.Sections, s...) }

func (b *builder) subtitle() string {
	s := "Started " + b.run.Started.UTC().Format("2006-01-02 15:04:05 UTC")
	if b.run.DurationS > 0 && finite(b.run.DurationS) {
		s += ", took " + time.Duration(b.run.DurationS*float64(time.Second)).Round(time.Second).String()
	}
	return s + fmt.Sprintf(". Revision %s, seed %d.", orText(b.run.Revision, "unknown"), b.run.Seed)
}

// profile is everything that was measured under one set of timing settings.
func (b *builder) profile(p metrics.Profile, first bool) []section {
	intro := orText(p.Title, "Profile "+p.Name+".")
	if first {
		intro += " This profile is the headline."
	}
	if !p.Ranked {
		intro += " Its backends are shown as shipped and must not be ranked against each other."
	}
	out := []section{{ID: b.id("profile", p.Name), Title: "Profile " + p.Name, Level: 2, Blocks: []block{prose(intro)}}}
	sub := func(title string, blocks ...block) {
		if len(blocks) > 0 {
			out = append(out, section{ID: b.id(p.Name, title), Title: title, Level: 3, Blocks: blocks})
		}
	}
	sub("Backend × scenario", b.headline(p)...)
	sub("Every outage", optional(b.outageFigure(p))...)
	sub("Where the time goes", b.whereTheTimeGoes(p)...)
	sub("Outage minus detection", b.remainder(p)...)
	sub("Comparisons", b.compare(p)...)
	sub("Embedded: who led the coordination service", b.split(p)...)
	sub("Other partitions and the control plane", b.classes(p)...)
	sub("What real clients saw", b.clients(p)...)
	sub("Timelines", b.timelineBlocks(p)...)
	sub("Steady throughput", b.throughput(p)...)
	sub("Cost", b.cost(p)...)
	return out
}

func optional(f *figure) []block {
	if f == nil {
		return nil
	}
	return []block{drawn(f)}
}

func (b *builder) whereTheTimeGoes(p metrics.Profile) []block {
	blocks := optional(b.phaseFigure(p))
	if t := b.phaseTable(p); len(t.Rows) > 0 {
		blocks = append(blocks, tabled(t))
	}
	return blocks
}

func (b *builder) compare(p metrics.Profile) []block {
	if !p.Ranked {
		return []block{prose("This profile is not ranked: no ratios are drawn.")}
	}
	list := b.comparisons(p)
	if len(list) == 0 {
		return []block{prose("Nothing to compare: it takes the reference backend and at least one other with counted trials.")}
	}
	return []block{drawn(b.forestFigure(p, list)), tabled(b.comparisonTable(p, list))}
}

func (b *builder) timelineBlocks(p metrics.Profile) []block {
	var blocks []block
	for _, l := range b.lines(p.Name, "failover") {
		if l.variant != "" && b.hasPlain(p, l) {
			continue
		}
		figs := b.timelines(p, l.scenario)
		if len(figs) == 0 {
			continue
		}
		f := &fold{Summary: fmt.Sprintf("%s: %s", orText(l.scenario.Title, l.scenario.Name), plural(len(figs), "timeline", "timelines"))}
		for _, fig := range figs {
			f.Blocks = append(f.Blocks, drawn(fig))
		}
		blocks = append(blocks, block{Fold: f})
	}
	if len(blocks) == 0 {
		return []block{prose("No timeline was recorded.")}
	}
	return append([]block{prose("For each backend the typical trial (its outage is nearest the median) and the worst. The shaded window is the fault, dashed lines are the ends of the phases. No latency is clipped; records are counted where they were acknowledged, so the burst after an outage is what had waited. All timelines of one scenario share their axes.")}, blocks...)
}

func (b *builder) hasPlain(p metrics.Profile, l line) bool {
	for _, c := range b.run.Cells {
		if c.Profile == p.Name && c.Scenario == l.scenario.Name && c.Variant == "" {
			return true
		}
	}
	return false
}
