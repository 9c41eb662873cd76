package report

import (
	"fmt"
	"math"
	"slices"

	"github.com/regency-project/regency/bench/metrics"
)

const (
	laneHeight = 12.0
	laneLimit  = 16
)

// chooseLanes picks what a picture can hold: the controllership, then the partitions whose leader changed, then the others, in their order.
func chooseLanes(s *metrics.Series) []metrics.Lane {
	lanes := slices.Clone(s.Lanes)
	if len(lanes) <= laneLimit {
		return lanes
	}
	rank := func(l metrics.Lane) int {
		switch {
		case l.Partition < 0:
			return 0
		case len(l.Spans) > 1:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(lanes, func(a, b metrics.Lane) int { return rank(a) - rank(b) })
	return lanes[:laneLimit]
}

func lanesHeight(lanes []metrics.Lane) float64 {
	return max(float64(len(lanes)), 2) * laneHeight
}

// drawLanes shows who led each partition, one line each; a gap is a time without a leader.
func drawLanes(c *canvas, t axis, lanes []metrics.Lane, all int, y float64) {
	title := "leader by broker number; a gap is a time without one"
	if len(lanes) < all {
		title += fmt.Sprintf(" (%d of %d lanes: the controller and the changed ones first)", len(lanes), all)
	}
	c.text(t.from, y-5, "start", "title", title)
	if len(lanes) == 0 {
		c.text(t.from+6, y+16, "start", "mut ital", "not recorded")
		return
	}
	for i, l := range lanes {
		top := y + float64(i)*laneHeight
		name := "controller"
		if l.Partition >= 0 {
			name = fmt.Sprintf("%s-%d", ellipsis(l.Topic, 6), l.Partition)
		}
		c.text(t.from-6, top+9, "end", "small mut", name)
		for _, s := range l.Spans {
			drawSpan(c, t, s, top)
		}
	}
}

func drawSpan(c *canvas, t axis, s metrics.Span, top float64) {
	to := t.high
	until := "the end"
	if s.ToMs != nil && finite(*s.ToMs) {
		to, until = *s.ToMs, secondsTick(*s.ToMs)+" s"
	}
	if !finite(s.FromMs) || to <= t.low || s.FromMs >= t.high {
		return
	}
	x1, x2 := t.pos(clamp(s.FromMs, t.low, t.high)), t.pos(clamp(to, t.low, t.high))
	tint := int(math.Abs(float64(s.Broker))) % 6
	c.rect(x1, top+1, max(x2-x1, 1), laneHeight-2, fmt.Sprintf("lane l%d", tint),
		fmt.Sprintf("broker %d, epoch %d, from %s s to %s", s.Broker, s.Epoch, secondsTick(s.FromMs), until))
	if x2-x1 > 14 {
		c.text(x1+4, top+9, "start", "lanetext", fmt.Sprint(s.Broker))
	}
}
