// Package reporttest shows pages to a real browser.
package reporttest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Sizes are the windows in which every page is opened: a desk and a phone.
var Sizes = []string{"1400,1000", "420,900"}

// Browse opens a page as a reader would, without a network, in windows of both sizes, and returns the browser's own document. It fails the test when the
// browser complains: of an error in a script, and, since pages forbid it in their policy, of anything that they want to load from elsewhere. Without
// Chromium the test is skipped, and fails in CI.
func Browse(t *testing.T, path string) string {
	t.Helper()
	browser, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("chromium is not installed: make deps")
		}
		t.Skip("chromium is not installed: make deps")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	dom := ""
	for _, size := range Sizes {
		dom = open(t, browser, abs, size)
	}
	return dom
}

func open(t *testing.T, browser, path, size string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--v=0", "--user-data-dir="+t.TempDir(), "--window-size="+size,
		"--dump-dom", "file://"+path)
	cmd.WaitDelay = 5 * time.Second
	var log strings.Builder
	cmd.Stderr = &log
	dom, err := cmd.Output()
	if err != nil {
		t.Fatalf("open %s: %v\n%s", path, err, log.String())
	}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "CONSOLE") {
			t.Errorf("the browser complains: %s", line)
		}
	}
	return string(dom)
}
