package run

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/bench/archive"
	"github.com/regency-project/regency/bench/scenario"
)

const staleKey = "REGENCY_STALE_TEST_OUT"

// init lets the test binary be a harness that is killed: its broker program is named like the directory, with .broker.
func init() {
	out := os.Getenv(staleKey)
	if out == "" {
		return
	}
	list, err := scenario.Load("leader-kill")
	if err == nil {
		_, err = Run(context.Background(), Options{Out: out, BrokerBinary: out + ".broker", Backends: []string{"embedded"}, Scenarios: list, Trials: 1, Seed: 9})
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// TestKilledHarnessLeavesNothingForLong: its brokers die with it, and the next run removes its data but not that of a run that lives.
func TestKilledHarnessLeavesNothingForLong(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	pids := out + ".pids"
	if err := os.WriteFile(out+".broker", []byte("#!/bin/sh\necho $$ >>"+pids+"\nexec sleep 600\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	harness := exec.Command(os.Args[0])
	harness.Env = append(os.Environ(), staleKey+"="+out)
	var said strings.Builder
	harness.Stderr = &said
	if err := harness.Start(); err != nil {
		t.Fatal(err)
	}
	var brokers []string
	until(t, "four brokers run", func() bool {
		data, _ := os.ReadFile(pids)
		brokers = strings.Fields(string(data))
		return len(brokers) == 4 && strings.HasSuffix(string(data), "\n")
	}, &said)
	works, _ := filepath.Glob(filepath.Join(out, "*", workDir))
	if len(works) != 1 {
		t.Fatalf("work directories = %v", works)
	}
	if removed := removeStale(out); len(removed) != 0 {
		t.Errorf("removed %v while its harness runs", removed)
	}
	if err := harness.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = harness.Wait() // it was killed
	for _, pid := range brokers {
		until(t, "broker "+pid+" is gone", func() bool {
			stat, err := os.ReadFile("/proc/" + pid + "/stat")
			return err != nil || strings.Contains(string(stat), ") Z ")
		}, &said)
	}
	if removed := removeStale(out); len(removed) != 1 {
		t.Errorf("removed %v, want the one", removed)
	}
	if _, err := os.Stat(works[0]); !os.IsNotExist(err) {
		t.Errorf("the work directory is still there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(works[0]), archive.TimelineFile)); err != nil {
		t.Errorf("the timeline was removed too: %v", err)
	}
}

func until(t *testing.T, what string, ok func() bool, said fmt.Stringer) {
	t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 90 s: %s (the harness said %q)", what, said)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
