package run

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/plan"
)

// progress tells the terminal where the run is. One goroutine uses it.
type progress struct {
	out      io.Writer
	terminal bool
	estimate estimator
	now      func() time.Time

	total, finished int
	todo            []plan.Block // what is left, the current block first
	begun           int          // number of the block whose first trial is over: what it took to start is spent
	learned         map[string]*mean
	planned, took   time.Duration // of what is finished, by the estimate and in truth
	last            time.Time     // when the newest trial or cluster began
	pending         bool          // a line without end stands on the terminal
}

// mean of what trials of a cell, or the rest of a backend's blocks, took so far.
type mean struct {
	n   int
	sum time.Duration
}

func newProgress(out io.Writer, e estimator) *progress {
	g := &progress{out: out, estimate: e, now: time.Now, learned: make(map[string]*mean)}
	g.last = g.now()
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		g.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return g
}

// expect adds blocks to what is to do.
func (g *progress) expect(blocks []plan.Block) {
	g.todo = append(g.todo, blocks...)
	for _, b := range blocks {
		g.total += len(b.Items)
	}
}

// skipped takes the newest expected block as finished.
func (g *progress) skipped(b plan.Block) {
	g.todo = g.todo[:len(g.todo)-1]
	g.finished += len(b.Items)
}

func cellOf(b plan.Block, item plan.Item) string {
	return b.Profile + "/" + item.Scenario + "/" + b.Backend
}

// left is what remains by what was measured: each trial like those of its cell before, and what was not yet run by the estimate, scaled as all of the
// run was off it.
func (g *progress) left() time.Duration {
	factor := 1.0
	if g.planned > 0 {
		factor = min(max(g.took.Seconds()/g.planned.Seconds(), 0.5), 4)
	}
	total := time.Duration(0)
	add := func(key string, estimated time.Duration) {
		if m := g.learned[key]; m != nil {
			total += m.sum / time.Duration(m.n)
			return
		}
		total += time.Duration(factor * float64(estimated))
	}
	for i, b := range g.todo {
		if i > 0 || b.Number != g.begun {
			add(b.Backend, g.estimate.overhead(b))
		}
		for _, item := range b.Items {
			add(cellOf(b, item), g.estimate.item(b, item))
		}
	}
	return total.Round(time.Second)
}

func (g *progress) learn(key string, took time.Duration) {
	if g.learned[key] == nil {
		g.learned[key] = &mean{}
	}
	g.learned[key].n++
	g.learned[key].sum += max(took, 0)
}

func (g *progress) header(m metrics.Manifest) {
	g.line("run %s · seed %d · %d trials in %d blocks · about %s", m.ID, m.Seed, g.total, len(g.todo), minutes(g.left()))
	for _, b := range m.Backends {
		if b.Status != metrics.StatusOK {
			g.line("not run: %s: %s", b.Name, b.Reason)
		}
	}
	for _, w := range m.Warnings {
		g.line("warning: %s", w)
	}
}

func minutes(d time.Duration) string {
	switch {
	case d < 90*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 100*time.Minute:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
}

// close ends the current block: what is left of it will not be run.
func (g *progress) close(b plan.Block) {
	if len(g.todo) == 0 || g.todo[0].Number != b.Number {
		return
	}
	g.finished += len(g.todo[0].Items)
	g.todo = g.todo[1:]
}

func (g *progress) cluster(b plan.Block) {
	g.last = g.now()
	g.status(fmt.Sprintf("starting a cluster of %d brokers on %s (%s)", b.Cluster.Brokers, b.Backend, b.Profile))
}

// status is shown on a terminal until the next line. It never wraps: a wrapped line could not be taken back.
func (g *progress) status(text string) {
	if !g.terminal {
		return
	}
	line := fmt.Sprintf("[%d/%d] %s · %s left", g.finished, g.total, text, minutes(g.left()))
	fmt.Fprintf(g.out, "\r\033[K%s", Cut(line, Columns(g.out, 80)-1))
	g.pending = true
}

// Columns is the width of the terminal that w is, which may change at any time, or else what is given.
func Columns(w io.Writer, otherwise int) int {
	if f, ok := w.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
			return int(size.Col)
		}
	}
	return otherwise
}

// Cut shortens a line to n characters and shows that it did.
func Cut(line string, n int) string {
	r := []rune(line)
	if len(r) <= n || n < 1 {
		return line
	}
	return string(r[:n-1]) + "…"
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
	now := g.now()
	took, estimated := now.Sub(g.last), g.estimate.item(b, item)
	g.last = now
	g.took += took
	g.planned += estimated
	if item == b.Items[0] { // the cluster's start is in it
		g.begun = b.Number
		g.planned += g.estimate.overhead(b) - readBackCost
		g.learn(b.Backend, took-estimated+readBackCost)
	} else {
		g.learn(cellOf(b, item), took)
	}
	g.forget(item)
	g.line("[%d/%d] %s · %s left", g.finished, g.total, g.text(item, t), minutes(g.left()))
	g.status("next trial")
}

// forget takes a trial from what is to do.
func (g *progress) forget(done plan.Item) {
	if len(g.todo) == 0 {
		return
	}
	items := g.todo[0].Items
	for i, item := range items {
		if item.Trial == done.Trial {
			g.todo[0].Items = append(items[:i:i], items[i+1:]...)
			return
		}
	}
}

// added counts a trial that the plan did not hold.
func (g *progress) added(b plan.Block, item plan.Item) {
	g.total++
	if len(g.todo) > 0 && g.todo[0].Number == b.Number {
		g.todo[0].Items = append(g.todo[0].Items[:len(g.todo[0].Items):len(g.todo[0].Items)], item)
	}
}

func (g *progress) repeated(item plan.Item, t metrics.Trial) {
	g.last = g.now()
	g.note("%s", g.text(item, t))
}

func (g *progress) failed(item plan.Item, err error) { g.note("%s: %v", item.Trial, err) }

func (g *progress) end() {
	if g.pending {
		fmt.Fprintln(g.out)
		g.pending = false
	}
}
