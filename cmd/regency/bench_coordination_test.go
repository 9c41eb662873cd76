package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestBadCoordinationFlags(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"both matrices", []string{"--quick", "--full"}, []string{"--quick and --full"}},
		{"unknown backend", []string{"--backends", "etcd,redis"}, []string{"--backends", `"redis"`, "zookeeper"}},
		{"twice", []string{"--backends", "etcd,etcd"}, []string{"--backends", "twice"}},
		{"no backend", []string{"--backends", ","}, []string{"--backends", "none given"}},
		{"unknown operation", []string{"--operations", "commit,fly"}, []string{"--operations", `"fly"`, "churn"}},
		{"unknown profile", []string{"--profile", "fast"}, []string{"--profile", `"fast"`, "matched"}},
		{"too few rounds", []string{"--rounds", "2"}, []string{"--rounds", "3 to 1000"}},
		{"budget", []string{"--budget", "1ms"}, []string{"--budget", "10ms to 1m"}},
		{"several at once", []string{"--rounds", "1", "--profile", "x"}, []string{"--rounds", "--profile"}},
		{"an argument", []string{"etcd"}, []string{`unknown command "etcd"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := command(t, append([]string{"bench", "coordination", "--dry-run"}, c.args...)...)
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("error %q lacks %q", got, want)
				}
			}
		})
	}
}

// TestCoordinationDryRun starts nothing, and says what a run would measure.
func TestCoordinationDryRun(t *testing.T) {
	var out bytes.Buffer
	root := newRoot()
	root.SetArgs([]string{"bench", "coordination", "--dry-run", "--quick", "--backends", "etcd,consul", "--rounds", "4"})
	root.SetOut(&out)
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"4 rounds", "etcd,consul", "Commit, 1\u202f000 records, 16 clients", "64 measurements"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}
