package api_test

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/group"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumer is a member of a group that collects what it reads.
type consumer struct {
	cl   *kgo.Client
	stop func()
	mu   struct {
		sync.Mutex
		values []int
		owned  map[int32]bool
	}
}

func (c *brokers) consumer(groupID, topic string, opts ...kgo.Opt) *consumer {
	c.t.Helper()
	k := &consumer{}
	k.mu.owned = map[int32]bool{}
	own := func(owned bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, tps map[string][]int32) {
			k.mu.Lock()
			defer k.mu.Unlock()
			for _, p := range tps[topic] {
				if owned {
					k.mu.owned[p] = true
				} else {
					delete(k.mu.owned, p)
				}
			}
		}
	}
	k.cl = c.client(append([]kgo.Opt{
		kgo.ConsumerGroup(groupID), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(100 * time.Millisecond), kgo.AutoCommitInterval(100 * time.Millisecond),
		kgo.OnPartitionsAssigned(own(true)), kgo.OnPartitionsRevoked(own(false)), kgo.OnPartitionsLost(own(false)),
	}, opts...)...)
	ctx, cancel := context.WithCancel(c.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			fetches := k.cl.PollFetches(ctx)
			if ctx.Err() != nil {
				return
			}
			k.mu.Lock()
			fetches.EachRecord(func(r *kgo.Record) {
				n, _ := strconv.Atoi(string(r.Value))
				k.mu.values = append(k.mu.values, n)
			})
			k.mu.Unlock()
		}
	}()
	k.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		ctx, cancel := context.WithTimeout(context.Background(), patience) // the test's own context has ended in a clean-up
		defer cancel()
		if err := k.cl.CommitUncommittedOffsets(ctx); err != nil {
			c.t.Errorf("commit on leaving: %v", err)
		}
		k.cl.Close()
	})
	c.t.Cleanup(k.stop)
	return k
}

func (k *consumer) values() []int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.mu.values)
}

func (k *consumer) owned() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.mu.owned)
}

func numbers(first, last int) []int {
	var list []int
	for i := first; i < last; i++ {
		list = append(list, i)
	}
	return list
}

// read is what consumers have read together, without repetition.
func read(ks ...*consumer) []int {
	var all []int
	for _, k := range ks {
		all = append(all, k.values()...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestGroupRebalances(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts []kgo.Opt
	}{
		{"cooperative", nil},
		{"eager", []kgo.Opt{kgo.Balancers(kgo.RangeBalancer())}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := startBrokers(t, 1)
			c.create("t", 4, 1)
			c.produce("t", 0, 100)
			a := c.consumer("g", "t", tt.opts...)
			c.eventually("the first consumer has all partitions and records", func() bool { return a.owned() == 4 && len(read(a)) == 100 })

			b := c.consumer("g", "t", tt.opts...)
			c.eventually("the partitions are shared", func() bool { return a.owned() == 2 && b.owned() == 2 })
			c.produce("t", 100, 200)
			c.eventually("both have read", func() bool { return slices.Equal(read(a, b), numbers(0, 200)) })

			b.stop()
			c.eventually("the partitions are given back", func() bool { return a.owned() == 4 })
			c.produce("t", 200, 300)
			c.eventually("the rest is read", func() bool { return slices.Equal(read(a, b), numbers(0, 300)) })
			a.stop()

			again := c.consumer("g", "t", tt.opts...)
			c.produce("t", 300, 310)
			c.eventually("the group goes on where it was", func() bool { return len(again.values()) >= 10 })
			if got := read(again); !slices.Equal(got, numbers(300, 310)) {
				t.Errorf("after committing 300 records the group reads %d values from %d on, want 10 from 300 on", len(got), got[0])
			}
		})
	}
}

func TestGroupWithStaticMember(t *testing.T) {
	c := startBrokers(t, 1)
	c.create("t", 2, 1)
	static := []kgo.Opt{kgo.InstanceID("one")}
	a := c.consumer("g", "t", static...)
	c.eventually("assigned", func() bool { return a.owned() == 2 })
	generation := c.describe("g").generation(t, c)
	a.stop() // a static member does not leave
	b := c.consumer("g", "t", static...)
	c.eventually("assigned to its successor", func() bool { return b.owned() == 2 })
	if got := c.describe("g").generation(t, c); got != generation {
		t.Errorf("generation after the restart of a static member = %d, want %d as before", got, generation)
	}
}

// described is one group as DescribeGroups tells it.
type described struct {
	kmsg.DescribeGroupsResponseGroup
}

func (c *brokers) describe(id string) described {
	c.t.Helper()
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{id}
	resp, err := req.RequestWith(c.deadline(), c.admin)
	c.within("describe group", err)
	return described{resp.Groups[0]}
}

// generation is found out by asking with wrong ones.
func (d described) generation(t *testing.T, c *brokers) int32 {
	t.Helper()
	for g := range int32(20) {
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.Generation, req.MemberID, req.InstanceID = "g", g, d.Members[0].MemberID, d.Members[0].InstanceID
		resp, err := req.RequestWith(c.deadline(), c.admin)
		c.within("heartbeat", err)
		if resp.ErrorCode != kerr.IllegalGeneration.Code {
			return g
		}
	}
	t.Fatal("no generation below 20")
	return 0
}

func TestGroupAdministration(t *testing.T) {
	c := startBrokers(t, 3)
	c.create("t", 2, 3)
	c.produce("t", 0, 50)
	k := c.consumer("g", "t")
	c.eventually("all is read", func() bool { return len(read(k)) == 50 && k.owned() == 2 })

	d := c.describe("g")
	if d.State != "Stable" || d.ProtocolType != "consumer" || len(d.Members) != 1 || d.Members[0].ClientHost != "/127.0.0.1" {
		t.Errorf("describe = %+v, want a stable group of one", d)
	}
	if d := c.describe("nobody"); d.State != "Dead" || d.ErrorCode != 0 {
		t.Errorf("describe of a group that does not exist = %+v, want Dead without an error", d)
	}
	if code := c.deleteGroup("g"); code != kerr.NonEmptyGroup.Code {
		t.Errorf("delete with a member = code %d, want %d", code, kerr.NonEmptyGroup.Code)
	}
	if code := c.deleteOffset("g", "t"); code != kerr.GroupSubscribedToTopic.Code {
		t.Errorf("delete of an offset in use = code %d, want %d", code, kerr.GroupSubscribedToTopic.Code)
	}
	k.stop()
	c.eventually("the group is empty", func() bool { return c.describe("g").State == "Empty" })
	if got := c.committed("g", "t"); got[0]+got[1] != 50 {
		t.Errorf("committed offsets = %v, want 50 together", got)
	}
	if got := c.listed(); !slices.Equal(got, []string{"g"}) {
		t.Errorf("list = %v, want [g]", got)
	}
	if code := c.deleteOffset("g", "t"); code != 0 {
		t.Errorf("delete of an offset = code %d, want 0", code)
	}
	if got := c.committed("g", "t"); got[0] != -1 {
		t.Errorf("committed offset after its deletion = %d, want -1", got[0])
	}
	if code := c.deleteGroup("g"); code != 0 {
		t.Errorf("delete = code %d, want 0", code)
	}
	if code := c.deleteGroup("g"); code != kerr.GroupIDNotFound.Code {
		t.Errorf("second delete = code %d, want %d", code, kerr.GroupIDNotFound.Code)
	}
}

func (c *brokers) deleteGroup(id string) int16 {
	c.t.Helper()
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = []string{id}
	resp, err := req.RequestWith(c.deadline(), c.admin)
	c.within("delete group", err)
	return resp.Groups[0].ErrorCode
}

func (c *brokers) deleteOffset(id, topic string) int16 {
	c.t.Helper()
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = id
	rt := kmsg.NewOffsetDeleteRequestTopic()
	rt.Topic, rt.Partitions = topic, []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(c.deadline(), c.admin)
	c.within("delete offset", err)
	if resp.ErrorCode != 0 {
		return resp.ErrorCode
	}
	return resp.Topics[0].Partitions[0].ErrorCode
}

// committed is the group's committed offset of each partition.
func (c *brokers) committed(id, topic string) map[int32]int64 {
	c.t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = id
	rt := kmsg.NewOffsetFetchRequestTopic()
	rt.Topic, rt.Partitions = topic, []int32{0, 1}
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(c.deadline(), c.admin)
	c.within("fetch offsets", err)
	out := map[int32]int64{}
	for _, p := range resp.Topics[0].Partitions {
		if p.ErrorCode != 0 {
			c.t.Fatalf("fetch offset of %s-%d: %v", topic, p.Partition, kerr.ErrorForCode(p.ErrorCode))
		}
		out[p.Partition] = p.Offset
	}
	return out
}

// listed is what all brokers coordinate.
func (c *brokers) listed() []string {
	c.t.Helper()
	var ids []string
	for _, shard := range c.admin.RequestSharded(c.deadline(), kmsg.NewPtrListGroupsRequest()) {
		c.within("list groups", shard.Err)
		for _, g := range shard.Resp.(*kmsg.ListGroupsResponse).Groups {
			ids = append(ids, g.Group)
		}
	}
	slices.Sort(ids)
	return ids
}

// A coordinator that stops hands its groups over; what was committed is there, and members go on.
func TestGroupOutlivesItsCoordinator(t *testing.T) {
	c := startBrokers(t, 3)
	c.create("t", 4, 3)
	c.produce("t", 0, 200)
	k := c.consumer("g", "t")
	c.eventually("all is read", func() bool { return len(read(k)) == 200 })
	leader := func(v *cluster.View) int32 {
		t := v.Topics[group.Topic]
		return t.Partitions[group.Partition("g", int32(len(t.Partitions)))].Leader
	}
	before := leader(c.view("the offsets topic", func(v *cluster.View) bool { return v.Topics[group.Topic] != nil }))
	c.stop[before]()
	c.view("another coordinator", func(v *cluster.View) bool { return leader(v) != before && v.Live(leader(v)) })
	c.produce("t", 200, 400)
	c.eventually("the rest is read", func() bool { return len(read(k)) == 400 })
	k.stop()
	again := c.consumer("g", "t")
	c.produce("t", 400, 401)
	c.eventually("the group goes on", func() bool { return slices.Contains(again.values(), 400) })
	if got := read(again); !slices.Equal(got, []int{400}) {
		t.Errorf("the group reads %v after the change of coordinator, want only 400", got)
	}
}
