package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/regency-project/regency/bench/archive"
	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/bench/timeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a stand-in for the broker program.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "regency")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func scenarios(t *testing.T, names ...string) []scenario.Scenario {
	t.Helper()
	list, err := scenario.Load(names...)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestBadOptionsAreNamedBeforeAnythingStarts(t *testing.T) {
	for want, change := range map[string]func(*Options){
		`unknown backend "mysql"`: func(o *Options) { o.Backends = []string{"etcd", "mysql"} },
		"etcd is given twice":     func(o *Options) { o.Backends = []string{"etcd", "etcd"} },
		`unknown profile "fast"`:  func(o *Options) { o.Profiles = []string{"fast"} },
		`flush mode "never"`:      func(o *Options) { o.Flush = "never" },
		"shard 4 of 3":            func(o *Options) { o.Shard = "4/3" },
		`shard "half"`:            func(o *Options) { o.Shard = "half" },
		"a shard ends with":       func(o *Options) { o.Shard, o.Until = "1/2", &metrics.Until{Width: 0.1, Trials: 40} },
		"at most 5 trials":        func(o *Options) { o.Until = &metrics.Until{Width: 0.1, Trials: 5} },
		"-3 trials":               func(o *Options) { o.Trials = -3 },
		"no broker program":       func(o *Options) { o.BrokerBinary = "" },
		"no such file":            func(o *Options) { o.BrokerBinary = "/nowhere/regency" },
	} {
		o := Options{Out: t.TempDir(), BrokerBinary: script(t, "exit 1")}
		change(&o)
		_, err := Run(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want %q", err, want)
		}
		if left, _ := os.ReadDir(o.Out); len(left) != 0 {
			t.Errorf("%s: %s was made", want, left[0].Name())
		}
	}
}

func TestClusterThatDoesNotComeUpIsReported(t *testing.T) {
	var out bytes.Buffer
	o := Options{
		Out: t.TempDir(), BrokerBinary: script(t, "echo cannot bind, it is mine; exit 3"), Backends: []string{"embedded"},
		Scenarios: scenarios(t, "leader-kill"), Trials: 1, Progress: &out, Command: "bench --seed {seed}", Seed: 5,
	}
	r, err := Run(t.Context(), o)
	if !errors.Is(err, ErrIncomplete) {
		t.Fatalf("error = %v, want ErrIncomplete", err)
	}
	if !strings.Contains(out.String(), "cannot bind, it is mine") {
		t.Errorf("the progress does not hold the broker's last words:\n%s", out.String())
	}
	if r.Metrics.Verdict.OK || r.Metrics.Command != "bench --seed 5" {
		t.Errorf("verdict %+v, command %q", r.Metrics.Verdict, r.Metrics.Command)
	}
	if _, err := os.Stat(filepath.Join(r.Dir, ".work")); !os.IsNotExist(err) {
		t.Errorf("the clusters' data is still there: %v", err)
	}
	if _, err := archive.Renew(r.Dir); err != nil {
		t.Errorf("recompute an empty run: %v", err)
	}
}

func TestMissingServerIsNotRunAndAnErrorInCI(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	o := Options{
		Out: t.TempDir(), BrokerBinary: script(t, "exit 1"), Backends: []string{"consul"}, ServersDir: t.TempDir(), Trials: 1,
		Scenarios: scenarios(t, "leader-kill"),
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatalf("error = %v, want none outside CI", err)
	}
	if v, err := Plan(o); err != nil || v.Duration != 0 || len(v.Manifest.Plan.Blocks) != 1 {
		t.Errorf("Plan() = %v for %d blocks, %v: want no time for what cannot run", v.Duration, len(v.Manifest.Plan.Blocks), err)
	}
	if b := r.Metrics.Backends[0]; b.Status != metrics.StatusNotRun || !strings.Contains(b.Reason, "make servers") {
		t.Errorf("backend = %+v, want not run, with the remedy", b)
	}
	o.Strict, o.Out = true, t.TempDir()
	if _, err := Run(t.Context(), o); !errors.Is(err, ErrNotRun) || !strings.Contains(err.Error(), "make servers") {
		t.Errorf("error in CI = %v, want ErrNotRun with the remedy", err)
	}
	if left, _ := os.ReadDir(o.Out); len(left) != 0 {
		t.Errorf("%s was made before the refusal", left[0].Name())
	}
}

func TestInterruptKillsEverything(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	o := Options{
		Out: t.TempDir(), BrokerBinary: script(t, "echo $$ >>"+pids+"; exec sleep 600"), Backends: []string{"embedded"},
		Scenarios: scenarios(t, "leader-kill"), Trials: 1,
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, err := Run(ctx, o); ended <- err }()
	deadline := time.Now().Add(60 * time.Second)
	for {
		data, _ := os.ReadFile(pids)
		if strings.Count(string(data), "\n") == 4 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("four brokers did not start")
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want canceled", err)
	}
	data, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	for pid := range strings.FieldsSeq(string(data)) {
		if _, err := os.Stat("/proc/" + pid); err == nil {
			t.Errorf("process %s is still there", pid)
		}
	}
}

// TestOneFailoverEndToEnd runs the real program: one leader kill on the embedded backend, and makes the figures again from what was recorded.
func TestOneFailoverEndToEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	program := filepath.Join(t.TempDir(), "regency")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./regency")
	build.Dir = "../../cmd"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the broker: %v\n%s", err, out)
	}
	var out bytes.Buffer
	list := scenarios(t, "leader-kill")
	list[0].Limits = scenario.Limits{} // a busy machine makes the figures bad, not this test
	r, err := Run(t.Context(), Options{
		Out: t.TempDir(), BrokerBinary: program, Backends: []string{"embedded"}, Scenarios: list, Trials: 1, Seed: 3, Progress: &out,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	c := r.Metrics.Find("matched", "leader-kill", "embedded", "")
	if c.Valid != 1 || c.Headline == nil || c.Detection == nil || c.Typical == nil || c.Cost == nil {
		t.Fatalf("cell = %+v\n%s", c, out.String())
	}
	if c.Headline.Min < 10 || c.Checks.Acknowledged == 0 || c.Checks.Lost != 0 {
		t.Errorf("headline %+v, checks %+v", c.Headline, c.Checks)
	}
	again, err := archive.Renew(r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(r.Metrics)
	b, _ := json.Marshal(again)
	if !bytes.Equal(a, b) {
		t.Error("recomputed metrics differ")
	}
	events, err := timeline.Read(filepath.Join(r.Dir, archive.TimelineFile))
	if err != nil || len(events) == 0 {
		t.Errorf("timeline: %d events, %v", len(events), err)
	}
}
