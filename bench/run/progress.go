package run

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/plan"
	"github.com/regency-project/regency/bench/scenario"
)

// progress tells the terminal where the run is. One goroutine uses it.
type progress struct {
	out      io.Writer
	terminal bool
	manifest metrics.Manifest

	total, finished int
	expected        time.Duration // of what is left, by the plan
	planned, took   time.Duration // of what is finished, by the plan and in truth
	last            time.Time     // when the newest item or cluster began
	pending         bool          // a line without end stands on the terminal
}

func newProgress(out io.Writer, m metrics.Manifest, p plan.Plan) *progress {
	g := &progress{out: out, manifest: m, last: time.Now()}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		g.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	for _, b := range p.Blocks {
		g.expected += startCost
		for _, item := range b.Items {
			g.total++
			g.expected += g.cost(b, item)
		}
	}
	return g
}

// Costs that the scenario does not say, as measured on 2 cores.
const (
	startCost = 14 * time.Second // cluster, warm-up, reading back
	healCost  = 3 * time.Second
)

func (g *progress) cost(b plan.Block, item plan.Item) time.Duration {
	for _, s := range g.manifest.Scenarios {
		if s.Name != item.Scenario {
			continue
		}
		if s.Kind == scenario.Throughput {
			return s.Phases.Steady + s.Phases.Round
		}
		d := s.Phases.Steady + s.Phases.Jitter/2 + s.Phases.Recovery + healCost
		for _, info := range g.manifest.Backends {
			if bound := info.BoundOf(b.Profile, s.Main()); info.Name == b.Backend && bound != nil {
				d += time.Duration((bound.LowerMs + bound.UpperMs) / 2 * 1e6)
			}
		}
		return d
	}
	return 0
}

// left scales the plan by what the finished part really took.
func (g *progress) left() time.Duration {
	factor := 1.0
	if g.planned > 0 {
		factor = min(max(g.took.Seconds()/g.planned.Seconds(), 0.5), 4)
	}
	return time.Duration(factor * float64(g.expected)).Round(time.Second)
}

func (g *progress) spend(planned time.Duration) {
	now := time.Now()
	g.took += now.Sub(g.last)
	g.planned += planned
	g.expected -= planned
	g.last = now
}

func (g *progress) header() {
	g.line("run %s · seed %d · %d trials in %d blocks · about %s", g.manifest.ID, g.manifest.Seed, g.total, len(g.manifest.Plan.Blocks), minutes(g.left()))
	for _, b := range g.manifest.Backends {
		if b.Status != metrics.StatusOK {
			g.line("not run: %s: %s", b.Name, b.Reason)
		}
	}
}

func minutes(d time.Duration) string {
	if d < 90*time.Second {
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f min", d.Minutes())
}

// skip leaves out a block whose backend cannot run.
func (g *progress) skip(b plan.Block) {
	g.expected -= startCost
	g.dropIn(b, b.Items)
}

// drop leaves out trials that were given up. Their cost is taken as that of the plan's first block.
func (g *progress) drop(items []plan.Item) { g.dropIn(g.manifest.Plan.Blocks[0], items) }

func (g *progress) dropIn(b plan.Block, items []plan.Item) {
	for _, item := range items {
		g.finished++
		g.expected -= g.cost(b, item)
	}
}

func (g *progress) cluster(b plan.Block) {
	g.last = time.Now()
	g.status(fmt.Sprintf("starting a cluster of %d brokers on %s (%s)", b.Cluster.Brokers, b.Backend, b.Profile))
}

// status is shown on a terminal until the next line.
func (g *progress) status(text string) {
	if g.terminal {
		fmt.Fprintf(g.out, "\r\033[K[%d/%d] %s · %s left", g.finished, g.total, text, minutes(g.left()))
		g.pending = true
	}
}

func (g *progress) line(format string, args ...any) {
	if g.pending {
		fmt.Fprint(g.out, "\r\033[K")
		g.pending = false
	}
	fmt.Fprintf(g.out, format+"\n", args...)
}

func (g *progress) note(format string, args ...any) { g.line("       "+format, args...) }

func (g *progress) text(item plan.Item, t metrics.Trial) string {
	parts := []string{item.Trial}
	if !item.Counted {
		parts = append(parts, "(warm-up, not counted)")
	}
	switch {
	case t.Status != metrics.StatusOK:
		parts = append(parts, strings.ToUpper(t.Status)+": "+strings.Join(t.Reasons, "; "))
	case t.Headline != nil:
		parts = append(parts, fmt.Sprintf("outage %.0f ms", *t.Headline))
		if t.Detect != nil {
			parts = append(parts, fmt.Sprintf("= detection %.0f + %.0f ms", *t.Detect, *t.Remain))
		}
	}
	return strings.Join(parts, " ")
}

func (g *progress) done(b plan.Block, item plan.Item, t metrics.Trial) {
	g.finished++
	planned := g.cost(b, item)
	if item == b.Items[0] {
		planned += startCost
	}
	g.spend(planned)
	g.line("[%d/%d] %s · %s left", g.finished, g.total, g.text(item, t), minutes(g.left()))
	g.status("next trial")
}

// added counts a trial that the plan did not hold.
func (g *progress) added(b plan.Block, item plan.Item) {
	g.total++
	g.expected += g.cost(b, item)
}

func (g *progress) repeated(item plan.Item, t metrics.Trial) {
	g.last = time.Now()
	g.note("%s", g.text(item, t))
}

func (g *progress) failed(item plan.Item, err error) { g.note("%s: %v", item.Trial, err) }

func (g *progress) end() {
	if g.pending {
		fmt.Fprintln(g.out)
		g.pending = false
	}
}
