package coordtest

import (
	"math/rand/v2"
	"time"

	"github.com/regency-project/regency/coordination/link"
)

// linkFaults are what may happen to the connections of one process: to all of them, or to those with one member of the service. Each heals what it broke.
func linkFaults(h *historyRun, ls *links) []func(r *rand.Rand) {
	some := func(r *rand.Rand) []*link.Link {
		if r.IntN(2) == 0 {
			return ls.all
		}
		i := r.IntN(len(ls.all))
		return ls.all[i : i+1]
	}
	rule := func(r *rand.Rand, limit time.Duration, rule link.Rule) {
		links := some(r)
		for _, l := range links {
			l.Set(rule)
		}
		h.rest(r, limit)
		for _, l := range links {
			l.Heal()
		}
	}
	return []func(r *rand.Rand){
		func(r *rand.Rand) { // cut, and refused
			links := some(r)
			for _, l := range links {
				l.Cut()
			}
			h.rest(r, 500*time.Millisecond)
			for _, l := range links {
				l.Heal()
			}
		},
		func(r *rand.Rand) { // reset, nothing more
			for _, l := range some(r) {
				l.Reset()
			}
		},
		func(r *rand.Rand) { rule(r, 800*time.Millisecond, link.BlackHole) },
		func(r *rand.Rand) { rule(r, 500*time.Millisecond, link.Rule{Down: link.Flow{Drop: true}}) }, // answers lost
		func(r *rand.Rand) { rule(r, 500*time.Millisecond, link.Rule{Up: link.Flow{Hold: true}}) },   // requests late
		func(r *rand.Rand) { // slow and uneven
			rule(r, 500*time.Millisecond, link.Rule{Up: link.Flow{Delay: 5 * time.Millisecond, Jitter: 20 * time.Millisecond}})
		},
	}
}
