package fault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/regency-project/regency/bench/timeline"
	"github.com/regency-project/regency/coordination/link"
)

// Leg is a wire as the target of a fault sees it.
type Leg struct {
	Wire *Wire
	Out  bool // the target is who dials: what goes up the wire is from it
}

// Direction of bytes, as the target of a fault sees them.
type Direction uint8

// The directions.
const (
	Both Direction = iota
	To
	From
)

// settle is how long a byte that was under way when a rule changed may take to be counted.
const settle = 20 * time.Millisecond

// links is a fault of links.
type links struct {
	verb      string
	legs      []Leg
	direction Direction
	cut       bool
	flow      link.Flow
	asked     int64
	before    []map[uint64]link.Conn // of each leg, when the rules held
	active    bool
}

// Cut resets all connections and refuses new ones.
func Cut(legs ...Leg) Fault { return &links{verb: "cut", legs: legs, cut: true} }

// Blackhole lets nothing pass in the direction; connections stay open.
func Blackhole(d Direction, legs ...Leg) Fault {
	return &links{verb: "black-hole", legs: legs, direction: d, flow: link.Flow{Drop: true}}
}

// Shape delays what passes in the direction, and limits it to a rate (bytes a second and connection; 0: no limit).
func Shape(d Direction, delay, jitter time.Duration, rate int, legs ...Leg) Fault {
	return &links{verb: "shape", legs: legs, direction: d, flow: link.Flow{Delay: delay, Jitter: jitter, Rate: rate}}
}

func (f *links) SetUp(context.Context) error {
	if len(f.legs) == 0 {
		return fmt.Errorf("%s: there are no such links", f.verb)
	}
	return nil
}

// rule is what happens to a leg.
func (f *links) rule(l Leg) link.Rule {
	if f.cut {
		return link.Rule{Refuse: true}
	}
	r := link.Rule{Unreachable: f.flow.Drop && f.direction == Both}
	if f.affects(l, link.Up) {
		r.Up = f.flow
	}
	if f.affects(l, link.Down) {
		r.Down = f.flow
	}
	return r
}

// affects: what goes up is from who dials.
func (f *links) affects(l Leg, d link.Direction) bool {
	from := (d == link.Up) == l.Out
	return f.direction == Both || from == (f.direction == From)
}

func (f *links) Inject(context.Context) error {
	f.asked, f.active = timeline.Now(), true
	for _, l := range f.legs {
		l.Wire.set(f, f.rule(l))
		if f.cut {
			l.Wire.reset()
		}
	}
	return nil
}

// Observe: a cut has taken effect when no connection is left. A rule holds from when it was set; that nothing passed is seen at the end.
func (f *links) Observe(ctx context.Context) (Effect, error) {
	e := Effect{Asked: f.asked, Effect: timeline.Now()}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if f.cut {
		err := await(ctx, func() bool {
			for _, l := range f.legs {
				for _, c := range l.Wire.conns() {
					if c.Up+c.Down > 0 { // one that is being refused has carried nothing
						return false
					}
				}
			}
			return true
		})
		if err != nil {
			return Effect{}, fmt.Errorf("%s: connections are still there: %w", f.verb, err)
		}
		e.Effect = timeline.Now()
	} else if err := await(ctx, func() bool { return timeline.Now()-e.Effect >= settle.Nanoseconds() }); err != nil {
		return Effect{}, fmt.Errorf("%s: %w", f.verb, err)
	}
	f.before = f.snapshot()
	return e, nil
}

func (f *links) snapshot() []map[uint64]link.Conn {
	list := make([]map[uint64]link.Conn, len(f.legs))
	for i, l := range f.legs {
		list[i] = make(map[uint64]link.Conn)
		for _, c := range l.Wire.conns() {
			list[i][c.ID] = c
		}
	}
	return list
}

// passed counts what the affected directions have carried since the snapshot.
func (f *links) passed(since []map[uint64]link.Conn) int64 {
	var sum int64
	for i, l := range f.legs {
		for _, c := range l.Wire.conns() {
			old := since[i][c.ID]
			if f.cut || f.affects(l, link.Up) {
				sum += c.Up - old.Up
			}
			if f.cut || f.affects(l, link.Down) {
				sum += c.Down - old.Down
			}
		}
	}
	return sum
}

// Recover takes the rules away. That they held is judged by what passed meanwhile: nothing, or, where the fault only slows down, something.
func (f *links) Recover(context.Context) error {
	n := f.passed(f.before)
	if err := f.CleanUp(); err != nil {
		return err
	}
	f.before = f.snapshot()
	stops := f.cut || f.flow.Drop
	if stops && n > 0 {
		return fmt.Errorf("%s: %d bytes passed while nothing should", f.verb, n)
	}
	if !stops && n == 0 {
		return fmt.Errorf("%s: nothing passed that could have been slowed down", f.verb)
	}
	return nil
}

// recoverLimit bounds the wait for traffic on links that are whole again. Clients that were refused for long pause between their tries.
const recoverLimit = 30 * time.Second

// AwaitRecovered returns when something passes.
func (f *links) AwaitRecovered(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, recoverLimit, errors.New("nothing passes"))
	defer cancel()
	if err := await(ctx, func() bool { return f.passed(f.before) > 0 }); err != nil {
		return fmt.Errorf("%s, after its end: %w", f.verb, err)
	}
	return nil
}

func (f *links) CleanUp() error {
	if !f.active {
		return nil
	}
	f.active = false
	for _, l := range f.legs {
		l.Wire.clear(f)
	}
	return nil
}
