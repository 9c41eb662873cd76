package fault

import (
	"net/netip"
	"sync"

	"github.com/regency-project/regency/coordination/link"
)

// Wire is what connects two parties: a whole link, or one source's share of a link. What several faults do to it adds up.
type Wire struct {
	link   *link.Link
	source netip.Addr // of the share; the zero address: the whole link

	mu struct {
		sync.Mutex
		rules map[*links]link.Rule
	}
}

// NewWire makes a wire of a link, or of the share of those that dial from source. A link must not be both.
func NewWire(l *link.Link, source netip.Addr) *Wire {
	w := &Wire{link: l, source: source}
	w.mu.rules = make(map[*links]link.Rule)
	return w
}

func (w *Wire) set(by *links, r link.Rule) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.rules[by] = r
	w.apply()
}

func (w *Wire) clear(by *links) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.mu.rules, by)
	w.apply()
}

func (w *Wire) apply() {
	var sum link.Rule
	for _, r := range w.mu.rules {
		sum.Refuse = sum.Refuse || r.Refuse
		sum.Unreachable = sum.Unreachable || r.Unreachable
		sum.Up, sum.Down = both(sum.Up, r.Up), both(sum.Down, r.Down)
	}
	switch {
	case !w.source.IsValid():
		w.link.Set(sum)
	case len(w.mu.rules) == 0:
		w.link.ClearFrom(w.source)
	default:
		w.link.SetFrom(w.source, sum)
	}
}

func both(a, b link.Flow) link.Flow {
	sum := link.Flow{Drop: a.Drop || b.Drop, Hold: a.Hold || b.Hold, Delay: a.Delay + b.Delay, Jitter: a.Jitter + b.Jitter, Rate: a.Rate}
	if sum.Rate == 0 || b.Rate != 0 && b.Rate < sum.Rate {
		sum.Rate = b.Rate
	}
	return sum
}

func (w *Wire) mine(c link.Conn) bool { return !w.source.IsValid() || c.Source.Addr() == w.source }

// conns lists the wire's connections.
func (w *Wire) conns() []link.Conn {
	var list []link.Conn
	for _, c := range w.link.Conns() {
		if w.mine(c) {
			list = append(list, c)
		}
	}
	return list
}

func (w *Wire) reset() { w.link.ResetIf(w.mine) }
