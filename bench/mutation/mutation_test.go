package mutation

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/regency-project/regency/bench/check"
)

// programs holds what was built, until all tests are done.
var programs string

func TestMain(m *testing.M) {
	var err error
	if programs, err = os.MkdirTemp("", "regency-mutation-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := os.RemoveAll(programs); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}))
}

// Variable chooses the mutation of a program that has them.
const variable = "REGENCY_MUTATION"

var mutations = []struct {
	name  string
	fault fault
	check string
	soak  bool // too much for every change: another one of the table is caught in the same way
}{
	{"ack-early", tail, check.Lost, false},
	{"no-truncation", tail, check.ReplicasDiffer, false},
	{"no-sync", power, check.Lost, false},
	{"no-fencing", zombie, check.ZombieWrite, false},
	{"producer-forgotten", stall, check.Duplicate, false},
	{"read-uncommitted", tail, check.ReadsDiffer, false},
	{"isr-never-waits", tail, check.Lost, true},
	{"truncate-to-watermark", everything, check.Lost, true},
	{"corrupt", none, check.Corrupt, true},
	{"corrupt-replica", none, check.ReplicasDiffer, true},
	{"offset-twice", none, check.OffsetTwice, true},
	{"reordered", none, check.Order, true},
}

// broken is how long a broken cluster is waited for to be whole or readable; a slow one that is given up shows more violations, not fewer.
const broken = 5 * time.Second

func build(t *testing.T, tags string) string {
	t.Helper()
	program := filepath.Join(programs, "regency-"+tags)
	if _, err := os.Stat(program); err == nil {
		return program
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-tags", tags, "-o", program, "./regency")
	cmd.Dir = "../../cmd"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the broker: %v\n%s", err, out)
	}
	return program
}

func TestMutationsAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("starts clusters")
	}
	program := build(t, "regency_mutation")
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			if m.soak && os.Getenv("REGENCY_SOAK") == "" {
				t.Skip("set REGENCY_SOAK=1")
			}
			t.Setenv(variable, m.name)
			w := begin(t, program)
			m.fault(w, broken)
			found := w.end(broken)
			if !slices.ContainsFunc(found, func(v check.Violation) bool { return v.Check == m.check }) {
				t.Errorf("not caught by %s; found %v", m.check, found)
			}
			t.Logf("%d violations, the first: %v", len(found), found[:min(len(found), 3)])
		})
	}
}

// TestSoundProgramPasses does all the same to the program without a mutation.
func TestSoundProgramPasses(t *testing.T) {
	if testing.Short() {
		t.Skip("starts clusters")
	}
	t.Setenv(variable, "")
	w := begin(t, build(t, "regency_mutation"))
	for _, f := range []fault{none, stall, tail, zombie, power, everything} {
		f(w, patience)
	}
	for _, v := range w.end(patience) {
		t.Errorf("violation: %v", v)
	}
}

// TestOrdinaryProgramHasNoMutation looks for the variable's name, which every mutation is chosen by.
func TestOrdinaryProgramHasNoMutation(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program twice")
	}
	for tags, want := range map[string]bool{"": false, "regency_mutation": true} {
		data, err := os.ReadFile(build(t, tags))
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{variable, "producer-forgotten", "truncate-to-watermark"} {
			if got := bytes.Contains(data, []byte(text)); got != want {
				t.Errorf("built with %q: the program contains %q: %t, want %t", tags, text, got, want)
			}
		}
	}
}
