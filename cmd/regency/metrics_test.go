package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/process"
)

// TestMetricsOfABroker scrapes a real broker and compares what it says with what it must have done.
func TestMetricsOfABroker(t *testing.T) {
	ports, err := process.FreePorts(3)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = process.ReleasePorts(ports) }()
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	ctx, cancel := context.WithCancel(t.Context())
	root := newRoot()
	root.SetArgs([]string{"broker", "--id", "1", "--data-dir", t.TempDir(), "--listen", at(0), "--peer-listen", at(1), "--metrics", at(2),
		"--coordination", "memory:", "--log-level", "error"})
	root.SetOut(&bytes.Buffer{})
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the broker ended with %v", err)
		}
	}()
	var text string
	want := []string{
		`regency_coordination_leader_epoch{backend="memory"} 1`,
		`regency_coordination_sessions{backend="memory",state="valid"} 1`,
		`regency_coordination_session_events_total{backend="memory",event="opened"} 1`,
		`regency_coordination_leadership_events_total{backend="memory",event="claimed"} 1`,
		`regency_coordination_operation_seconds_count{backend="memory",operation="open_session"} 1`,
		"regency_coordination_operation_seconds_bucket{",
		"go_goroutines ",
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		text = scrape(t, "http://"+at(2)+"/metrics")
		missing := ""
		for _, line := range want {
			if !strings.Contains(text, "\n"+line) {
				missing = line
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %q in\n%s", missing, text)
		}
	}
}

// scrape is empty while nothing listens.
func scrape(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestMetricsAddressIsChecked(t *testing.T) {
	got := command(t, "broker", "--id", "1", "--data-dir", t.TempDir(), "--coordination", "memory:", "--metrics", "nonsense")
	if !strings.Contains(got, `--metrics "nonsense"`) || !strings.Contains(got, "host:port") {
		t.Errorf("error %q, want it to name the flag, its value and the form", got)
	}
}
