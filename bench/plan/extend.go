package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/regency-project/regency/bench/scenario"
)

// Need is a row of cells that wants more trials: a scenario under a profile, on every backend, since only trials of the same time compare.
type Need struct{ Profile, Scenario string }

// Extend appends one round of blocks for the needs: of each, perBlock more trials on every backend in A B C D, and as many in D C B A. A scenario gets
// no more than most trials on a backend; false says that nothing was left to append. The round is a pure function of the plan so far, the options and
// the needs: the seed and the number of the first new block draw its order.
func (p *Plan) Extend(o Options, needs []Need, most int) bool {
	if o.Absent == nil {
		o.Absent = func(string, string) bool { return false }
	}
	from := len(p.Blocks)
	rng := rand.New(rand.NewPCG(o.Seed, 0x6d6f7265+uint64(from)<<32))
	for _, profile := range o.Profiles {
		var wanted []scenario.Scenario
		for _, s := range o.Scenarios {
			if slices.Contains(needs, Need{profile, s.Name}) && p.planned(profile, s.Name) < most {
				wanted = append(wanted, s)
			}
		}
		for _, group := range groups(wanted) {
			first := func(s scenario.Scenario) int { return p.planned(profile, s.Name) }
			last := func(s scenario.Scenario) int { return min(first(s)+2*perBlock, most) }
			p.Blocks = append(p.Blocks, rename(planGroup(rng, o, profile, group, span{from: first, to: last}), from)...)
		}
	}
	p.number(from)
	return len(p.Blocks) > from
}

// rename tells the warm-ups of a round from those of the plan before it.
func rename(blocks []Block, from int) []Block {
	for _, b := range blocks {
		for i := range b.Items {
			if !b.Items[i].Counted {
				b.Items[i].Trial = strings.Replace(b.Items[i].Trial, "/warm-up-", fmt.Sprintf("/warm-up-%d-", from), 1)
			}
		}
	}
	return blocks
}

// planned counts the trials of a scenario under a profile on that backend which has the most.
func (p *Plan) planned(profile, name string) int {
	count := map[string]int{}
	most := 0
	for _, b := range p.Blocks {
		for _, item := range b.Items {
			if b.Profile == profile && item.Scenario == name && item.Counted {
				count[b.Backend]++
				most = max(most, count[b.Backend])
			}
		}
	}
	return most
}

// Shard keeps the blocks of one of n parts, with their numbers, so that parts can be run apart and merged. The rounds A B C D, D C B A of a group are
// dealt out in turn: each part holds every backend at every place as often, as far as there are rounds.
func (p Plan) Shard(part, n int) (Plan, error) {
	if n < 1 || part < 1 || part > n {
		return Plan{}, fmt.Errorf("shard %d of %d: choose 1/n to n/n", part, n)
	}
	q := Plan{Seed: p.Seed}
	round, seen, group := -1, map[string]int{}, ""
	for _, b := range p.Blocks {
		if g := b.Profile + b.key(); g != group {
			group, seen = g, map[string]int{}
			round++
		} else if seen[b.Backend] == 2 { // both A B C D and D C B A are over
			seen = map[string]int{}
			round++
		}
		seen[b.Backend]++
		if round%n == part-1 {
			q.Blocks = append(q.Blocks, b)
		}
	}
	if len(q.Blocks) == 0 {
		return Plan{}, fmt.Errorf("shard %d of %d: nothing is left for it: the plan has %d rounds", part, n, round+1)
	}
	return q, nil
}

// key tells clusters apart.
func (b Block) key() string {
	return fmt.Sprintf("%+v", b.Cluster)
}
