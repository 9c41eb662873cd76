package api_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/broker"
	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/memory"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is for what takes long only on a loaded machine.
const patience = 60 * time.Second

// brokers is a cluster in this process, over loopback TCP, with the memory backend.
type brokers struct {
	t      *testing.T
	server *memory.Server
	stop   map[int32]func()
	admin  *kgo.Client
}

func startBrokers(t *testing.T, n int32) *brokers {
	t.Helper()
	c := &brokers{t: t, server: memory.NewServer(500 * time.Millisecond), stop: map[int32]func(){}}
	for id := range n {
		c.start(id + 1)
	}
	c.view("all brokers live", func(v *cluster.View) bool { return len(v.Brokers) == int(n) })
	c.admin = c.client()
	return c
}

func (c *brokers) start(id int32) {
	log := slog.New(slog.NewTextHandler(c.t.Output(), nil)).With("on", id)
	coordinator := c.server.Open(log)
	cfg := broker.Config{
		ID: id, DataDir: c.t.TempDir(), Listen: "127.0.0.1:0", PeerListen: "127.0.0.1:0", MemoryBudget: 32 << 20,
		AutoCreateTopics: true, DefaultPartitions: 4, OffsetsPartitions: 2, RebalanceDelay: -1,
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- broker.Run(ctx, cfg, coordinator, nil, log) }()
	stopped := false
	c.stop[id] = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			c.t.Errorf("broker %d ended with %v, want nil", id, err)
		}
		if err := coordinator.Close(); err != nil {
			c.t.Error(err)
		}
	}
	c.t.Cleanup(c.stop[id])
}

// view watches the commit chain until ok holds.
func (c *brokers) view(what string, ok func(*cluster.View) bool) *cluster.View {
	c.t.Helper()
	coordinator := c.server.Open(nil)
	defer coordinator.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	v, reached := cluster.Empty(), false
	err := coordinator.Watch(ctx, func(e coordination.Event) {
		if reached {
			return
		}
		next, err := v.Apply(e)
		if err != nil {
			c.t.Error(err)
			cancel()
			return
		}
		if v = next; ok(v) {
			reached = true
			cancel()
		}
	})
	if !reached {
		c.t.Fatalf("not within %v: %s: %v", patience, what, err)
	}
	return v
}

func (c *brokers) addresses() []string {
	var list []string
	for _, b := range c.view("a broker", func(v *cluster.View) bool { return len(v.Brokers) > 0 }).Brokers {
		if !b.Fenced {
			list = append(list, fmt.Sprintf("%s:%d", b.Client.Host, b.Client.Port))
		}
	}
	return list
}

func (c *brokers) client(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.addresses()...), kgo.MetadataMinAge(25 * time.Millisecond), kgo.DialTimeout(2 * time.Second),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }), kgo.AllowAutoTopicCreation(),
	}, opts...)...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(cl.Close)
	return cl
}

func (c *brokers) create(topic string, partitions int32, factor int16) {
	c.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 20_000
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = topic, partitions, factor
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(c.deadline(), c.admin)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		c.t.Fatalf("create topic %s: %v", topic, err)
	}
	for p := range partitions {
		c.eventually("the topic is led", func() bool { return c.led(topic, p) })
	}
}

// led says whether the partition's leader serves: its view may be a moment behind the one that told of it.
func (c *brokers) led(topic string, partition int32) bool {
	req := kmsg.NewPtrListOffsetsRequest()
	rt := kmsg.NewListOffsetsRequestTopic()
	rp := kmsg.NewListOffsetsRequestTopicPartition()
	rp.Partition, rp.Timestamp = partition, -1
	rt.Topic, rt.Partitions = topic, append(rt.Partitions, rp)
	req.ReplicaID, req.Topics = -1, append(req.Topics, rt)
	resp, err := req.RequestWith(c.deadline(), c.admin)
	return err == nil && len(resp.Topics) == 1 && resp.Topics[0].Partitions[0].ErrorCode == 0
}

func (c *brokers) eventually(what string, ok func() bool) {
	c.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// deadline is a context that ends when the test has waited too long.
func (c *brokers) deadline() context.Context {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	c.t.Cleanup(cancel)
	return ctx
}

// produce sends the numbers from first up to last, exclusive.
func (c *brokers) produce(topic string, first, last int) {
	c.t.Helper()
	var records []*kgo.Record
	for i := first; i < last; i++ {
		records = append(records, &kgo.Record{Topic: topic, Value: fmt.Append(nil, i), Key: fmt.Append(nil, i)})
	}
	if err := c.client().ProduceSync(c.deadline(), records...).FirstErr(); err != nil {
		c.t.Fatalf("produce %d to %d: %v", first, last, err)
	}
}

// kcat runs Debian's kcat against the cluster and returns what it prints.
func (c *brokers) kcat(stdin string, args ...string) string {
	c.t.Helper()
	path, err := exec.LookPath("kcat")
	if err != nil {
		if os.Getenv("CI") != "" {
			c.t.Fatal("kcat is not installed: run make deps")
		}
		c.t.Skip("kcat is not installed: run make deps")
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append([]string{"-b", strings.Join(c.addresses(), ",")}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("kcat %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

// within fails the test unless err is nil or the context of the test ended it on purpose.
func (c *brokers) within(what string, err error) {
	c.t.Helper()
	if errors.Is(err, context.DeadlineExceeded) {
		c.t.Fatalf("not within %v: %s", patience, what)
	}
	if err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
}
