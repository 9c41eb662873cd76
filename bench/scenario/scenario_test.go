package scenario

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestDefaultsAreValidAndShareACluster(t *testing.T) {
	list, err := Defaults()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 4 {
		t.Fatalf("%d default scenarios, want 4", len(list))
	}
	for _, s := range list {
		if !s.Cluster.Equal(list[0].Cluster) {
			t.Errorf("%s has a cluster of its own: it would need blocks of its own", s.Name)
		}
	}
	if got := list[0].HeadlineClass(); got != "control" {
		t.Errorf("headline of %s = %q, want control", list[0].Name, got)
	}
}

func TestBadInputNamesFileLineAndKey(t *testing.T) {
	good, err := files.ReadFile("leader-kill.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(good)
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"unknown key":        {strings.Replace(text, "  rate: 150", "  speed: 150", 1), []string{"mine.yaml:", "speed"}},
		"unknown inner key":  {strings.Replace(text, "  led: 2", "  lead: 2", 1), []string{"mine.yaml:", "lead"}},
		"bad duration":       {strings.Replace(text, "steady: 1500ms", "steady: soon", 1), []string{"mine.yaml", "soon"}},
		"wrong type":         {strings.Replace(text, "brokers: 4", "brokers: many", 1), []string{"mine.yaml:", "many"}},
		"too few brokers":    {strings.Replace(text, "brokers: 4", "brokers: 2", 1), []string{"mine.yaml", "cluster.topics[0].replication"}},
		"unknown action":     {strings.Replace(text, "action: kill", "action: annoy", 1), []string{"mine.yaml", "faults[0].action", "annoy"}},
		"unknown role":       {strings.Replace(text, "role: leader", "role: king", 1), []string{"faults[0].role", "king"}},
		"no led probes":      {strings.Replace(text, "  led: 2", "  led: 0", 1), []string{"probes.led"}},
		"unknown client":     {strings.Replace(text, "[tuned, default]", "[fast]", 1), []string{"workload.clients", "fast"}},
		"not YAML":           {"name: [", []string{"mine.yaml"}},
		"empty":              {"", []string{"mine.yaml", "name", "kind"}},
		"topic of no use":    {strings.Replace(text, "name: probe", "name: probes", 1), []string{`"probe" is missing`}},
		"acks and a fault":   {strings.Replace(text, "  size: 512", "  size: 512\n  acks: leader", 1), []string{"workload.acks"}},
		"unknown acks":       {strings.Replace(text, "  size: 512", "  size: 512\n  acks: none", 1), []string{"workload.acks", "none"}},
		"unknown flush":      {strings.Replace(text, "brokers: 4", "brokers: 4\n  flush: never", 1), []string{"cluster.flush", "never"}},
		"share out of range": {strings.Replace(text, "delivered: 0.95", "delivered: 95", 1), []string{"limits.delivered"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("mine.yaml", []byte(c.text))
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
	_, err = Parse("mine.yaml", []byte(strings.Replace(text, "  rate: 150", "  speed: 150", 1)))
	line := 1 + strings.Count(text[:strings.Index(text, "  rate: 150")], "\n")
	if want := "mine.yaml:" + strconv.Itoa(line) + ":"; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %q does not begin with %q", err, want)
	}
}

func TestLoadByNameAndFile(t *testing.T) {
	if _, err := Load("leader-kil"); err == nil || !strings.Contains(err.Error(), "leader-kill") {
		t.Errorf("error = %v, want the names to choose from", err)
	}
	if _, err := Load("leader-kill", "leader-kill"); err == nil {
		t.Error("the same scenario twice was taken")
	}
	good, err := files.ReadFile("leader-kill.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "mine.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(string(good), "name: leader-kill", "name: mine", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	list, err := Load("controller-kill", file)
	if err != nil || len(list) != 2 || list[1].Name != "mine" {
		t.Errorf("Load = %v, %v", list, err)
	}
}
