package plan

import (
	"reflect"
	"strings"
	"testing"

	"github.com/regency-project/regency/bench/scenario"
)

func options(t *testing.T, trials int) Options {
	t.Helper()
	list, err := scenario.Defaults()
	if err != nil {
		t.Fatal(err)
	}
	return Options{Backends: []string{"a", "b", "c", "d"}, Profiles: []string{"matched", "tuned"}, Scenarios: list, Trials: trials, Seed: 42}
}

func TestEveryTrialOnceAndBlocksMirrored(t *testing.T) {
	for _, trials := range []int{1, 2, 3, 5, 7, 15, 40} {
		o := options(t, trials)
		p, err := Make(o)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]int{}
		counted := 0
		for i, b := range p.Blocks {
			if b.Number != i+1 {
				t.Errorf("block %d is numbered %d", i+1, b.Number)
			}
			perScenario := map[string]int{}
			for j, item := range b.Items {
				seen[item.Trial]++
				if item.Counted {
					counted++
					perScenario[item.Scenario]++
				} else if j != 0 {
					t.Errorf("%d trials, block %d: item %d is not counted, only the first may be", trials, b.Number, j)
				}
			}
			for name, n := range perScenario {
				if n > perBlock {
					t.Errorf("%d trials, block %d: %d of %s, want at most %d", trials, b.Number, n, name, perBlock)
				}
			}
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("%d trials: %s is planned %d times", trials, id, n)
			}
		}
		if want := len(o.Backends) * len(o.Profiles) * (3*trials + Rounds(trials)); counted != want {
			t.Errorf("%d trials: %d counted items, want %d", trials, counted, want)
		}
		balanced(t, trials, p, len(o.Backends))
	}
}

// balanced: within every pair of passes, the sum of a backend's positions is the same for all.
func balanced(t *testing.T, trials int, p Plan, backends int) {
	t.Helper()
	if trials <= perBlock { // one pass: there is nothing to mirror
		return
	}
	for start := 0; start+2*backends <= len(p.Blocks); start += 2 * backends {
		sum := map[string]int{}
		for i, b := range p.Blocks[start : start+2*backends] {
			sum[b.Backend] += i
		}
		for name, s := range sum {
			if s != sum[p.Blocks[start].Backend] {
				t.Errorf("%d trials: backend %s has position sum %d, others differ: %v", trials, name, s, sum)
			}
		}
	}
}

func TestPlanIsAFunctionOfItsSeed(t *testing.T) {
	o := options(t, 5)
	a, _ := Make(o)
	b, _ := Make(o)
	if !reflect.DeepEqual(a, b) {
		t.Error("two plans of one seed differ")
	}
	o.Seed++
	c, _ := Make(o)
	if reflect.DeepEqual(a.Blocks, c.Blocks) {
		t.Error("plans of two seeds are equal")
	}
}

func TestMakeRefusesNonsense(t *testing.T) {
	o := options(t, 0)
	if _, err := Make(o); err == nil {
		t.Error("0 trials were planned")
	}
	o = options(t, 5)
	o.Backends = nil
	if _, err := Make(o); err == nil {
		t.Error("no backends were planned")
	}
}

// A variant that exists for some backends only is planned for these, and a plan of nothing is refused.
func TestAbsentCellsAreLeftOut(t *testing.T) {
	o := options(t, 2)
	o.Backends, o.Profiles = []string{"etcd", "consul"}, []string{"tuned", "variant"}
	o.Absent = func(backend, profile string) bool { return profile == "variant" && backend == "etcd" }
	p, err := Make(o)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, b := range p.Blocks {
		count[b.Profile+" "+b.Backend]++
	}
	if count["variant etcd"] != 0 || count["variant consul"] == 0 || count["tuned etcd"] == 0 {
		t.Errorf("blocks: %v, want none of etcd under the variant", count)
	}
	o.Backends, o.Profiles = []string{"etcd"}, []string{"variant"}
	if _, err := Make(o); err == nil || !strings.Contains(err.Error(), "variant") {
		t.Errorf("Make of absent cells only = %v, want an error that names the profile", err)
	}
}

func counted(p Plan) map[string]int {
	n := map[string]int{}
	for _, b := range p.Blocks {
		for _, item := range b.Items {
			if item.Counted {
				n[b.Profile+" "+item.Scenario+" "+b.Backend]++
			}
		}
	}
	return n
}

func TestExceptionsFromTrials(t *testing.T) {
	o := options(t, 7)
	o.ProfileTrials = map[string]int{"tuned": 3}
	o.ScenarioTrials = map[string]int{"leader-kill": 5, "steady-throughput": 1}
	p, err := Make(o)
	if err != nil {
		t.Fatal(err)
	}
	n := counted(p)
	for cell, want := range map[string]int{
		"matched controller-kill a": 7, "tuned controller-kill a": 3, "matched leader-kill b": 5, "tuned leader-kill b": 3,
		"matched steady-throughput c": 1, "tuned steady-throughput c": 1,
	} {
		if n[cell] != want {
			t.Errorf("%s: %d trials, want %d", cell, n[cell], want)
		}
	}
	o.ProfileTrials = map[string]int{"tuned": 0}
	if _, err := Make(o); err == nil || !strings.Contains(err.Error(), "profile tuned") {
		t.Errorf("Make with 0 trials under a profile = %v", err)
	}
}

// A round is for the needs alone, on every backend, mirrored, with trials numbered on, and ends at the most that was allowed.
func TestExtendGoesOnWhereThePlanEnded(t *testing.T) {
	o := options(t, 5)
	p, err := Make(o)
	if err != nil {
		t.Fatal(err)
	}
	before := len(p.Blocks)
	again, _ := Make(o)
	needs := []Need{{"tuned", "leader-kill"}}
	if !p.Extend(o, needs, 15) || !again.Extend(o, needs, 15) {
		t.Fatal("nothing was appended")
	}
	if !reflect.DeepEqual(p, again) {
		t.Error("two rounds of one seed differ")
	}
	if got := len(p.Blocks) - before; got != 2*len(o.Backends) {
		t.Errorf("%d blocks more, want %d", got, 2*len(o.Backends))
	}
	if n := counted(p); n["tuned leader-kill a"] != 13 || n["tuned controller-kill a"] != 5 || n["matched leader-kill a"] != 5 {
		t.Errorf("trials %v, want 13 of the needed cell alone", n)
	}
	balanced(t, 5, Plan{Blocks: p.Blocks[before:]}, len(o.Backends))
	if !p.Extend(o, needs, 15) {
		t.Fatal("nothing was appended below the most")
	}
	if n := counted(p); n["tuned leader-kill d"] != 15 {
		t.Errorf("%d trials, want 15", n["tuned leader-kill d"])
	}
	if p.Extend(o, needs, 15) {
		t.Error("a round was appended above the most")
	}
	seen := map[string]bool{}
	for i, b := range p.Blocks {
		if b.Number != i+1 {
			t.Errorf("block %d is numbered %d", i+1, b.Number)
		}
		for _, item := range b.Items {
			if seen[item.Trial] {
				t.Errorf("%s is planned twice", item.Trial)
			}
			seen[item.Trial] = true
		}
	}
}

// Shards together are the plan, each with every backend equally often.
func TestShardsArePartsOfThePlan(t *testing.T) {
	o := options(t, 15)
	p, err := Make(o)
	if err != nil {
		t.Fatal(err)
	}
	numbers := map[int]int{}
	for part := 1; part <= 2; part++ {
		q, err := p.Shard(part, 2)
		if err != nil {
			t.Fatal(err)
		}
		perBackend := map[string]int{}
		for _, b := range q.Blocks {
			numbers[b.Number]++
			perBackend[b.Backend]++
			if !reflect.DeepEqual(b, p.Blocks[b.Number-1]) {
				t.Errorf("shard %d: block %d differs from the plan's", part, b.Number)
			}
		}
		if perBackend["a"] == 0 || perBackend["a"] != perBackend["b"] || perBackend["a"] != perBackend["d"] {
			t.Errorf("shard %d: blocks by backend %v", part, perBackend)
		}
		balanced(t, 15, q, len(o.Backends))
	}
	if len(numbers) != len(p.Blocks) {
		t.Errorf("the shards hold %d blocks, the plan %d", len(numbers), len(p.Blocks))
	}
	for n, times := range numbers {
		if times != 1 {
			t.Errorf("block %d is in %d shards", n, times)
		}
	}
	for _, bad := range [][2]int{{0, 2}, {3, 2}, {1, 0}, {50, 50}} {
		if _, err := p.Shard(bad[0], bad[1]); err == nil {
			t.Errorf("shard %d/%d was made", bad[0], bad[1])
		}
	}
}
