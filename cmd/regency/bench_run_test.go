package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/regency-project/regency/bench/run"
	"github.com/spf13/cobra"
)

// resolved returns what flags of "bench run" mean.
func resolved(t *testing.T, args ...string) (run.Options, error) {
	t.Helper()
	var f benchFlags
	cmd := &cobra.Command{}
	f.register(cmd)
	if err := cmd.Flags().Parse(args); err != nil {
		t.Fatal(err)
	}
	return f.resolve(cmd.Flags().Changed)
}

func TestFlagsOverrideTheSuite(t *testing.T) {
	o, err := resolved(t, "--suite", "failover")
	if err != nil {
		t.Fatal(err)
	}
	if o.Suite != "failover" || o.Trials != 15 || o.ProfileTrials["default"] != 3 || !slices.Equal(o.Profiles, []string{"matched", "tuned", "default"}) {
		t.Errorf("suite %q, %d trials, %v, profiles %v", o.Suite, o.Trials, o.ProfileTrials, o.Profiles)
	}
	if o.Command != "make bench SUITE=failover SEED={seed}" {
		t.Errorf("command %q", o.Command)
	}
	o, err = resolved(t, "--suite", "partitions", "--trials", "2", "--backends", "etcd", "--profiles", "tuned", "--flush", "written", "--scenarios", "leader-kill-p100,leader-kill", "--until-ci", "5%")
	if err != nil {
		t.Fatal(err)
	}
	if o.Trials != 2 || !slices.Equal(o.Backends, []string{"etcd"}) || !slices.Equal(o.Profiles, []string{"tuned"}) || o.Flush != "written" {
		t.Errorf("%d trials, backends %v, profiles %v, flush %s", o.Trials, o.Backends, o.Profiles, o.Flush)
	}
	if len(o.Scenarios) != 2 || o.Scenarios[0].Name != "leader-kill-p100" || o.Scenarios[1].Name != "leader-kill" {
		t.Errorf("scenarios %+v, want one of the suite and one of the built-in ones", o.Scenarios)
	}
	if o.Until == nil || o.Until.Width != 0.05 || o.Until.Trials != 60 {
		t.Errorf("until %+v", o.Until)
	}
	want := "make bench SUITE=partitions BACKENDS=etcd PROFILES=tuned TRIALS=2 SEED={seed} SCENARIOS=leader-kill-p100,leader-kill ARGS='--flush written --until-ci 5%'"
	if o.Command != want {
		t.Errorf("command\n%q, want\n%q", o.Command, want)
	}
	if o, err = resolved(t); err != nil || o.Command != "make bench BACKENDS=embedded,etcd,zookeeper,consul PROFILES=matched TRIALS=5 SEED={seed}" {
		t.Errorf("without a suite: %q, %v", o.Command, err)
	}
}

func TestBadRunFlags(t *testing.T) {
	for want, args := range map[string][]string{
		"--suite: unknown suite":       {"--suite", "fialover"},
		"--until-ci \"10\"":            {"--until-ci", "10"},
		"--max-trials: it bounds":      {"--max-trials", "9"},
		"scenario leader-kill is giv":  {"--scenarios", "leader-kill,leader-kill"},
		"--trials: a resumed run":      {"--resume", "x", "--trials", "3"},
		"--dry-run: a resumed run":     {"--resume", "x", "--dry-run"},
		"--scenarios: unknown scenari": {"--suite", "quick", "--scenarios", "nothing"},
	} {
		if _, err := resolved(t, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error = %v, want %q", args, err, want)
		}
	}
}

func benchOutput(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out.String()
}

func TestDryRunStartsNothing(t *testing.T) {
	dir := t.TempDir()
	text := benchOutput(t, "bench", "run", "--suite", "quick", "--backends", "embedded", "--seed", "7", "--dry-run", "--out", filepath.Join(dir, "results"))
	for _, want := range []string{"suite quick", "seed 7", "matched   leader-kill", "in 1 blocks", "1  embedded   matched"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%s was made", left[0].Name())
	}
}

func TestSuitesAreListedWithTheirTime(t *testing.T) {
	text := benchOutput(t, "bench", "suites")
	for _, want := range []string{"quick                   3 min", "failover", "soak"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if text = benchOutput(t, "bench", "suites", "partitions"); !strings.Contains(text, "leader-kill-p1000") {
		t.Errorf("no scenario of the sweep in\n%s", text)
	}
}

func TestShellCompletion(t *testing.T) {
	for _, c := range []struct {
		args  []string
		wants []string
		not   string
	}{
		{[]string{"--suite", ""}, []string{"failover\t", "quick\t"}, "matched"},
		{[]string{"--backends", "etcd,"}, []string{"etcd,consul", "etcd,embedded"}, "etcd,etcd"},
		{[]string{"--profiles", "matched,"}, []string{"matched,tuned\t"}, "matched,matched"},
		{[]string{"--scenarios", ""}, []string{"leader-kill\t"}, "quick"},
		{[]string{"--flush", ""}, []string{"sync", "written"}, "quick"},
	} {
		text := benchOutput(t, append([]string{"__complete", "bench", "run"}, c.args...)...)
		for _, want := range c.wants {
			if !strings.Contains(text, want) {
				t.Errorf("%v: no %q in\n%s", c.args, want, text)
			}
		}
		if strings.Contains(text, c.not) {
			t.Errorf("%v: %q in\n%s", c.args, c.not, text)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if text := benchOutput(t, "completion", shell); !strings.Contains(text, "regency") {
			t.Errorf("%s: %d bytes of completion", shell, len(text))
		}
	}
}
