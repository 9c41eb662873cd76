package target

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSavedLogsNameNoMachine: what is kept of a log can be published.
func TestSavedLogsNameNoMachine(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	run := filepath.Join(home, "src", "results", "run", ".work", "block-1")
	from, to := filepath.Join(home, "log"), filepath.Join(t.TempDir(), "kept")
	line := "open dir=" + run + "/broker-1 servers=" + home + "/.cache/x.jar rate=12\n"
	if err := os.WriteFile(from, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := copyTail(from, to, Anonymous(run)); err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	if want := "open dir=RUN/broker-1 servers=~/.cache/x.jar rate=12\n"; string(kept) != want || strings.Contains(string(kept), home) {
		t.Errorf("kept %q, want %q", kept, want)
	}
}
