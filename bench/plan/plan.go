// Package plan orders the trials of a run.
//
// A cluster is started once a block and healed between the trials in it. The blocks of one group (all backends under one profile, with one shape of
// cluster) run as A B C D, D C B A, …: whatever drifts with time (temperature, page cache, disk fill) then hits every backend alike. The letters and
// the order of trials in a block come from the seed.
package plan

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/regency-project/regency/bench/scenario"
)

// perBlock is how many trials of one scenario a block takes at most: few enough that each cell is spread over blocks of different clusters.
const perBlock = 4

// Options say what to plan.
type Options struct {
	Backends  []string
	Profiles  []string
	Scenarios []scenario.Scenario
	Trials    int // of each failover scenario on each backend
	Seed      uint64
	// Absent says that there are no settings for a backend under a profile: it is left out there. Nil: there always are.
	Absent func(backend, profile string) bool
}

// Plan is the order of everything. It is a pure function of its Options.
type Plan struct {
	Seed   uint64  `json:"seed"`
	Blocks []Block `json:"blocks"`
}

// Block is one life of a cluster.
type Block struct {
	Number  int              `json:"number"` // from 1
	Backend string           `json:"backend"`
	Profile string           `json:"profile"`
	Cluster scenario.Cluster `json:"cluster"`
	Items   []Item           `json:"items"`
}

// Item is one trial.
type Item struct {
	Trial    string `json:"trial"` // backend/profile/scenario/number
	Scenario string `json:"scenario"`
	Counted  bool   `json:"counted"`
}

// Rounds is how many trials a throughput scenario gets: each is short and steady, so that fewer than kills suffice: a third of them, and at least 3.
func Rounds(trials int) int { return max(3, trials/3) }

// Make plans a run.
func Make(o Options) (Plan, error) {
	if o.Trials < 1 || o.Trials > 10000 {
		return Plan{}, fmt.Errorf("plan a run: %d trials: choose from 1 to 10000", o.Trials)
	}
	if len(o.Backends) == 0 || len(o.Profiles) == 0 || len(o.Scenarios) == 0 {
		return Plan{}, errors.New("plan a run: it needs a backend, a profile and a scenario")
	}
	p := Plan{Seed: o.Seed}
	if o.Absent == nil {
		o.Absent = func(string, string) bool { return false }
	}
	rng := rand.New(rand.NewPCG(o.Seed, 0x706c616e))
	for _, profile := range o.Profiles {
		for _, group := range groups(o.Scenarios) {
			p.Blocks = append(p.Blocks, planGroup(rng, o, profile, group)...)
		}
	}
	for i := range p.Blocks {
		p.Blocks[i].Number = i + 1
	}
	if len(p.Blocks) == 0 {
		return Plan{}, fmt.Errorf("plan a run: none of the profiles %v has settings for any of %v", o.Profiles, o.Backends)
	}
	return p, nil
}

// groups puts scenarios together that can share a cluster.
func groups(list []scenario.Scenario) [][]scenario.Scenario {
	var groups [][]scenario.Scenario
	for _, s := range list {
		i := slices.IndexFunc(groups, func(g []scenario.Scenario) bool { return g[0].Cluster.Equal(s.Cluster) })
		if i < 0 {
			groups = append(groups, nil)
			i = len(groups) - 1
		}
		groups[i] = append(groups[i], s)
	}
	return groups
}

func planGroup(rng *rand.Rand, o Options, profile string, group []scenario.Scenario) []Block {
	passes := 1
	for _, s := range group {
		passes = max(passes, (count(s, o.Trials)+perBlock-1)/perBlock)
	}
	if passes > 1 && passes%2 == 1 {
		passes++ // each A B C D has its D C B A
	}
	order := slices.DeleteFunc(slices.Clone(o.Backends), func(b string) bool { return o.Absent(b, profile) })
	var blocks []Block
	for pass := range passes {
		if pass%2 == 0 {
			rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		} else {
			slices.Reverse(order)
		}
		for _, backend := range order {
			items := planItems(rng, backend, profile, group, o.Trials, pass, passes)
			blocks = append(blocks, Block{Backend: backend, Profile: profile, Cluster: group[0].Cluster, Items: items})
		}
	}
	return blocks
}

func count(s scenario.Scenario, trials int) int {
	if s.Kind == scenario.Throughput {
		return Rounds(trials)
	}
	return trials
}

// planItems takes this pass's share of every scenario's trials. Failovers are shuffled; saturation comes last, because it may shake what follows it.
func planItems(rng *rand.Rand, backend, profile string, group []scenario.Scenario, trials, pass, passes int) []Item {
	var faults, rounds []Item
	for _, s := range group {
		n := count(s, trials)
		for k := n*pass/passes + 1; k <= n*(pass+1)/passes; k++ {
			item := Item{Trial: fmt.Sprintf("%s/%s/%s/%d", backend, profile, s.Name, k), Scenario: s.Name, Counted: true}
			if s.Kind == scenario.Throughput {
				rounds = append(rounds, item)
			} else {
				faults = append(faults, item)
			}
		}
	}
	rng.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
	if len(faults) > 0 {
		// The first failover of a cluster pays for cold paths: it is run and not counted.
		warm := Item{Trial: fmt.Sprintf("%s/%s/%s/warm-up-%d", backend, profile, faults[0].Scenario, pass+1), Scenario: faults[0].Scenario}
		faults = append([]Item{warm}, faults...)
	}
	slices.SortStableFunc(rounds, func(a, b Item) int { return cmp.Compare(a.Scenario, b.Scenario) })
	return append(faults, rounds...)
}

// Trials counts the items of the plan, those that are not counted included.
func (p Plan) Trials() int {
	n := 0
	for _, b := range p.Blocks {
		n += len(b.Items)
	}
	return n
}
