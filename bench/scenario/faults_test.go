package scenario

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestEveryScenarioIsValidAndListed: no file is forgotten, and each says its faults in words.
func TestEveryScenarioIsValidAndListed(t *testing.T) {
	list, err := All()
	if err != nil {
		t.Fatal(err)
	}
	entries, err := files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(list) {
		t.Errorf("%d files, %d scenarios", len(entries), len(list))
	}
	for _, s := range list {
		if s.Kind == Failover && (s.FaultText() == "" || strings.Contains(s.FaultText(), "  ") || s.HeadlineClass() == "") {
			t.Errorf("%s: fault %q, headline %q", s.Name, s.FaultText(), s.HeadlineClass())
		}
	}
}

// with replaces the faults of leader-kill.
func with(t *testing.T, faults string) error {
	t.Helper()
	good, err := files.ReadFile("leader-kill.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const old = "faults:\n  - action: kill\n    role: leader\n"
	if !strings.Contains(string(good), old) {
		t.Fatal("leader-kill.yaml has another form")
	}
	_, err = Parse("mine.yaml", []byte(strings.Replace(string(good), old, "faults:\n"+faults, 1)))
	return err
}

func TestImpossibleFaultsNameFileLineAndKey(t *testing.T) {
	const kill = "  - {action: kill, role: leader}\n"
	const line = "mine.yaml:16: " // of the first fault
	for faults, want := range map[string]string{
		"  - {action: explode, role: leader}\n":                                       line + `faults[0].action: "explode"`,
		"  - {action: kill, role: king}\n":                                            line + `faults[0].role: "king"`,
		"  - {action: kill, role: leader, link: broker-broker}\n":                     line + "faults[0].link: action kill has none",
		"  - {action: kill, role: leader, delay: 5ms}\n":                              line + "faults[0].delay: action kill has none",
		"  - {action: kill, role: leader, burners: 2}\n":                              line + "faults[0].burners: action kill has none",
		"  - {action: kill, role: leader, after: 1s}\n":                               line + "faults[0].after: the first fault",
		"  - {action: kill, role: leader, for: 1s, until: healed}\n":                  line + "faults[0].until: the fault has a length already",
		"  - {action: kill, role: leader, until: recovered}\n":                        line + "faults[0].until: nothing recovers",
		"  - {action: pause, role: leader, until: later}\n":                           line + `faults[0].until: "later"`,
		"  - {action: stop, role: coordination-leader}\n":                             line + `faults[0].role: "coordination-leader"`,
		"  - {action: cut, role: leader, link: broker-coordination, direction: to}\n": line + "faults[0].direction",
		"  - {action: blackhole, role: leader, link: telephone}\n":                    line + `faults[0].link: "telephone"`,
		"  - {action: blackhole, role: coordination, link: client-broker, for: 1s}\n": line + `faults[0].role: "coordination"`,
		"  - {action: blackhole, role: leader, link: broker-broker}\n":                line + "faults[0].for: nothing recovers while this fault lasts",
		"  - {action: delay, role: leader, link: broker-broker, for: 1s}\n":           line + "faults[0].delay: 0s",
		"  - {action: rate, role: leader, link: broker-broker, rate: 3, for: 1s}\n":   line + "faults[0].rate: 3",
		"  - {action: starve, burners: 2, nice: -5, for: 1s}\n":                       line + "faults[0].nice: -5",
		"  - {action: starve, burners: 2}\n":                                          line + "faults[0].for",
		kill + "  - {action: kill, role: leader, after: 1s}\n":                        "mine.yaml:17: faults[1].role: faults[0] hits leader already",
		kill + "  - {action: rolling}\n":                                              "mine.yaml:17: faults[1].action: rolling stands alone",
		kill + "  - {action: kill, role: controller, when: now}\n":                    `mine.yaml:17:`,
		"  - {action: kill, role: coordination-quorum}\n":                             line + "faults[0].for",
		"  - {action: kill, role: leader, for: 1h}\n":                                 line + "faults[0].for: 1h0m0s",
		"  - {action: pause, role: coordination-leader, for: 8s}\n":                   "probes.data",
	} {
		if err := with(t, faults); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", strings.TrimSpace(faults), err, want)
		}
	}
}

func TestFaultsCompose(t *testing.T) {
	err := with(t, `  - {action: pause, role: coordination-leader, for: 8s}
  - {action: kill, role: leader, after: 1s}
  - {action: delay, role: leader, link: broker-broker, delay: 5ms, for: 2s}
`)
	if err == nil || !strings.Contains(err.Error(), "faults[1] hits leader already") {
		t.Errorf("error = %v: the links of a dead broker carry nothing", err)
	}
	if err := with(t, "  - {action: pause, role: coordination-leader, for: 8s}\n  - {action: kill, role: leader, after: 1s}\n"); err != nil {
		t.Error(err)
	}
	s := Scenario{Kind: Failover, Faults: []Fault{{Action: Pause, Role: CoordinationLeader, For: 8 * time.Second}, {Action: Kill, Role: Controller, After: time.Second}}}
	if s.MainIndex() != 1 || s.HeadlineClass() != "control" || s.Length() != 8*time.Second {
		t.Errorf("main %d, headline %s, length %v", s.MainIndex(), s.HeadlineClass(), s.Length())
	}
}

// TestManifestsWithASingleFaultAreRead: as runs were recorded before there were several.
func TestManifestsWithASingleFaultAreRead(t *testing.T) {
	var s Scenario
	if err := json.Unmarshal([]byte(`{"name":"leader-kill","kind":"failover","fault":{"action":"pause","role":"leader"}}`), &s); err != nil {
		t.Fatal(err)
	}
	if s.Name != "leader-kill" || s.Main() != (Fault{Action: Pause, Role: Leader}) || len(s.Faults) != 1 {
		t.Errorf("read %+v", s)
	}
	if got := s.FaultText(); got != "SIGSTOP of a broker that leads partitions until its successor serves, then SIGCONT" {
		t.Errorf("words = %q", got)
	}
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var again Scenario
	if err := json.Unmarshal(data, &again); err != nil || len(again.Faults) != 1 || again.Main() != s.Main() {
		t.Errorf("read again %+v, %v", again, err)
	}
	var steady Scenario
	if err := json.Unmarshal([]byte(`{"kind":"throughput","fault":{}}`), &steady); err != nil || len(steady.Faults) != 0 {
		t.Errorf("without a fault: %+v, %v", steady, err)
	}
}
