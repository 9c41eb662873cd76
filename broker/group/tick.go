package group

import (
	"maps"
	"slices"
	"time"
)

func (Tick) apply(g *Group, now time.Time) {
	g.expirePending(now)
	g.expireMembers(now)
	switch {
	case g.State == PreparingRebalance && !now.Before(g.waitUntil):
		g.expireJoin(now)
	case g.State == CompletingRebalance && !now.Before(g.waitUntil):
		g.expireSync(now)
	case g.idle() && !now.Before(g.expires()):
		g.delete(0, now)
	}
}

func (g *Group) expirePending(now time.Time) {
	before := len(g.pending)
	maps.DeleteFunc(g.pending, func(_ string, lapse time.Time) bool { return !now.Before(lapse) })
	if len(g.pending) < before {
		g.tryComplete(now)
	}
}

func (g *Group) expireMembers(now time.Time) {
	lost := false
	for _, m := range g.ordered() {
		if !m.waiting() && !now.Before(m.expires) {
			g.drop(m, ErrUnknownMember)
			lost = true
		}
	}
	if lost {
		g.afterLoss(now)
	}
}

// expireSync removes the members that did not ask for their assignment in time, the leader above all.
func (g *Group) expireSync(now time.Time) {
	g.waitUntil = now.Add(g.longest())
	lost := false
	for _, m := range g.ordered() {
		if !m.synced {
			g.drop(m, ErrUnknownMember)
			lost = true
		}
	}
	if lost {
		g.afterLoss(now)
	}
}

// idle groups wait for nothing but their end.
func (g *Group) idle() bool { return g.State == Empty && g.inFlight == 0 && len(g.pending) == 0 }

// expires is when a group without members is forgotten.
func (g *Group) expires() time.Time {
	last := g.changed
	for _, c := range g.offsets {
		if c.Time.After(last) {
			last = c.Time
		}
	}
	return last.Add(g.rules.OffsetsRetention)
}

// Deadline is when the next Tick has something to do at the earliest; the zero time is never.
func (g *Group) Deadline() time.Time {
	var at []time.Time
	for _, lapse := range g.pending {
		at = append(at, lapse)
	}
	for _, m := range g.members {
		if !m.waiting() {
			at = append(at, m.expires)
		}
	}
	switch {
	case g.State == PreparingRebalance || g.State == CompletingRebalance:
		at = append(at, g.waitUntil)
	case g.idle() && !g.Removable():
		at = append(at, g.expires())
	}
	if len(at) == 0 {
		return time.Time{}
	}
	return slices.MinFunc(at, time.Time.Compare)
}
