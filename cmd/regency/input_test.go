package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// command runs the command in this process and returns its error's text.
func command(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&bytes.Buffer{})
	root.SetErr(&bytes.Buffer{})
	err := root.ExecuteContext(ctx)
	if ctx.Err() != nil {
		t.Fatalf("%v: still running after 20 s", args)
	}
	if err == nil {
		t.Fatalf("%v: succeeded, want an error", args)
	}
	return err.Error()
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestBadInput: one clear error each, that names what is wrong, where, and what to do.
func TestBadInput(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	broker := func(args ...string) []string {
		return append([]string{"broker", "--id", "1", "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0"}, args...)
	}
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"no id and no directory", []string{"broker", "--coordination", "memory:"}, []string{"--id", "--data-dir is missing"}},
		{"unknown backend", broker("--coordination", "redis://h:1/x"), []string{"--coordination", `"redis"`, "zookeeper"}},
		{"not a URL", broker("--coordination", "etcd://%zz"), []string{"--coordination", "not a URL"}},
		{"no host", broker("--coordination", "etcd:///prefix"), []string{"--coordination etcd:", "hosts: none given"}},
		{"unknown option", broker("--coordination", "etcd://h:1/p?sesion=2s"), []string{"sesion"}},
		{"bad duration", broker("--coordination", "consul://h:1/p?session=soon"), []string{"session", "soon"}},
		{"memory with a host", broker("--coordination", "memory://h"), []string{"memory: takes nothing"}},
		{"peers without ids", broker("--coordination", "embedded:?peers=h:1"), []string{"peers"}},
		{"port in use", broker("--coordination", "memory:", "--listen", taken.Addr().String()), []string{"--listen", taken.Addr().String(), "in use"}},
		{"unknown flush mode", broker("--coordination", "memory:", "--flush", "never"), []string{"--flush", "sync or written"}},
		{"unknown detector", broker("--coordination", "memory:", "--detector", "oracle"), []string{"oracle", "session, peer, guardian"}},
		{"detector of another cluster", []string{"up", "--detector", "oracle"}, []string{"oracle", "session, peer, guardian"}},
		{"guardian of a lone process", broker("--coordination", "memory:", "--detector", "guardian"), []string{"guardian", "memory"}},
		{"hasty detector", broker("--config", file(t, "h.yaml", "coordination: 'memory:'\ndetector: peer\ndetector-missed: 1\n")), []string{"missed 1", "4 to 1000"}},
		{"unknown level", broker("--coordination", "memory:", "--log-level", "loud"), []string{"--log-level", "debug"}},
		{"unknown key in YAML", broker("--config", file(t, "c.yaml", "coordination: 'memory:'\nlisten-on: 1\n")), []string{"c.yaml", `"listen-on"`, "peer-listen"}},
		{"broken YAML", broker("--config", file(t, "broken.yaml", "a: [1,\nb: }")), []string{"broken.yaml"}},
		{"unknown key of coordination", broker("--config", file(t, "d.yaml", "coordination: {backend: etcd, hosts: [a]}")), []string{`"hosts"`, "endpoints"}},
		{"missing file", broker("--config", "no-such.yaml"), []string{"no-such.yaml"}},
		{"unknown scenario", []string{"bench", "run", "--scenarios", "no-such"}, []string{"--scenarios", "no-such", "leader-kill"}},
		{"unknown key in a scenario", []string{"bench", "run", "--scenarios", file(t, "s.yaml", "name: x\nbrokerz: 4\n")}, []string{"s.yaml", "brokerz"}},
		{"unknown bench backend", []string{"bench", "run", "--backends", "redis", "--out", t.TempDir()}, []string{"redis", "etcd"}},
		{"unknown profile", []string{"bench", "run", "--profiles", "fast", "--out", t.TempDir()}, []string{"fast", "matched"}},
		{"not a run", []string{"bench", "report", t.TempDir()}, []string{"manifest.json"}},
		{"too many brokers", []string{"up", "--brokers", "99"}, []string{"--brokers 99"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := command(t, c.args...)
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("error %q does not contain %q", got, want)
				}
			}
		})
	}
}

// TestUnreachableServiceIsWaitedForAndNamed: a broker may start before its service; it waits, says for whom, and ends when it is told to.
func TestUnreachableServiceIsWaitedForAndNamed(t *testing.T) {
	for _, url := range []string{"etcd://127.0.0.1:1/p", "zookeeper://127.0.0.1:1/p", "consul://127.0.0.1:1/p"} {
		t.Run(url, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
			defer cancel()
			log := filepath.Join(t.TempDir(), "log")
			done := runBroker(t, ctx, log, url)
			if err := <-done; err == nil {
				t.Error("the broker ended without an error although it never joined a cluster")
			}
			if said := lastLines(log, 100); !strings.Contains(said, "waiting") {
				t.Errorf("the broker did not say that it waits:\n%s", said)
			}
		})
	}
}

func runBroker(t *testing.T, ctx context.Context, log, url string) <-chan error {
	t.Helper()
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	cmd := interruptible(ctx, binary, "broker", "--id", "1", "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0", "--coordination", url)
	cmd.Stderr = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		out.Close()
		done <- err
	}()
	return done
}

func TestSettingsFromFileAndEnvironment(t *testing.T) {
	t.Setenv("REGENCY_FLUSH", "never")
	got := command(t, "broker", "--id", "1", "--data-dir", t.TempDir(), "--coordination", "memory:")
	if !strings.Contains(got, `--flush "never"`) {
		t.Errorf("error %q does not come from the environment", got)
	}
	path := file(t, "c.yaml", "id: 1\ndata-dir: x\nflush: sync\nlog-level: shout\n")
	got = command(t, "broker", "--config", path, "--flush", "written")
	if !strings.Contains(got, `--log-level "shout"`) {
		t.Errorf("error %q does not come from the file", got)
	}
	url, err := coordinationURL(map[string]any{"backend": "etcd", "endpoints": []any{"h1:2379", "h2:2379"}, "prefix": "cluster-a", "options": map[string]any{"session": "2s"}})
	if want := "etcd://h1:2379,h2:2379/cluster-a?session=2s"; err != nil || url != want {
		t.Errorf("coordinationURL = %q, %v, want %q", url, err, want)
	}
	url, err = coordinationURL(map[string]any{"backend": "embedded", "options": map[string]any{"peers": "1@h:1:2"}})
	if want := "embedded:?peers=1@h:1:2"; err != nil || url != want {
		t.Errorf("coordinationURL = %q, %v, want %q", url, err, want)
	}
}
