package broker

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/detector"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestRollingKills kills one broker after the other under a stream of idempotent acks=all records, and then all at once: each acknowledged record is read once.
func TestRollingKills(t *testing.T) {
	for _, kind := range []detector.Kind{detector.Session, detector.Peer} {
		t.Run(string(kind), func(t *testing.T) { rollingKills(t, detector.Config{Kind: kind, Beat: 50 * time.Millisecond}) })
	}
}

func rollingKills(t *testing.T, d detector.Config) {
	c := newDetectingCluster(t, 300*time.Millisecond, d, 1, 2, 3)
	v := c.live(1, 2, 3)
	c.keepPorts(v)
	cl := c.client(v, kgo.RecordRetries(1<<30), kgo.RecordDeliveryTimeout(patience))
	c.create(cl, "t", 3, 3)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var sent, acked atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			n := sent.Add(1) - 1
			cl.Produce(context.WithoutCancel(ctx), &kgo.Record{Topic: "t", Key: fmt.Appendf(nil, "%d", n), Value: fmt.Appendf(nil, "%d", n)}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Errorf("record %d: %v", n, err)
					return
				}
				acked.Add(1)
			})
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
			}
		}
		if err := cl.Flush(t.Context()); err != nil {
			t.Errorf("flush: %v", err)
		}
	}()
	progress := func() {
		t.Helper()
		n := acked.Load()
		for deadline := time.Now().Add(patience); acked.Load() < n+200; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("no record is acknowledged any more; the view: %+v", c.view("any", func(v *cluster.View) bool { return v.Seq > 0 }).Topics["t"])
			}
		}
	}
	for _, id := range []int32{1, 2, 3, 1, 2, 3} {
		progress()
		c.kill(id)
		progress()
		c.start(id)
		c.view(fmt.Sprintf("broker %d in sync", id), func(v *cluster.View) bool { return v.Live(id) && whole(v) })
	}
	for _, id := range []int32{1, 2, 3} {
		c.kill(id)
	}
	c.start(1, 2, 3)
	progress()
	cancel()
	<-done
	v = c.view("everything in sync", func(v *cluster.View) bool { return v.Live(1) && v.Live(2) && v.Live(3) && whole(v) })
	t.Logf("%d records, %d acknowledged, %d commits, controller epoch %d", sent.Load(), acked.Load(), v.Seq, v.Epoch)
	c.consume(v, "t", int(sent.Load()))
}

// TestGroupSurvivesAKill: a consumer group goes on where it was after the death of its coordinator.
func TestGroupSurvivesAKill(t *testing.T) {
	c := newTestCluster(t, 500*time.Millisecond, 1, 2, 3)
	v := c.live(1, 2, 3)
	c.keepPorts(v)
	cl := c.client(v)
	c.create(cl, "t", 3, 3)
	read := func(from, to int) {
		t.Helper()
		g := c.client(v, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
			kgo.SessionTimeout(3*time.Second), kgo.HeartbeatInterval(300*time.Millisecond)) // a member whose leave its coordinator took to the grave
		defer g.Close()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		seen := map[string]int{}
		for len(seen) < to-from && ctx.Err() == nil {
			g.PollFetches(ctx).EachRecord(func(r *kgo.Record) { seen[string(r.Value)]++ })
		}
		for i := from; i < to; i++ {
			if seen[fmt.Sprint(i)] == 0 {
				t.Errorf("record %d was not read", i)
			}
		}
		if len(seen) != to-from {
			t.Errorf("the group read %d records, want %d", len(seen), to-from)
		}
		if err := g.CommitUncommittedOffsets(ctx); err != nil {
			t.Errorf("commit: %v", err)
		}
	}
	c.produce(cl, "t", 0, 300)
	read(0, 300)
	coordinator := c.coordinator(cl, "g")
	c.kill(coordinator)
	c.produce(cl, "t", 300, 600)
	read(300, 600)
}

func (c *testCluster) coordinator(cl *kgo.Client, group string) int32 {
	c.t.Helper()
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorKey = group
	for deadline := time.Now().Add(patience); ; {
		resp, err := req.RequestWith(c.t.Context(), cl)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
			if err == nil && len(resp.Coordinators) == 1 {
				return resp.Coordinators[0].NodeID
			}
			if err == nil {
				return resp.NodeID
			}
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("find coordinator of %q: %v", group, err)
		}
	}
}

// TestServiceDown: established leaders go on without the coordination service, and nothing moves when it returns.
func TestServiceDown(t *testing.T) {
	c := newDetectingCluster(t, 500*time.Millisecond, watching, 1, 2, 3)
	v := c.live(1, 2, 3)
	c.keepPorts(v)
	cl := c.client(v)
	c.create(cl, "t", 3, 3)
	c.produce(cl, "t", 0, 100)
	before := c.view("the topic", func(v *cluster.View) bool { return v.Topics["t"] != nil && whole(v) })
	c.server.SetDown(true)
	for began, n := time.Now(), 100; time.Since(began) < 1500*time.Millisecond; n += 10 { // three session timeouts
		c.produce(cl, "t", n, n+10)
	}
	c.server.SetDown(false)
	c.create(cl, "later", 1, 3) // a decision: only possible with the service
	after := c.view("the new topic", func(v *cluster.View) bool { return v.Topics["later"] != nil })
	if after.Epoch != before.Epoch {
		t.Errorf("controller epoch %d became %d", before.Epoch, after.Epoch)
	}
	for id, b := range before.Brokers {
		if after.Brokers[id] != b {
			t.Errorf("broker %d: %+v became %+v", id, b, after.Brokers[id])
		}
	}
	for i, p := range before.Topics["t"].Partitions {
		if n := after.Topics["t"].Partitions[i]; n.Leader != p.Leader || n.LeaderEpoch != p.LeaderEpoch || !slices.Equal(n.ISR, p.ISR) {
			t.Errorf("t-%d: %+v became %+v", i, p, n)
		}
	}
}

// TestTopicsComeAndGo: a topic can be deleted, made again under its name, and grown, and is then what it should be on every broker.
func TestTopicsComeAndGo(t *testing.T) {
	c := newTestCluster(t, 2*time.Second, 1, 2, 3)
	v := c.live(1, 2, 3)
	c.keepPorts(v)
	for round := range 3 {
		cl := c.client(v) // one that remembers nothing of the topic before
		c.create(cl, "t", 2, 3)
		c.produce(cl, "t", 0, 50)
		grow := kmsg.NewPtrCreatePartitionsRequest()
		grow.TimeoutMillis = 20_000
		gt := kmsg.NewCreatePartitionsRequestTopic()
		gt.Topic, gt.Count = "t", 130 // over chunks
		grow.Topics = append(grow.Topics, gt)
		grown, err := grow.RequestWith(t.Context(), cl)
		if err != nil || grown.Topics[0].ErrorCode != 0 {
			t.Fatalf("round %d: CreatePartitions = %+v, %v", round, grown, err)
		}
		c.view("130 partitions", func(v *cluster.View) bool { return v.Topics["t"] != nil && len(v.Topics["t"].Partitions) == 130 })
		c.produce(c.client(v), "t", 50, 100)
		c.consume(v, "t", 100)
		del := kmsg.NewPtrDeleteTopicsRequest()
		del.TimeoutMillis, del.TopicNames = 20_000, []string{"t"}
		dt := kmsg.NewDeleteTopicsRequestTopic()
		dt.Topic = kmsg.StringPtr("t")
		del.Topics = append(del.Topics, dt)
		deleted, err := del.RequestWith(t.Context(), cl)
		if err != nil || deleted.Topics[0].ErrorCode != 0 {
			t.Fatalf("round %d: DeleteTopics = %+v, %v", round, deleted, err)
		}
	}
	v = c.view("no topic", func(v *cluster.View) bool { return v.Topics["t"] == nil })
	for _, key := range v.Keys() {
		if _, _, ok := cluster.ParseChunkKey(key); ok {
			t.Errorf("record %s is left", key)
		}
	}
}
