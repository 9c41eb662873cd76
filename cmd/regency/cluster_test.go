package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/ensemble"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/process"
	"github.com/regency-project/regency/coordination/profile"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// binary is the regency command under test, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "regency-cmd-test-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "regency")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Stderr = os.Stderr
	code := 1
	if err := build.Run(); err == nil {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// testCluster is a cluster of real processes on loopback.
type testCluster struct {
	t        *testing.T
	dir, url string
	ports    []int    // two a broker: clients, peers
	extra    []string // arguments of every broker
	ensemble *ensemble.Ensemble
	brokers  []*process.Process // by id − 1
}

// startEnsemble starts the service of a backend that has processes of its own; nil for embedded.
func startEnsemble(t *testing.T, backend profile.Backend) *ensemble.Ensemble {
	t.Helper()
	if backend == profile.Embedded {
		return nil
	}
	return ensembletest.Start(t, backend, profile.Tuned)
}

func startCluster(t *testing.T, backend profile.Backend, brokers int) *testCluster {
	t.Helper()
	return startClusterWith(t, backend, brokers, func(*testCluster) {})
}

// startClusterWith lets adjust change what the brokers are started with.
func startClusterWith(t *testing.T, backend profile.Backend, brokers int, adjust func(*testCluster)) *testCluster {
	t.Helper()
	c := &testCluster{t: t, dir: t.TempDir(), brokers: make([]*process.Process, brokers), ensemble: startEnsemble(t, backend)}
	ports, err := process.FreePorts(2*brokers + 2*3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { process.ReleasePorts(ports) })
	c.ports = ports
	if c.ensemble != nil {
		c.url, err = c.ensemble.URL("cluster-test")
	} else {
		c.url, err = embeddedURL(ports[2*brokers:])
	}
	if err != nil {
		t.Fatal(err)
	}
	adjust(c)
	for id := 1; id <= brokers; id++ {
		c.start(id)
	}
	return c
}

// embeddedURL is for three members; ports are their peer and client ports in turn.
func embeddedURL(ports []int) (string, error) {
	var peers []string
	for i := 0; i+1 < len(ports); i += 2 {
		peers = append(peers, fmt.Sprintf("%d@127.0.0.1:%d:%d", i/2+1, ports[i], ports[i+1]))
	}
	p, err := profile.Lookup(profile.Embedded, profile.Tuned)
	if err != nil {
		return "", err
	}
	return profile.CoordinationURL(p, peers, "")
}

func (c *testCluster) addr(id int) string { return fmt.Sprintf("127.0.0.1:%d", c.ports[2*(id-1)]) }

func (c *testCluster) bootstrap() []string {
	var addrs []string
	for id := range c.brokers {
		addrs = append(addrs, c.addr(id+1))
	}
	return addrs
}

func (c *testCluster) start(id int) {
	c.t.Helper()
	p, err := process.Start(context.WithoutCancel(c.t.Context()), process.Spec{
		Name: fmt.Sprintf("broker %d", id), Path: binary, LogPath: filepath.Join(c.dir, fmt.Sprintf("broker-%d.log", id)),
		Heirs: true,
		Args: append([]string{"broker", "--id", strconv.Itoa(id), "--data-dir", filepath.Join(c.dir, strconv.Itoa(id)), "--listen", c.addr(id),
			"--peer-listen", fmt.Sprintf("127.0.0.1:%d", c.ports[2*(id-1)+1]), "--coordination", c.url,
			"--events", filepath.Join(c.dir, fmt.Sprintf("events-%d.jsonl", id))}, c.extra...),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.brokers[id-1] = p
	c.t.Cleanup(func() {
		p.Kill()
		p.Sweep()
		if c.t.Failed() {
			c.t.Logf("last lines of broker %d:\n%s", id, p.TailLog(15))
		}
	})
}

func (c *testCluster) kill(id int) {
	c.t.Helper()
	if err := c.brokers[id-1].Kill(); err != nil {
		c.t.Fatal(err)
	}
}

// client returns a kgo client of the cluster, closed with the test.
func (c *testCluster) client(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.bootstrap()...), kgo.MetadataMinAge(50 * time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
		kgo.DialTimeout(time.Second), kgo.RequestTimeoutOverhead(2 * time.Second), kgo.ProduceRequestTimeout(3 * time.Second),
	}, opts...)...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(client.Close)
	return client
}

// eventually retries f until it succeeds.
func eventually(t *testing.T, within time.Duration, what string, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		try, end := context.WithTimeout(ctx, 5*time.Second)
		err := f(try)
		end()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %v: %v", what, within, err)
		}
	}
}

func (c *testCluster) createTopic(name string, partitions int32) {
	c.t.Helper()
	adm := kadm.NewClient(c.client())
	eventually(c.t, 60*time.Second, "create "+name, func(ctx context.Context) error {
		if list, err := adm.ListBrokers(ctx); err != nil || len(list) < len(c.brokers) {
			return fmt.Errorf("%d of %d brokers: %w", len(list), len(c.brokers), err)
		}
		_, err := adm.CreateTopic(ctx, partitions, int16(min(3, len(c.brokers))), nil, name)
		return err
	})
}

// awaitHealthy waits until every partition of the topic is led and all its replicas are in sync.
func (c *testCluster) awaitHealthy(topic string) {
	c.t.Helper()
	adm := kadm.NewClient(c.client())
	eventually(c.t, 90*time.Second, "every partition led and in sync", func(ctx context.Context) error {
		topics, err := adm.ListTopics(ctx, topic)
		if err != nil {
			return err
		}
		if err := topics[topic].Err; err != nil {
			return err
		}
		for _, p := range topics[topic].Partitions.Sorted() {
			if p.Leader < 0 || len(p.ISR) < len(p.Replicas) {
				return fmt.Errorf("partition %d: leader %d, ISR %v of %v", p.Partition, p.Leader, p.ISR, p.Replicas)
			}
		}
		return nil
	})
}

func (c *testCluster) leader(topic string, partition int32) int {
	c.t.Helper()
	adm := kadm.NewClient(c.client())
	leader := -1
	eventually(c.t, 30*time.Second, "a leader", func(ctx context.Context) error {
		topics, err := adm.ListTopics(ctx, topic)
		if err != nil {
			return err
		}
		if leader = int(topics[topic].Partitions[partition].Leader); leader < 0 {
			return fmt.Errorf("partition %d has no leader", partition)
		}
		return nil
	})
	return leader
}

// lastLines is a file's end, for messages.
func lastLines(path string, n int) string {
	raw, _ := os.ReadFile(path)
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// interruptible is a command that ends as Ctrl-C would end it.
func interruptible(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}
