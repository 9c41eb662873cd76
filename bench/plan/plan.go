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

// roundsPerBlock bounds what all throughput scenarios of a block write: a cluster's data stay until its end.
const roundsPerBlock = 6

// mostTrials bounds a cell.
const mostTrials = 10000

// Options say what to plan.
type Options struct {
	Backends  []string
	Profiles  []string
	Scenarios []scenario.Scenario
	Trials    int // of each failover scenario on each backend
	// ScenarioTrials replaces Trials for a scenario, by name, and is then exact for a throughput scenario too.
	ScenarioTrials map[string]int
	// ProfileTrials is the most that a scenario gets under a profile, by name.
	ProfileTrials map[string]int
	Seed          uint64
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
	if err := o.checkTrials(); err != nil {
		return Plan{}, fmt.Errorf("plan a run: %w", err)
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
			p.Blocks = append(p.Blocks, planGroup(rng, o, profile, group, span{to: o.count(profile)})...)
		}
	}
	p.number(0)
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

// span says which numbers the trials of each scenario get: from+1 to to.
type span struct{ from, to func(scenario.Scenario) int }

func (n span) first(s scenario.Scenario) int {
	if n.from == nil {
		return 0
	}
	return n.from(s)
}

func (n span) count(s scenario.Scenario) int { return n.to(s) - n.first(s) }

func planGroup(rng *rand.Rand, o Options, profile string, group []scenario.Scenario, n span) []Block {
	passes, rounds := 1, 0
	for _, s := range group {
		passes = max(passes, (n.count(s)+perBlock-1)/perBlock)
		if s.Kind == scenario.Throughput {
			rounds += n.count(s)
		}
	}
	passes = max(passes, (rounds+roundsPerBlock-1)/roundsPerBlock)
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
			b := Block{Backend: backend, Profile: profile, Cluster: group[0].Cluster}
			b.Items = planItems(rng, b, group, n, pass, passes)
			blocks = append(blocks, b)
		}
	}
	return blocks
}

// checkTrials names numbers that cannot be planned.
func (o Options) checkTrials() error {
	for what, trials := range o.ScenarioTrials {
		if trials < 1 || trials > mostTrials {
			return fmt.Errorf("%d trials of scenario %s: choose from 1 to %d", trials, what, mostTrials)
		}
	}
	for what, trials := range o.ProfileTrials {
		if trials < 1 || trials > mostTrials {
			return fmt.Errorf("%d trials under profile %s: choose from 1 to %d", trials, what, mostTrials)
		}
	}
	if o.Trials < 1 || o.Trials > mostTrials {
		return fmt.Errorf("%d trials: choose from 1 to %d", o.Trials, mostTrials)
	}
	return nil
}

// count says how many trials a scenario gets under a profile.
func (o Options) count(profile string) func(scenario.Scenario) int {
	return func(s scenario.Scenario) int {
		n, exact := o.ScenarioTrials[s.Name]
		if !exact {
			n = o.Trials
		}
		if most, limited := o.ProfileTrials[profile]; limited {
			n = min(n, most)
		}
		if s.Kind == scenario.Throughput && !exact {
			return Rounds(n)
		}
		return n
	}
}

// planItems takes this pass's share of every scenario's trials. Failovers are shuffled; saturation comes last, because it may shake what follows it.
func planItems(rng *rand.Rand, b Block, group []scenario.Scenario, n span, pass, passes int) []Item {
	var faults, rounds []Item
	for _, s := range group {
		count, first := n.count(s), n.first(s)
		for k := count*pass/passes + 1; k <= count*(pass+1)/passes; k++ {
			item := Item{Trial: fmt.Sprintf("%s/%s/%s/%d", b.Backend, b.Profile, s.Name, first+k), Scenario: s.Name, Counted: true}
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
		warm := Item{Trial: fmt.Sprintf("%s/%s/%s/warm-up-%d", b.Backend, b.Profile, faults[0].Scenario, pass+1), Scenario: faults[0].Scenario}
		faults = append([]Item{warm}, faults...)
	}
	slices.SortStableFunc(rounds, func(a, b Item) int { return cmp.Compare(a.Scenario, b.Scenario) })
	return append(faults, rounds...)
}

// number gives each block from i on its number.
func (p *Plan) number(i int) {
	for ; i < len(p.Blocks); i++ {
		p.Blocks[i].Number = i + 1
	}
}

// Trials counts the items of the plan, those that are not counted included.
func (p Plan) Trials() int {
	n := 0
	for _, b := range p.Blocks {
		n += len(b.Items)
	}
	return n
}
