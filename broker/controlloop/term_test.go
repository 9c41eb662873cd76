package controlloop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/controller"
	"github.com/regency-project/regency/coordination"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// chainOf is a leadership whose commits meet ordered fates, and the watch that tells of them.
type chainOf struct {
	current *cluster.Current
	view    *cluster.View
	fates   []fate        // of the coming commits; after them all are applied
	block   chan struct{} // commits wait until it is closed, if it is set
	limit   atomic.Int64  // of a commit's bytes; 0: 1 MiB
	commits int
	done    chan struct{}
	members members
}

// members are the registrations that watches tell of: those that are running, and those that begin later.
type members struct {
	mu       sync.Mutex
	list     []coordination.Registered
	watchers map[chan struct{}]struct{}
}

func (m *members) set(list []coordination.Registered) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = list
	for w := range m.watchers {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

func (m *members) watch(ctx context.Context, fn func([]coordination.Registered)) error {
	changed := make(chan struct{}, 1)
	m.mu.Lock()
	if m.watchers == nil {
		m.watchers = map[chan struct{}]struct{}{}
	}
	m.watchers[changed] = struct{}{}
	m.mu.Unlock()
	for {
		m.mu.Lock()
		list := m.list
		m.mu.Unlock()
		fn(list)
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

type fate struct {
	apply bool
	err   error
}

func (c *chainOf) Epoch() int32                 { return 1 }
func (c *chainOf) Seq() uint64                  { return 1 }
func (c *chainOf) Done() <-chan struct{}        { return c.done }
func (c *chainOf) Err() error                   { return nil }
func (c *chainOf) Resign(context.Context) error { return nil }
func (c *chainOf) Capabilities() coordination.Capabilities {
	limit := int(c.limit.Load())
	if limit == 0 {
		limit = 1 << 20
	}
	return coordination.Capabilities{MaxCommitBytes: limit, MaxCommitMutations: 1}
}
func (c *chainOf) commit(m []coordination.Mutation) (uint64, error) {
	v, err := c.view.Apply(coordination.Event{Kind: coordination.Delta, Lineage: "c", Seq: c.view.Seq + 1, Epoch: 1, Holder: 1, Mutations: m})
	if err != nil {
		return 0, err
	}
	c.view = v
	c.current.Set(v)
	return v.Seq, nil
}

func (c *chainOf) Commit(_ context.Context, m []coordination.Mutation) (uint64, error) {
	c.commits++
	if c.block != nil {
		<-c.block
	}
	f := fate{apply: true}
	if len(c.fates) > 0 {
		f, c.fates = c.fates[0], c.fates[1:]
	}
	if !f.apply {
		return 0, f.err
	}
	seq, err := c.commit(m)
	return seq, errors.Join(f.err, err)
}

// coordinator is only asked for its capabilities and the registrations.
type coordinator struct {
	coordination.Coordinator
	c *chainOf
}

func (c coordinator) Capabilities() coordination.Capabilities { return c.c.Capabilities() }

func (c coordinator) WatchRegistrations(ctx context.Context, fn func([]coordination.Registered)) error {
	return c.c.members.watch(ctx, fn)
}

func registered(incarnation string) []coordination.Registered {
	e := cluster.Endpoint{Host: "b", Port: 1}
	return []coordination.Registered{{Registration: coordination.Registration{
		ID: 1, DirectoryUUID: "d", Incarnation: incarnation, Attributes: cluster.Attributes{Client: e, Peer: e}.Encode(),
	}}}
}

// lead runs a term on the chain with one registered broker.
func lead(t *testing.T, fates ...fate) (*Loop, *chainOf, *cluster.Current) {
	t.Helper()
	c := &chainOf{current: cluster.NewCurrent(), view: cluster.Empty(), done: make(chan struct{})}
	if _, err := c.commit(nil); err != nil { // the claim
		t.Fatal(err)
	}
	l := New(Config{ID: 1, Coordinator: coordinator{c: c}, Current: c.current, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), RebalanceDelay: -1})
	c.members.set(registered("i"))
	c.fates = fates
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.serve(ctx, c) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve = %v", err)
		}
	})
	wait, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	if _, err := c.current.Wait(wait, func(v *cluster.View) bool { return v.Live(1) }); err != nil {
		t.Fatal(err)
	}
	return l, c, c.current
}

// TestNewTermStartsFromItsClaim: the next term of a process whose watches told it of nobody yet fences nobody.
func TestNewTermStartsFromItsClaim(t *testing.T) {
	c := &chainOf{current: cluster.NewCurrent(), view: cluster.Empty(), done: make(chan struct{})}
	if _, err := c.commit(nil); err != nil {
		t.Fatal(err)
	}
	r := registered("i")[0]
	if _, err := c.commit([]coordination.Mutation{cluster.PutBroker(cluster.Broker{ID: r.ID, Incarnation: r.Incarnation, DirectoryUUID: r.DirectoryUUID, Epoch: 2})}); err != nil {
		t.Fatal(err)
	}
	l := New(Config{ID: 1, Coordinator: coordinator{c: c}, Current: c.current, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), RebalanceDelay: -1})
	l.registrations(nil) // the process's own watch is behind
	c.members.set(registered("i"))
	fenced := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if _, err := c.current.Wait(ctx, func(v *cluster.View) bool { return v.Brokers[1].Fenced }); err == nil {
			fenced <- struct{}{}
		}
	})
	running.Go(func() { _ = l.serve(ctx, c) })
	for l.currentTerm() == nil {
		time.Sleep(time.Millisecond)
	}
	if _, err := l.Submit(ctx, controller.CreateTopic{Name: "t", ID: [16]byte{1}, Partitions: 1, ReplicationFactor: 1, MaxPartitions: 1}); err != nil {
		t.Errorf("CreateTopic on the broker that is registered = %v", err)
	}
	cancel()
	running.Wait()
	if len(fenced) != 0 {
		t.Error("the new controller fenced a live broker")
	}
}

func TestRegistrationsAreRetried(t *testing.T) {
	unavailable := fate{err: coordination.ErrUnavailable}
	_, _, current := lead(t, unavailable, unavailable)
	if b := current.View().Brokers[1]; b.Epoch != 2 {
		t.Errorf("broker epoch = %d, want that of commit 2", b.Epoch)
	}
}

// A commit whose answer is lost is neither success nor failure for the requester, and the next decision is made on what it came to.
func TestUnknownOutcome(t *testing.T) {
	unknown := fmt.Errorf("lost: %w", coordination.ErrOutcomeUnknown)
	for name, test := range map[string]struct {
		fates []fate
		want  error // of the request that follows
	}{
		"applied":          {[]fate{{true, unknown}}, controller.ErrTopicExists},
		"not applied":      {[]fate{{false, unknown}}, nil},
		"settles late":     {[]fate{{true, unknown}, {false, coordination.ErrUnavailable}, {false, unknown}}, controller.ErrTopicExists},
		"second of two":    {[]fate{{true, nil}, {false, unknown}}, nil},
		"service down":     {[]fate{{false, coordination.ErrUnavailable}}, nil},
		"down in the mids": {[]fate{{true, nil}, {false, coordination.ErrUnavailable}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			l, c, current := lead(t)
			submit := func() error {
				_, err := l.Submit(t.Context(), controller.CreateTopic{Name: "t", ID: [16]byte{1}, Partitions: 100, ReplicationFactor: 1, MaxPartitions: 100})
				return err
			}
			if name == "applied" || name == "settles late" { // one chunk
				submit = func() error {
					_, err := l.Submit(t.Context(), controller.CreateTopic{Name: "t", ID: [16]byte{1}, Partitions: 1, ReplicationFactor: 1, MaxPartitions: 100})
					return err
				}
			}
			c.fates = test.fates
			err := submit()
			if !errors.Is(err, ErrUnsettled) && !errors.Is(err, coordination.ErrUnavailable) {
				t.Fatalf("Submit = %v, want ErrUnsettled or ErrUnavailable", err)
			}
			if name == "down in the mids" && !errors.Is(err, ErrUnsettled) {
				t.Errorf("Submit = %v after a part was committed, want ErrUnsettled", err)
			}
			deadline := time.Now().Add(20 * time.Second)
			for err = submit(); errors.Is(err, coordination.ErrUnavailable) || errors.Is(err, ErrUnsettled); err = submit() {
				if time.Now().After(deadline) {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
			}
			if !errors.Is(err, test.want) {
				t.Errorf("the request again = %v, want %v", err, test.want)
			}
			if v := current.View(); v.Topics["t"] == nil {
				t.Errorf("no topic at the end; records %v", v.Keys())
			}
		})
	}
}

// A topic request that runs out of time on the controller itself is answered as timed out, not as an unknown error.
func TestTimedOutOnTheController(t *testing.T) {
	l, c, current := lead(t)
	c.block = make(chan struct{})
	defer close(c.block)
	client := NewClient(ClientConfig{ID: 1, Loop: l, Current: current, MaxPartitions: 10})
	req, topic := kmsg.NewPtrCreateTopicsRequest(), kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "t", 1, 1
	req.Version, req.TimeoutMillis, req.Topics = 7, 50, []kmsg.CreateTopicsRequestTopic{topic}
	resp, err := client.CreateTopics(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if code := resp.Topics[0].ErrorCode; code != kerr.RequestTimedOut.Code {
		t.Errorf("CreateTopics with a commit that hangs = code %d, want %d", code, kerr.RequestTimedOut.Code)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := l.Submit(ctx, controller.Rebalance{}); !errors.Is(err, ErrUnsettled) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Submit behind a commit that hangs = %v, want ErrUnsettled and the deadline", err)
	}
}

// A topic must leave its records room to grow; one that is too large all the same keeps no dead broker from being fenced.
func TestOversizedRecord(t *testing.T) {
	l, c, current := lead(t)
	makeTopic := func() error {
		_, err := l.Submit(t.Context(), controller.CreateTopic{Name: "t", ID: [16]byte{1}, Partitions: 64, ReplicationFactor: 1, MaxPartitions: 64})
		return err
	}
	if err := makeTopic(); err != nil {
		t.Fatal(err)
	}
	size := int64(0)
	for _, m := range cluster.PutTopic(current.View().Topics["t"]) {
		size = max(size, int64(sizeOf(m)))
	}
	if _, err := l.Submit(t.Context(), controller.DeleteTopic{Name: "t"}); err != nil {
		t.Fatal(err)
	}
	c.limit.Store(size*2 - 2)
	if err := makeTopic(); !errors.Is(err, coordination.ErrTooLarge) {
		t.Errorf("CreateTopic with a record of %d bytes = %v, want ErrTooLarge", size, err)
	}
	c.limit.Store(size * 2)
	if err := makeTopic(); err != nil {
		t.Errorf("CreateTopic with a record of %d bytes: %v", size, err)
	}
	c.limit.Store(size / 2)
	c.members.set(nil) // the broker's death changes both its own record and the topic's
	wait, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	if _, err := current.Wait(wait, func(v *cluster.View) bool { return v.Brokers[1].Fenced }); err != nil {
		t.Errorf("the dead broker is not fenced: %v", err)
	}
	// The loop goes on, with the record left as it is. A broker that returns is admitted once the topic is gone.
	c.members.set(registered("again"))
	if _, err := l.Submit(t.Context(), controller.DeleteTopic{Name: "t"}); err != nil {
		t.Errorf("DeleteTopic of the oversized topic: %v", err)
	}
	if _, err := current.Wait(wait, func(v *cluster.View) bool { return v.Live(1) }); err != nil {
		t.Errorf("the broker that returned is not admitted: %v", err)
	}
}
