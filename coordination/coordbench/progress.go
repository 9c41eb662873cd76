package coordbench

import (
	"fmt"
	"io"
	"time"
)

// progress tells where the run is. One goroutine uses it.
type progress struct {
	out             io.Writer
	o               Options
	began           time.Time
	finished, total int
	expected, took  time.Duration // of what is finished: by the estimate, and in truth
	left            time.Duration // by the estimate
}

func newProgress(o Options) progress {
	p := progress{out: o.Progress, o: o, began: time.Now(), total: len(o.Cells) * len(o.Backends) * o.Rounds}
	for _, c := range o.Cells {
		p.left += o.cost(c) * time.Duration(len(o.Backends)*o.Rounds)
	}
	return p
}

func (p *progress) say(format string, args ...any) {
	fmt.Fprintf(p.out, format+"\n", args...)
}

// done tells of a measurement.
func (p *progress) done(c Cell, s *service, round int, res *result, took time.Duration) {
	cost := p.o.cost(c)
	p.finished++
	p.expected, p.took, p.left = p.expected+cost, p.took+took, p.left-cost
	left := time.Duration(float64(p.left) * min(max(float64(p.took)/float64(p.expected), 0.5), 4)).Round(time.Second)
	text := "no figure: " + res.reason
	if r := ratioOf(res.pairs[max(0, len(res.pairs)-maxPairs):]); r != nil {
		text = fmt.Sprintf("layer %s, raw %s, ratio %.2f", shortMs(res.layer.samples), shortMs(res.raw.samples), r.Value)
	}
	p.say("[%*d/%d] round %d  %-46s %-9s %s; %s left", len(fmt.Sprint(p.total)), p.finished, p.total, round, c, title(s.backend), text, left)
}

func shortMs(samples []float64) string { return fmt.Sprintf("%.2f ms", median(samples)) }
