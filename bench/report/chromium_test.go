package report

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestChromiumShowsTheReport opens the file as a reader would, without a network: the browser's own document must hold the figures, and no error.
func TestChromiumShowsTheReport(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("chromium is not installed: make deps")
		}
		t.Skip("chromium is not installed: make deps")
	}
	w := write(t, example(t))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--v=0", "--user-data-dir="+t.TempDir(), "--dump-dom",
		"file://"+filepath.Join(w.dir, HTMLFile))
	cmd.WaitDelay = 5 * time.Second
	var log strings.Builder
	cmd.Stderr = &log
	dom, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	for _, want := range []string{"<svg", "Backend × scenario", "ZooKeeper"} {
		if !strings.Contains(string(dom), want) {
			t.Errorf("the browser's document does not contain %q", want)
		}
	}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "CONSOLE") {
			t.Errorf("the browser complains: %s", line)
		}
	}
}
