package broker

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// payload is large enough, times a few thousand, to be in table and blob files, where a flipped bit meets a cold reader.
var payload = strings.Repeat("regency ", 128)

// fill produces n records with large values, and numbered keys.
func (c *testCluster) fill(cl *kgo.Client, topic string, n int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	var records []*kgo.Record
	for i := range n {
		records = append(records, &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "%d", i), Value: fmt.Appendf(nil, "%d %s", i, payload)})
	}
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		c.t.Fatalf("fill %s: %v", topic, err)
	}
}

// filled reads a topic to its end and checks that all n records of fill are there, once and unchanged.
func (c *testCluster) filled(v *cluster.View, topic string, n int) {
	c.t.Helper()
	cl := c.client(v, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	seen := map[string]bool{}
	for len(seen) < n {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			c.t.Fatalf("read %d of %d: %v", len(seen), n, fetches.Err())
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if want := fmt.Sprintf("%s %s", r.Key, payload); string(r.Value) != want || seen[string(r.Key)] {
				c.t.Errorf("record %s was changed or read twice", r.Key)
			}
			seen[string(r.Key)] = true
		})
	}
}

// flip changes one bit in the middle of the largest data file of a stopped broker, where the payload is.
func (c *testCluster) flip(id int32) {
	c.t.Helper()
	var name string
	var size int64
	err := filepath.WalkDir(filepath.Join(c.dirs[id], storeDir), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !(strings.HasSuffix(path, ".blob") || strings.HasSuffix(path, ".sst")) {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Size() > size {
			name, size = path, info.Size()
		}
		return err
	})
	if err != nil || name == "" {
		c.t.Fatalf("no data file of broker %d: %v", id, err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		c.t.Fatal(err)
	}
	i := len(data)/2 + bytes.Index(data[len(data)/2:], []byte("regency"))
	data[i] ^= 0x10
	if err := os.WriteFile(name, data, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *testCluster) awaitEvent(id int32, name string) {
	c.t.Helper()
	events := c.brokers[id].events
	deadline := time.Now().Add(patience)
	for !strings.Contains(events.String(), `"`+name+`"`) {
		if time.Now().After(deadline) {
			c.t.Fatalf("no event %s of broker %d", name, id)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

const filledRecords = 24_000

// TestDamagedReplicaIsRebuilt: a flipped bit costs one replica of one partition, which leaves the ISR and is filled again from the leader; nothing that was
// acknowledged is lost, even if the damage is the leader's, and the other partitions do not notice.
func TestDamagedReplicaIsRebuilt(t *testing.T) {
	c := newTestCluster(t, 2*time.Second, 1, 2, 3)
	v := c.live(1, 2, 3)
	c.keepPorts(v)
	cl := c.client(v, kgo.ProducerBatchCompression(kgo.NoCompression()))
	c.create(cl, "t", 1, 3)
	c.create(cl, "other", 3, 3)
	c.fill(cl, "t", filledRecords)
	c.produce(cl, "other", 0, 300)
	v = c.view("all in sync", whole)

	victim := v.Topics["t"].Partitions[0].Replicas[0] // the preferred leader: it leads again soon after its start
	c.stop(victim)
	c.flip(victim)
	c.scrub = 500 * time.Millisecond
	c.start(victim)
	c.awaitEvent(victim, "replica.damaged")
	c.awaitEvent(victim, "replica.rebuilding")
	v = c.view("all in sync again", func(v *cluster.View) bool { return v.Live(victim) && whole(v) })
	c.produce(cl, "other", 300, 400)
	c.consume(v, "other", 400)

	// The others go: what is read now is the victim's.
	for _, id := range []int32{1, 2, 3} {
		if id != victim {
			c.stop(id)
		}
	}
	v = c.view("the victim leads alone", func(v *cluster.View) bool {
		return v.Topics["t"].Partitions[0].Leader == victim && len(v.Topics["t"].Partitions[0].ISR) == 1
	})
	c.filled(v, "t", filledRecords)
}

// TestLastCopyDamagedStaysOffline: a partition whose only in-sync copy is damaged has no leader, before and after a restart, rather than a log with a hole; the rest
// of the broker serves.
func TestLastCopyDamagedStaysOffline(t *testing.T) {
	c := newTestCluster(t, 2*time.Second, 1, 2, 3)
	v := c.live(1, 2, 3)
	c.keepPorts(v)
	cl := c.client(v, kgo.ProducerBatchCompression(kgo.NoCompression()))
	c.create(cl, "t", 1, 1)
	c.create(cl, "other", 3, 3)
	c.fill(cl, "t", filledRecords)
	c.produce(cl, "other", 0, 100)
	v = c.view("all in sync", whole)
	victim := v.Topics["t"].Partitions[0].Leader
	c.stop(victim)
	c.flip(victim)
	c.scrub = 500 * time.Millisecond
	c.start(victim)
	offline := func(v *cluster.View) bool {
		p := v.Topics["t"].Partitions[0]
		return v.Live(victim) && p.Leader == cluster.NoLeader && slices.Equal(p.ISR, []int32{victim}) && p.Directories[0] == ""
	}
	c.view("the partition without a leader", offline)
	c.stop(victim)
	c.start(victim)
	v = c.view("the other topic in sync", func(v *cluster.View) bool {
		for _, p := range v.Topics["other"].Partitions {
			if len(p.ISR) != 3 {
				return false
			}
		}
		return v.Live(victim)
	})
	if !offline(v) {
		t.Errorf("after a restart the partition is %+v, want it offline", v.Topics["t"].Partitions[0])
	}
	c.produce(cl, "other", 100, 200)
	c.consume(v, "other", 200)
	if events := c.brokers[victim].events.String(); strings.Contains(events, "replica.rebuilding") {
		t.Error("the only copy was emptied")
	}
}

// TestLastMemberReturnsEmpty: the sole ISR member comes back with an empty disk: it has another directory, so it is not the member that the ISR means, and the
// partition stays offline instead of starting over at 0.
func TestLastMemberReturnsEmpty(t *testing.T) {
	c := newTestCluster(t, 2*time.Second, 1, 2, 3)
	v := c.live(1, 2, 3)
	c.keepPorts(v)
	cl := c.client(v)
	c.create(cl, "single", 1, 1)
	c.create(cl, "t", 1, 3)
	c.produce(cl, "single", 0, 100)
	c.produce(cl, "t", 0, 100)
	v = c.view("all in sync", whole)
	victim := v.Topics["single"].Partitions[0].Leader
	c.stop(victim)
	if err := os.RemoveAll(filepath.Join(c.dirs[victim], storeDir)); err != nil {
		t.Fatal(err)
	}
	c.start(victim)
	v = c.view("the replicated topic in sync", func(v *cluster.View) bool {
		return v.Live(victim) && len(v.Topics["t"].Partitions[0].ISR) == 3
	})
	if p := v.Topics["single"].Partitions[0]; p.Leader != cluster.NoLeader || !slices.Equal(p.ISR, []int32{victim}) {
		t.Errorf("the partition whose only copy is gone is %+v, want it without a leader", p)
	}
	c.consume(v, "t", 100)
}

// TestDeleteRecords: records go from all in-sync replicas, for good, and nothing else does.
func TestDeleteRecords(t *testing.T) {
	c := newTestCluster(t, 2*time.Second, 1, 2, 3)
	v := c.live(1, 2, 3)
	c.keepPorts(v)
	cl := c.client(v)
	c.create(cl, "t", 1, 3)
	c.produce(cl, "t", 0, 100)
	c.createWith(cl, "compacted", map[string]string{cluster.ConfigCleanupPolicy: "compact"})
	v = c.view("all in sync", whole)
	deleteTo := func(topic string, offset int64) (int64, error) {
		t.Helper()
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Offset = offset
		rt := kmsg.NewDeleteRecordsRequestTopic()
		rt.Topic, rt.Partitions = topic, append(rt.Partitions, p)
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.TimeoutMillis, req.Topics = 20_000, append(req.Topics, rt)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		resp, err := req.RequestWith(ctx, cl)
		if err != nil {
			t.Fatal(err)
		}
		answer := resp.Topics[0].Partitions[0]
		return answer.LowWatermark, kerr.ErrorForCode(answer.ErrorCode)
	}
	if low, err := deleteTo("t", 40); err != nil || low != 40 {
		t.Fatalf("DeleteRecords below 40 = %d, %v, want 40", low, err)
	}
	if low, err := deleteTo("t", 20); err != nil || low != 40 {
		t.Errorf("DeleteRecords below 20 = %d, %v, want the start as it is, 40", low, err)
	}
	if _, err := deleteTo("t", 101); err != kerr.OffsetOutOfRange {
		t.Errorf("DeleteRecords beyond the end = %v, want %v", err, kerr.OffsetOutOfRange)
	}
	if _, err := deleteTo("compacted", 0); err != kerr.PolicyViolation {
		t.Errorf("DeleteRecords of a compacted topic = %v, want %v", err, kerr.PolicyViolation)
	}
	first := func(v *cluster.View) int64 {
		t.Helper()
		reader := c.client(v, kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		defer reader.Close()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for {
			fetches := reader.PollFetches(ctx)
			if ctx.Err() != nil {
				t.Fatal("nothing to read")
			}
			if rs := fetches.Records(); len(rs) > 0 {
				return rs[0].Offset
			}
		}
	}
	leader := v.Topics["t"].Partitions[0].Leader
	c.kill(leader)
	v = c.view("another leader", func(v *cluster.View) bool {
		p := v.Topics["t"].Partitions[0]
		return p.Leader != leader && v.Live(p.Leader)
	})
	if got := first(v); got != 40 {
		t.Errorf("the next leader begins at %d, want 40: deleted records are back", got)
	}
	if low, err := deleteTo("t", -1); err != nil || low != 100 {
		t.Errorf("DeleteRecords of all = %d, %v, want 100", low, err)
	}
}

func (c *testCluster) createWith(cl *kgo.Client, topic string, configs map[string]string) {
	c.t.Helper()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = topic, 1, 3
	for name, value := range configs {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = name, &value
		rt.Configs = append(rt.Configs, config)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis, req.Topics = 20_000, append(req.Topics, rt)
	resp, err := req.RequestWith(c.t.Context(), cl)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
		c.t.Fatalf("create %s: %v", topic, err)
	}
}

// TestCompactedTopic: of each key the newest record stays, at its offset, on every replica; records without a key are refused.
func TestCompactedTopic(t *testing.T) {
	c := newTestCluster(t, 2*time.Second, 1, 2, 3)
	c.compactEvery = 200 * time.Millisecond
	v := c.live(1, 2, 3)
	c.keepPorts(v)
	for _, id := range []int32{1, 2, 3} {
		c.stop(id)
	}
	c.start(1, 2, 3)
	v = c.view("live", func(v *cluster.View) bool { return v.Live(1) && v.Live(2) && v.Live(3) })
	cl := c.client(v)
	c.createWith(cl, "t", map[string]string{cluster.ConfigCleanupPolicy: "compact", cluster.ConfigMinDirtyRatio: "0.01", cluster.ConfigMinInSyncReplicas: "1"})
	const keys, rounds = 10, 50
	for round := range rounds {
		for k := range keys {
			r := &kgo.Record{Topic: "t", Key: fmt.Appendf(nil, "k%d", k), Value: fmt.Appendf(nil, "%d", round)}
			if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte("no key")}).FirstErr(); err != kerr.InvalidRecord {
		t.Errorf("a record without a key = %v, want %v", err, kerr.InvalidRecord)
	}
	for _, id := range []int32{1, 2, 3} {
		c.awaitEvent(id, "log.compacted")
	}
	v = c.view("all in sync", whole)
	for _, leader := range []int32{1, 2, 3} {
		read := c.latest(v, "t", keys*rounds)
		if len(read) >= keys*rounds {
			t.Errorf("%d records are left of %d: nothing was compacted", len(read), keys*rounds)
		}
		newest := map[string]string{}
		for _, r := range read {
			newest[string(r.Key)] = string(r.Value)
		}
		for k := range keys {
			if got := newest[fmt.Sprintf("k%d", k)]; got != fmt.Sprint(rounds-1) {
				t.Errorf("key k%d is %q, want %d", k, got, rounds-1)
			}
		}
		if leader == 3 {
			break
		}
		was := v.Topics["t"].Partitions[0].Leader
		c.kill(was)
		v = c.view("another leader", func(v *cluster.View) bool {
			p := v.Topics["t"].Partitions[0]
			return p.Leader != was && v.Live(p.Leader) && !slices.Contains(p.ISR, was)
		})
	}
}

// latest reads a partition from its start to the offset end, and checks that offsets grow.
func (c *testCluster) latest(v *cluster.View, topic string, end int64) []*kgo.Record {
	c.t.Helper()
	reader := c.client(v, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer reader.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	var all []*kgo.Record
	for len(all) == 0 || all[len(all)-1].Offset < end-1 {
		fetches := reader.PollFetches(ctx)
		if ctx.Err() != nil {
			c.t.Fatalf("read %d records: %v", len(all), fetches.Err())
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if n := len(all); n > 0 && all[n-1].Offset >= r.Offset {
				c.t.Errorf("offset %d follows %d", r.Offset, all[n-1].Offset)
			}
			all = append(all, r)
		})
	}
	return all
}
