package run

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"github.com/regency-project/regency/bench/archive"
	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/plan"
	"github.com/regency-project/regency/bench/timeline"
)

// adviceWidth is the relative half width of an interval above which more trials are advised.
const adviceWidth = 0.1

func checkUntil(u *metrics.Until) error {
	switch {
	case u == nil:
		return nil
	case u.Width < 0.005 || u.Width > 1:
		return fmt.Errorf("a half width of %g %%: choose from 0.5 %% to 100 %%", 100*u.Width)
	case u.Trials < 10 || u.Trials > 10000:
		return fmt.Errorf("at most %d trials: choose from 10, below which there is no interval, to 10000", u.Trials)
	}
	return nil
}

// extend appends a round of blocks to the plan when the intervals are not yet narrow enough; false when the run is to end.
//
// Stopping by the width of an interval does not favour any backend: whether one is ahead plays no part in it.
func (e *engine) extend() (bool, error) {
	if e.o.Until == nil {
		return false, nil
	}
	events, err := timeline.Read(filepath.Join(e.dir, archive.TimelineFile)) // all finished blocks were flushed
	if err != nil {
		return false, err
	}
	m, err := metrics.Compute(e.manifest, events)
	if err != nil {
		return false, err
	}
	wide := wideCells(e.manifest, m, e.o.Until.Width)
	from := len(e.plan.Blocks)
	if len(wide) == 0 || !e.plan.Extend(e.o.planOptions(), rows(wide), e.o.Until.Trials) {
		return false, nil
	}
	e.manifest.Plan = e.plan
	e.progress.note("%d cells have intervals wider than ±%g %%: %d blocks more", len(wide), 100*e.o.Until.Width, len(e.plan.Blocks)-from)
	e.progress.expect(e.plan.Blocks[from:])
	return true, e.writeManifest()
}

// wideCell is a cell whose headline is not known well enough.
type wideCell struct {
	metrics.Cell
	width float64 // relative; 0: there is no interval
}

// wideCells lists the cells with a headline whose interval is wider than asked for, or that have none. What was never to have many trials is left out.
func wideCells(m metrics.Manifest, r metrics.Run, width float64) []wideCell {
	var wide []wideCell
	for _, c := range r.Cells {
		_, limited := m.ProfileTrials[c.Profile]
		if limited || c.Variant != "" || c.Headline == nil {
			continue
		}
		h := c.Headline
		switch {
		case h.CI == nil:
			wide = append(wide, wideCell{c, 0})
		case h.Median > 0 && halfWidth(h) > width:
			wide = append(wide, wideCell{c, halfWidth(h)})
		}
	}
	return wide
}

// halfWidth of the interval, relative to the median.
func halfWidth(h *metrics.Summary) float64 { return (h.CI.High - h.CI.Low) / 2 / h.Median }

func rows(cells []wideCell) []plan.Need {
	var needs []plan.Need
	for _, c := range cells {
		if n := (plan.Need{Profile: c.Profile, Scenario: c.Scenario}); !slices.Contains(needs, n) {
			needs = append(needs, n)
		}
	}
	return needs
}

// advice says how many trials would do for the cells whose interval is wide: its width falls with the square root of their number.
func advice(m metrics.Manifest, r metrics.Run) []string {
	var list []string
	few := 0
	for _, c := range wideCells(m, r, adviceWidth) {
		if c.width == 0 {
			few++
			continue
		}
		n := int(math.Ceil(float64(c.Headline.N) * math.Pow(c.width/adviceWidth, 2)))
		list = append(list, fmt.Sprintf("%s/%s/%s: ±%.0f %% with %d trials; about %d trials would give ±%.0f %%",
			c.Backend, c.Profile, c.Scenario, 100*c.width, c.Headline.N, n, 100*adviceWidth))
	}
	if few > 0 {
		list = append(list, fmt.Sprintf("cells that have too few valid trials for an interval, which takes 10: %d", few))
	}
	return list
}
