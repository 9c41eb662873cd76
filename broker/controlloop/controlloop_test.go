package controlloop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/controller"
	"github.com/regency-project/regency/broker/event"
	"github.com/regency-project/regency/broker/peer"
	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/memory"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// candidate is a broker without anything but its candidacy.
type candidate struct {
	id      int32
	current *cluster.Current
	loop    *Loop
	client  *Client
	session coordination.Session
	events  *lines
	stop    func() // ends it like a kill: its session expires
}

// peers connects candidates without a network.
type peers struct {
	mu struct {
		sync.Mutex
		byAddr map[string]*candidate
	}
}

func (p *peers) Request(ctx context.Context, addr string, req kmsg.Request) (kmsg.Response, error) {
	p.mu.Lock()
	c := p.mu.byAddr[addr]
	p.mu.Unlock()
	if c == nil {
		return nil, fmt.Errorf("dial %s: %w", addr, peer.ErrUnavailable)
	}
	return c.client.Serve(ctx, req)
}

func start(t *testing.T, server *memory.Server, p *peers, id int32, delay time.Duration) *candidate {
	t.Helper()
	c := &candidate{id: id, current: cluster.NewCurrent(), events: &lines{}}
	ctx, cancel := context.WithCancel(t.Context())
	log := slog.New(slog.NewTextHandler(t.Output(), nil)).With("broker", id)
	coordinator := server.Open(log)
	session, err := coordinator.OpenSession(ctx, coordination.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.session = session
	if _, err := session.Bootstrap(ctx); err != nil {
		t.Fatal(err)
	}
	e := cluster.Endpoint{Host: "b" + strconv.Itoa(int(id)), Port: 1}
	reg, err := session.Register(ctx, coordination.Registration{
		ID: id, DirectoryUUID: fmt.Sprintf("directory-%d", id), Attributes: cluster.Attributes{Client: e, Peer: e}.Encode(),
	})
	if err != nil {
		t.Fatal(err)
	}
	c.loop = New(Config{ID: id, Coordinator: coordinator, Current: c.current, Events: event.New(c.events, id), Log: log, RebalanceDelay: delay})
	c.client = NewClient(ClientConfig{
		ID: id, Loop: c.loop, Current: c.current, Peers: p, DefaultPartitions: 3, DefaultReplicationFactor: 3, MaxPartitions: 1000,
		Epoch: func() int64 {
			if b := c.current.View().Brokers[id]; b.Incarnation == reg.Incarnation && !b.Fenced {
				return b.Epoch
			}
			return -1
		},
	})
	var running sync.WaitGroup
	view := cluster.Empty()
	running.Go(func() {
		_ = coordinator.Watch(ctx, func(e coordination.Event) {
			n, err := view.Apply(e)
			if err != nil {
				t.Errorf("broker %d: %v", id, err)
				return
			}
			view = n
			c.current.Set(n)
		})
	})
	running.Go(func() { _ = c.loop.Run(ctx) })
	running.Go(func() { _ = c.loop.Lead(ctx, session) })
	c.stop = sync.OnceFunc(func() {
		p.mu.Lock()
		delete(p.mu.byAddr, net.JoinHostPort(e.Host, "1"))
		p.mu.Unlock()
		_ = coordinator.Close() // before the context: nothing is resigned
		cancel()
		running.Wait()
	})
	t.Cleanup(c.stop)
	p.mu.Lock()
	p.mu.byAddr[net.JoinHostPort(e.Host, "1")] = c
	p.mu.Unlock()
	return c
}

func startAll(t *testing.T, server *memory.Server, delay time.Duration) []*candidate {
	t.Helper()
	p := &peers{}
	p.mu.byAddr = map[string]*candidate{}
	var all []*candidate
	for id := range int32(3) {
		all = append(all, start(t, server, p, id+1, delay))
	}
	for _, c := range all {
		c.wait(t, "three live brokers", func(v *cluster.View) bool { return v.Live(1) && v.Live(2) && v.Live(3) })
	}
	return all
}

func (c *candidate) wait(t *testing.T, what string, ok func(*cluster.View) bool) *cluster.View {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	v, err := c.current.Wait(ctx, ok)
	if err != nil {
		t.Fatalf("broker %d waits for %s: %v; view %+v", c.id, what, err, c.current.View())
	}
	return v
}

func create(t *testing.T, c *candidate, name string, partitions int32) kmsg.CreateTopicsResponseTopic {
	t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 7, 20_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 3
	req.Topics = append(req.Topics, topic)
	resp, err := c.client.CreateTopics(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Topics[0]
}

func TestControllerDies(t *testing.T) {
	all := startAll(t, memory.NewServer(300*time.Millisecond), -1)
	for i, c := range all { // the same request, wherever it is sent
		name := fmt.Sprintf("t%d", i)
		if r := create(t, c, name, 200); r.ErrorCode != 0 || r.NumPartitions != 200 {
			t.Fatalf("CreateTopics at broker %d = code %d (%v), %d partitions; want 0 and 200", c.id, r.ErrorCode, r.ErrorMessage, r.NumPartitions)
		}
		if r := create(t, c, name, 200); r.ErrorCode != kerr.TopicAlreadyExists.Code {
			t.Errorf("second CreateTopics = code %d, want %d", r.ErrorCode, kerr.TopicAlreadyExists.Code)
		}
	}
	first, survivors := leaderOf(t, all)
	first.stop()
	for _, c := range survivors {
		v := c.wait(t, "another controller and leaders", func(v *cluster.View) bool {
			return v.Controller != first.id && !v.Live(first.id) && led(v, first.id)
		})
		if v.Epoch != 2 {
			t.Errorf("controller epoch after one death = %d, want 2", v.Epoch)
		}
		c.events.await(t, "registration.gone", func(e map[string]any) bool { return e["id"] == float64(first.id) })
	}
	second, _ := leaderOf(t, survivors)
	second.events.await(t, "controller.loaded", func(e map[string]any) bool { return e["epoch"] == 2.0 })
	second.events.await(t, "controller.committed", func(e map[string]any) bool {
		return e["leaders"].(float64) > 0 && fmt.Sprint(e["brokers"]) == fmt.Sprintf("[%d]", first.id)
	})
	// Producer ids go on where the dead controller's view ended, from any broker.
	seen := map[int64]bool{}
	for _, c := range survivors {
		id, n, err := c.client.AllocateProducerIDs(t.Context())
		if err != nil || n != 1000 || seen[id] {
			t.Errorf("AllocateProducerIDs = %d, %d, %v; want a new block of 1000", id, n, err)
		}
		seen[id] = true
	}
}

// led says that every partition has a live leader that is not the given broker, which is in no ISR.
func led(v *cluster.View, not int32) bool {
	for _, topic := range v.Topics {
		for _, p := range topic.Partitions {
			if !v.Live(p.Leader) || p.Leader == not {
				return false
			}
			for _, id := range p.ISR {
				if id == not {
					return false
				}
			}
		}
	}
	return len(v.Topics) > 0
}

func leaderOf(t *testing.T, all []*candidate) (leader *candidate, others []*candidate) {
	t.Helper()
	id := all[0].current.View().Controller
	for _, c := range all {
		if c.id == id {
			leader = c
		} else {
			others = append(others, c)
		}
	}
	if leader == nil {
		t.Fatalf("controller %d is none of the candidates", id)
	}
	return leader, others
}

func TestShutdownThenRebalance(t *testing.T) {
	all := startAll(t, memory.NewServer(2*time.Second), 10*time.Millisecond)
	create(t, all[0], "t", 6)
	_, others := leaderOf(t, all)
	leaving := others[0]
	remaining, err := leaving.client.ControlledShutdown(t.Context())
	if err != nil || len(remaining) != 0 {
		t.Fatalf("ControlledShutdown = %v, %v; want nothing left", remaining, err)
	}
	v := others[1].wait(t, "leaderships moved", func(v *cluster.View) bool { return led(v, leaving.id) })
	if v.Controller == leaving.id || !v.Brokers[leaving.id].Stopping {
		t.Errorf("view after shutdown: %+v, want broker %d stopping", v.Brokers, leaving.id)
	}
}

// A preferred replica that is back in sync gets its leadership back; nothing else moves.
func TestRebalanceWhenWhole(t *testing.T) {
	server := memory.NewServer(2 * time.Second)
	all := startAll(t, server, 10*time.Millisecond)
	create(t, all[0], "t", 1)
	tp := cluster.TopicPartition{Topic: "t", Partition: 0}
	p, _ := all[0].current.View().Partition(tp)
	preferred, stays := p.Replicas[0], all[p.Replicas[0]%3]
	all[preferred-1].stop()
	stays.wait(t, "another leader", func(v *cluster.View) bool { return led(v, preferred) })
	start(t, server, stays.client.cfg.Peers.(*peers), preferred, 10*time.Millisecond)
	v := stays.wait(t, "the broker's return", func(v *cluster.View) bool { return v.Live(preferred) })
	p, _ = v.Partition(tp)
	change := controller.ISRChange{TopicID: v.Topics["t"].ID, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.Epoch}
	for _, id := range p.Replicas {
		change.ISR = append(change.ISR, controller.ISRMember{ID: id, Epoch: v.Brokers[id].Epoch})
	}
	proposal := controller.AlterPartition{Broker: p.Leader, BrokerEpoch: v.Brokers[p.Leader].Epoch, Changes: []controller.ISRChange{change}}
	for range 2 { // the second one is late
		reply, err := stays.client.AlterPartition(t.Context(), proposal)
		if err != nil {
			t.Fatal(err)
		}
		if r := reply.Results[0]; r.Err == nil && (len(r.Partition.ISR) != 3 || r.Partition.Epoch != p.Epoch+1) {
			t.Errorf("AlterPartition = %+v, want the whole ISR in epoch %d", r.Partition, p.Epoch+1)
		}
	}
	stays.wait(t, "the preferred leader", func(v *cluster.View) bool { p, _ := v.Partition(tp); return p.Leader == preferred })
	proposal.BrokerEpoch = 0
	if _, err := stays.client.AlterPartition(t.Context(), proposal); !errors.Is(err, controller.ErrStaleBrokerEpoch) {
		t.Errorf("AlterPartition with a stale broker epoch = %v, want ErrStaleBrokerEpoch", err)
	}
}

func TestServiceDown(t *testing.T) {
	server := memory.NewServer(500 * time.Millisecond)
	all := startAll(t, server, -1)
	before := all[0].current.View()
	server.SetDown(true)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if id, _, err := all[0].client.AllocateProducerIDs(ctx); err == nil {
		t.Errorf("AllocateProducerIDs with the service down = %d, want an error", id)
	}
	server.SetDown(false)
	if _, _, err := all[0].client.AllocateProducerIDs(t.Context()); err != nil {
		t.Errorf("AllocateProducerIDs after the service returned: %v", err)
	}
	after := all[0].current.View()
	if after.Epoch != before.Epoch || after.Brokers[1] != before.Brokers[1] {
		t.Errorf("after the service returned: epoch %d, broker %+v; want %d and %+v", after.Epoch, after.Brokers[1], before.Epoch, before.Brokers[1])
	}
}

func TestQueueIsBounded(t *testing.T) {
	l := New(Config{})
	tm := &term{l: l, queue: make(chan request, 1), done: make(chan struct{})}
	if _, err := l.Submit(t.Context(), controller.Rebalance{}); !errors.Is(err, ErrNotController) {
		t.Errorf("Submit without a term = %v, want ErrNotController", err)
	}
	l.setTerm(tm)
	tm.queue <- request{}
	if _, err := l.Submit(t.Context(), controller.Rebalance{}); !errors.Is(err, ErrBusy) {
		t.Errorf("Submit to a full queue = %v, want ErrBusy", err)
	}
	<-tm.queue
	close(tm.done)
	if _, err := l.Submit(t.Context(), controller.Rebalance{}); !errors.Is(err, ErrNotController) {
		t.Errorf("Submit to a term that is over = %v, want ErrNotController", err)
	}
}

func TestSplit(t *testing.T) {
	m := func(n int) coordination.Mutation {
		return coordination.Mutation{Key: "k", Value: make([]byte, n-1)}
	}
	c := coordination.Capabilities{MaxCommitBytes: 100, MaxCommitMutations: 3}
	for _, test := range []struct {
		sizes []int
		want  string
	}{
		{nil, "[]"},
		{[]int{1, 1, 1}, "[3]"},
		{[]int{1, 1, 1, 1}, "[3 1]"},
		{[]int{60, 60, 40}, "[1 2]"},
		{[]int{100, 100}, "[1 1]"},
		{[]int{101}, "transaction too large"},
	} {
		var ms []coordination.Mutation
		for _, n := range test.sizes {
			ms = append(ms, m(n))
		}
		batches, err := split(ms, c)
		lens := []int{}
		for _, b := range batches {
			lens = append(lens, len(b))
		}
		if got := fmt.Sprint(lens, err); !strings.Contains(got, test.want) {
			t.Errorf("split(%v) = %s, want %s", test.sizes, got, test.want)
		}
	}
}

// lines keeps what an event log writes.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) has(name string, ok func(map[string]any) bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(l.buf.Bytes()) {
		var e map[string]any
		if json.Unmarshal(line, &e) == nil && e["event"] == name && ok(e) {
			return true
		}
	}
	return false
}

func (l *lines) await(t *testing.T, name string, ok func(map[string]any) bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !l.has(name, ok) {
		if time.Now().After(deadline) {
			t.Fatalf("no event %s; have:\n%s", name, l.buf.String())
		}
		time.Sleep(5 * time.Millisecond)
	}
}
