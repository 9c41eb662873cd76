package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/detector"
	"github.com/regency-project/regency/broker/event"
	"github.com/regency-project/regency/broker/metafile"
	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/memory"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// mortal is a coordinator whose process can die: nothing is said to the service, and the session expires.
type mortal struct {
	coordination.Coordinator
	dead atomic.Bool
}

func (m *mortal) OpenSession(ctx context.Context, o coordination.SessionOptions) (coordination.Session, error) {
	s, err := m.Coordinator.OpenSession(ctx, o)
	return mortalSession{s, m}, err
}

func (m *mortal) die() {
	m.dead.Store(true)
	_ = m.Close()
}

type mortalSession struct {
	coordination.Session
	m *mortal
}

func (s mortalSession) Close(ctx context.Context) error {
	if s.m.dead.Load() {
		return nil
	}
	return s.Session.Close(ctx)
}

// running is a broker in this process.
type running struct {
	cfg    Config
	events *bytes.Buffer
	coord  *mortal
	cancel context.CancelFunc
	done   chan struct{}
	err    error // once done
}

type testCluster struct {
	t      *testing.T
	server *memory.Server
	detect detector.Config
	// For brokers that are started from now on; 0 is their default.
	scrub, compactEvery time.Duration
	brokers             map[int32]*running
	dirs                map[int32]string
	ports               map[int32][2]string // kept over restarts
}

func newTestCluster(t *testing.T, session time.Duration, ids ...int32) *testCluster {
	t.Helper()
	return newDetectingCluster(t, session, detector.Config{}, ids...)
}

func newDetectingCluster(t *testing.T, session time.Duration, d detector.Config, ids ...int32) *testCluster {
	t.Helper()
	c := &testCluster{t: t, detect: d, server: memory.NewServer(session), brokers: map[int32]*running{}, dirs: map[int32]string{}, ports: map[int32][2]string{}}
	for _, id := range ids {
		c.dirs[id] = t.TempDir()
		c.ports[id] = [2]string{"127.0.0.1:0", "127.0.0.1:0"}
	}
	c.start(ids...)
	return c
}

func (c *testCluster) start(ids ...int32) {
	c.t.Helper()
	for _, id := range ids {
		log := slog.New(slog.NewTextHandler(c.t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})).With("on", id)
		ctx, cancel := context.WithCancel(context.Background())
		r := &running{coord: &mortal{Coordinator: c.server.Open(log)}, cancel: cancel, done: make(chan struct{}), events: &bytes.Buffer{}}
		r.cfg = Config{
			ID: id, DataDir: c.dirs[id], Listen: c.ports[id][0], PeerListen: c.ports[id][1], MemoryBudget: 32 << 20,
			RebalanceDelay: 100 * time.Millisecond, ReplicaLagMax: 2 * time.Second, OffsetsPartitions: 2,
			Detector: c.detect, ScrubEvery: c.scrub, CompactEvery: c.compactEvery,
		}
		go func() {
			defer close(r.done)
			r.err = Run(ctx, r.cfg, r.coord, event.New(&locked{w: r.events}, id), log)
		}()
		c.brokers[id] = r
		c.t.Cleanup(func() {
			r.cancel()
			<-r.done
			_ = r.coord.Close()
		})
	}
}

type locked struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// kill ends a broker without any good-bye.
func (c *testCluster) kill(id int32) {
	c.t.Helper()
	r := c.brokers[id]
	r.coord.die()
	<-r.done
	if !errors.Is(r.err, coordination.ErrClosed) {
		c.t.Errorf("broker %d ended with %v, want ErrClosed", id, r.err)
	}
	delete(c.brokers, id)
}

// stop ends a broker in order.
func (c *testCluster) stop(id int32) {
	c.t.Helper()
	r := c.brokers[id]
	r.cancel()
	<-r.done
	if r.err != nil {
		c.t.Errorf("broker %d ended with %v, want nil", id, r.err)
	}
	_ = r.coord.Close()
	delete(c.brokers, id)
}

// view watches the chain itself until ok.
func (c *testCluster) view(what string, ok func(*cluster.View) bool) *cluster.View {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	coord := c.server.Open(nil)
	defer coord.Close()
	v := cluster.Empty()
	found := errors.New("found")
	wctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	_ = coord.Watch(wctx, func(e coordination.Event) {
		if context.Cause(wctx) != nil {
			return
		}
		next, err := v.Apply(e)
		if err != nil {
			stop(err)
			return
		}
		if v = next; ok(v) {
			stop(found)
		}
	})
	if cause := context.Cause(wctx); !errors.Is(cause, found) {
		c.t.Fatalf("waiting for %s: %v; brokers %+v", what, cause, v.Brokers)
	}
	return v
}

func (c *testCluster) live(ids ...int32) *cluster.View {
	c.t.Helper()
	return c.view(fmt.Sprintf("brokers %v", ids), func(v *cluster.View) bool {
		for id := range v.Brokers {
			if v.Live(id) != slices.Contains(ids, id) {
				return false
			}
		}
		return len(v.Brokers) >= len(ids)
	})
}

// keepPorts makes restarted brokers use the ports that they have now, as real ones do.
func (c *testCluster) keepPorts(v *cluster.View) {
	for id, b := range v.Brokers {
		c.ports[id] = [2]string{fmt.Sprintf("%s:%d", b.Client.Host, b.Client.Port), fmt.Sprintf("%s:%d", b.Peer.Host, b.Peer.Port)}
	}
}

func (c *testCluster) client(v *cluster.View, opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	var seeds []string
	for _, b := range v.Brokers {
		seeds = append(seeds, fmt.Sprintf("%s:%d", b.Client.Host, b.Client.Port))
	}
	opts = append([]kgo.Opt{
		kgo.SeedBrokers(seeds...), kgo.MetadataMinAge(25 * time.Millisecond), kgo.DialTimeout(time.Second),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		kgo.ProduceRequestTimeout(2 * time.Second), kgo.RequestTimeoutOverhead(2 * time.Second),
	}, opts...)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(cl.Close)
	return cl
}

func (c *testCluster) create(cl *kgo.Client, topic string, partitions int32, rf int16) {
	c.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 20_000
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = topic, partitions, rf
	req.Topics = append(req.Topics, rt)
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
		c.t.Fatalf("create %s: %v", topic, err)
	}
}

// produce sends values first…last-1, acks=all, and returns when all are acknowledged.
func (c *testCluster) produce(cl *kgo.Client, topic string, first, last int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	var records []*kgo.Record
	for i := first; i < last; i++ {
		records = append(records, &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "%d", i), Key: fmt.Appendf(nil, "%d", i)})
	}
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		c.t.Fatalf("produce %d…%d: %v", first, last, err)
	}
}

// consume reads the topic from the start until it has n records, and checks that each value 0…n-1 is there once.
func (c *testCluster) consume(v *cluster.View, topic string, n int) {
	c.t.Helper()
	cl := c.client(v, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	seen := map[string]int{}
	for count := 0; count < n; {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			c.t.Fatalf("consumed %d of %d: %v", count, n, fetches.Err())
		}
		fetches.EachRecord(func(r *kgo.Record) { seen[string(r.Value)]++; count++ })
	}
	for i := range n {
		if k := fmt.Sprint(i); seen[k] != 1 {
			c.t.Errorf("value %s was read %d times, want once", k, seen[k])
		}
	}
}

// whole says that every partition is led and all its replicas are in sync.
func whole(v *cluster.View) bool {
	for _, t := range v.Topics {
		for _, p := range t.Partitions {
			if p.Leader == cluster.NoLeader || len(p.ISR) != len(p.Replicas) {
				return false
			}
		}
	}
	return true
}

func TestClusterSurvivesAKill(t *testing.T) {
	c := newTestCluster(t, 500*time.Millisecond, 1, 2, 3)
	v := c.live(1, 2, 3)
	c.keepPorts(v)
	cl := c.client(v)
	c.create(cl, "t", 6, 3)
	c.produce(cl, "t", 0, 500)

	victim := v.Controller
	c.kill(victim)
	c.produce(cl, "t", 500, 1000) // all partitions: also those that the victim led
	v = c.view("other leaders", func(v *cluster.View) bool {
		for _, p := range v.Topics["t"].Partitions {
			if !v.Live(p.Leader) || slices.Contains(p.ISR, victim) {
				return false
			}
		}
		return v.Controller != victim
	})
	c.consume(v, "t", 1000)

	c.start(victim)
	v = c.view("the victim back in sync, and leading again", func(v *cluster.View) bool {
		leads := slices.ContainsFunc(v.Topics["t"].Partitions, func(p cluster.Partition) bool { return p.Leader == victim })
		return whole(v) && leads
	})
	c.produce(cl, "t", 1000, 1200)
	c.consume(v, "t", 1200)
}

func TestAllKilledAtOnce(t *testing.T) {
	c := newTestCluster(t, 500*time.Millisecond, 1, 2, 3)
	v := c.live(1, 2, 3)
	c.keepPorts(v)
	cl := c.client(v)
	c.create(cl, "t", 4, 3)
	c.create(cl, "single", 3, 1)
	c.produce(cl, "t", 0, 300)
	c.produce(cl, "single", 0, 100)
	for _, id := range []int32{1, 2, 3} {
		c.kill(id)
	}
	c.start(1, 2, 3)
	v = c.view("everything back", func(v *cluster.View) bool {
		return len(v.Topics) == 2 && v.Live(1) && v.Live(2) && v.Live(3) && whole(v)
	})
	c.consume(v, "t", 300)
	c.consume(v, "single", 100)
	c.produce(cl, "t", 300, 400)
	c.consume(v, "t", 400)
}

func TestStopHandsOver(t *testing.T) {
	c := newTestCluster(t, 5*time.Second, 1, 2, 3) // a session that nobody waits for
	v := c.live(1, 2, 3)
	c.keepPorts(v)
	cl := c.client(v)
	c.create(cl, "t", 6, 3)
	c.produce(cl, "t", 0, 100)
	began := time.Now()
	c.stop(v.Controller)
	c.produce(cl, "t", 100, 200)
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("hand-over and 100 records took %s: the session was waited for", took)
	}
	v = c.view("another controller", func(n *cluster.View) bool { return n.Controller != v.Controller })
	c.consume(v, "t", 200)
}

func TestRunRefuses(t *testing.T) {
	server := memory.NewServer(time.Second)
	run := func(cfg Config) error {
		coord := server.Open(nil)
		defer coord.Close()
		return Run(t.Context(), cfg, coord, nil, nil)
	}
	good := Config{ID: 1, DataDir: t.TempDir(), Listen: "127.0.0.1:0", PeerListen: "127.0.0.1:0", MemoryBudget: 32 << 20}

	cfg := good
	cfg.ID, cfg.DataDir, cfg.Listen, cfg.SourceAddress, cfg.OffsetsPartitions = -1, "", "nowhere", "host", -1
	err := run(cfg)
	for _, name := range []string{"ID", "DataDir", "Listen", "SourceAddress", "OffsetsPartitions"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Run(bad configuration) = %v, want it to name %s", err, name)
		}
	}

	cfg = good
	cfg.Listen = "0.0.0.0:0"
	if err := run(cfg); err == nil || !strings.Contains(err.Error(), "--advertise") {
		t.Errorf("Run on 0.0.0.0 without an advertised address = %v, want it to name --advertise", err)
	}

	cfg = good
	cfg.DataDir = t.TempDir()
	if err := metafile.Write(cfg.DataDir, metafile.Meta{Broker: 7, Directory: "d"}); err != nil {
		t.Fatal(err)
	}
	if err := run(cfg); !errors.Is(err, metafile.ErrRefused) {
		t.Errorf("Run on broker 7's directory = %v, want ErrRefused", err)
	}

	cfg = good
	cfg.DataDir = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(cfg.DataDir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(cfg); err == nil {
		t.Error("Run on a file as data directory succeeded")
	}
}
