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
