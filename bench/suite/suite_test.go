package suite

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/regency-project/regency/bench/plan"
	"github.com/regency-project/regency/bench/scenario"
)

// Every suite that ships loads and can be planned, so that it names only what exists.
func TestEveryBuiltInSuiteCanBePlanned(t *testing.T) {
	for _, name := range Names() {
		s, err := Load(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if s.Description == "" || s.Expected == 0 {
			t.Errorf("%s: it needs a description and an expected duration", name)
		}
		_, err = plan.Make(plan.Options{
			Backends: []string{"embedded", "etcd"}, Profiles: s.Profiles, Scenarios: s.Scenarios, Trials: s.Trials, Seed: 1,
			ScenarioTrials: s.ScenarioTrials, ProfileTrials: s.ProfileTrials,
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := Names(); len(n) < 5 || n[0] != "quick" || n[1] != "failover" {
		t.Errorf("Names() = %v, want quick and failover first", n)
	}
}

const good = `name: mine
title: Mine
trials: 5
backends: [embedded]
profiles:
  - matched
  - {profile: default, trials: 3}
scenarios:
  - leader-kill
  - scenario: steady-throughput
    name: write
    trials: 4
    size: 1024
    sweep: {replication: [1, 3], acks: [all, leader]}
`

func TestOverridesAndSweeps(t *testing.T) {
	s, err := Parse("mine.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, sc := range s.Scenarios {
		names = append(names, sc.Name)
	}
	if want := []string{"leader-kill", "write-rf1-all", "write-rf1-leader", "write-rf3-all", "write-rf3-leader"}; !slices.Equal(names, want) {
		t.Fatalf("scenarios %v, want %v", names, want)
	}
	last := s.Scenarios[2]
	topic, _ := last.Cluster.Topic(scenario.TopicThroughput)
	if topic.Replication != 1 || last.Workload.Size != 1024 || last.Workload.Acks != "leader" {
		t.Errorf("%s: replication %d, size %d, acks %q", last.Name, topic.Replication, last.Workload.Size, last.Workload.Acks)
	}
	if want := "Steady throughput (1024 B), replication 1, acks=leader"; last.Title != want {
		t.Errorf("title %q, want %q", last.Title, want)
	}
	if other, _ := s.Scenarios[0].Cluster.Topic(scenario.TopicThroughput); other.Replication != 3 {
		t.Errorf("a sweep changed another scenario: replication %d", other.Replication)
	}
	if s.ProfileTrials["default"] != 3 || s.ScenarioTrials["write-rf3-all"] != 4 || len(s.ScenarioTrials) != 4 {
		t.Errorf("trials by profile %v, by scenario %v", s.ProfileTrials, s.ScenarioTrials)
	}
}

func TestBadInputNamesFileLineAndKey(t *testing.T) {
	for name, c := range map[string]struct {
		from, to string
		want     []string
	}{
		"unknown key":            {"trials: 5", "trails: 5", []string{"mine.yaml:3:", "trails"}},
		"unknown key of entry":   {"    size: 1024", "    bytes: 1024", []string{"mine.yaml:13:", "bytes"}},
		"unknown key of profile": {"default, trials: 3", "default, times: 3", []string{"mine.yaml:7:", "times"}},
		"unknown key of sweep":   {"{replication:", "{copies:", []string{"mine.yaml:14:", "copies"}},
		"wrong type":             {"trials: 5", "trials: many", []string{"mine.yaml:3:", "many"}},
		"no trials":              {"trials: 5\n", "", []string{"mine.yaml", "trials", "0"}},
		"unknown scenario":       {"  - leader-kill", "  - leader-kil", []string{"mine.yaml:9: scenarios[0].scenario", "leader-kil", "leader-unresponsive"}},
		"missing file":           {"  - leader-kill", "  - not-here.yaml", []string{"mine.yaml:9:", "not-here.yaml"}},
		"unknown backend":        {"[embedded]", "[embedded, mysql]", []string{"mine.yaml:4: backends[1]", "mysql"}},
		"backend twice":          {"[embedded]", "[embedded, embedded]", []string{"mine.yaml:4: backends[1]", "twice"}},
		"unknown profile":        {"  - matched", "  - fast", []string{"mine.yaml:6: profiles[0]", "fast"}},
		"profile twice":          {"profile: default", "profile: matched", []string{"mine.yaml:7: profiles[1]", "twice"}},
		"bad trials of entry":    {"    trials: 4", "    trials: -4", []string{"mine.yaml:12: scenarios[1].trials", "-4"}},
		"scenario twice":         {"  - scenario: steady", "  - leader-kill\n  - scenario: steady", []string{"mine.yaml:10: scenarios[1]", "leader-kill is there twice"}},
		"impossible combination": {"  - leader-kill", "  - {scenario: leader-kill, acks: leader}", []string{"mine.yaml:9: scenarios[0]", "workload.acks"}},
		"too many replicas":      {"[1, 3]", "[1, 30]", []string{"mine.yaml:10: scenarios[1]", "replication: 30"}},
		"bad flush":              {"trials: 5", "trials: 5\nflush: never", []string{"mine.yaml:4: flush", "never"}},
		"bad name":               {"name: mine", "name: My Suite", []string{"mine.yaml:1: name", "My Suite"}},
		"not YAML":               {"title: Mine", "title: [", []string{"mine.yaml:"}},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(good, c.from) {
				t.Fatalf("the good file has no %q", c.from)
			}
			_, err := Parse("mine.yaml", []byte(strings.Replace(good, c.from, c.to, 1)))
			if err == nil {
				t.Fatal("Parse succeeded")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not hold %q", err, want)
				}
			}
		})
	}
	if _, err := Parse("empty.yaml", nil); err == nil || !strings.Contains(err.Error(), "empty.yaml") {
		t.Errorf("error of an empty file = %v", err)
	}
	if _, err := Load("fialover"); err == nil || !strings.Contains(err.Error(), "failover") {
		t.Errorf("error = %v, want the names to choose from", err)
	}
}

// A user's suite names scenario files beside itself.
func TestOwnSuiteWithOwnScenario(t *testing.T) {
	dir := t.TempDir()
	text, err := os.ReadFile("../scenario/leader-kill.yaml")
	if err != nil {
		t.Fatal(err)
	}
	own := strings.Replace(string(text), "name: leader-kill", "name: own", 1)
	write(t, filepath.Join(dir, "own.yaml"), own)
	write(t, filepath.Join(dir, "mine.yaml"), strings.Replace(good, "  - leader-kill", "  - own.yaml", 1))
	s, err := Load(filepath.Join(dir, "mine.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Scenarios[0].Name != "own" {
		t.Errorf("scenario %q, want own", s.Scenarios[0].Name)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
