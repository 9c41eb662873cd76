package cluster

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination"
)

func topic(name string, partitions int) *Topic {
	t := &Topic{Name: name, ID: [16]byte{byte(len(name)), 1}, Configs: map[string]string{ConfigRetentionMillis: "5"}}
	for i := range partitions {
		t.Partitions = append(t.Partitions, Partition{Replicas: []int32{1}, ISR: []int32{1}, Directories: []string{"d"}, Leader: 1, LeaderEpoch: int32(i)})
	}
	return t
}

func TestDeltasAndSnapshotAgree(t *testing.T) {
	big, gone := topic("big", 2*ChunkSize+1), topic("gone", 1)
	var ms []coordination.Mutation
	ms = append(ms, PutTopic(big)...)
	ms = append(ms, PutTopic(gone)...)
	ms = append(ms, PutBroker(Broker{ID: 1, Epoch: 1}), PutBroker(Broker{ID: 2}), DeleteBroker(2), PutProducerIDs(ProducerIDs{Next: 7}))
	ms = append(ms, DeleteTopic(gone)...)
	v := Empty()
	for i, m := range ms { // each in a commit of its own: a topic is seen when its last chunk is there
		n, err := v.Apply(coordination.Event{Kind: coordination.Delta, Lineage: "c", Seq: v.Seq + 1, Epoch: 3, Holder: 1, Mutations: []coordination.Mutation{m}})
		if err != nil {
			t.Fatal(err)
		}
		if seen := n.Topics["big"] != nil; seen != (i >= 2) {
			t.Errorf("after chunk %d the topic is seen: %v", i, seen)
		}
		if v.Seq != uint64(i) {
			t.Fatal("Apply changed its receiver")
		}
		v = n
	}
	records := map[string][]byte{}
	for _, m := range ms {
		if records[m.Key] = m.Value; m.Value == nil {
			delete(records, m.Key)
		}
	}
	s, err := Empty().Apply(coordination.Event{Kind: coordination.Snapshot, Lineage: "c", Seq: v.Seq, Epoch: 3, Holder: 1, Records: records})
	if err != nil {
		t.Fatal(err)
	}
	v.ClusterID = s.ClusterID // deltas follow a snapshot, which tells it
	if !reflect.DeepEqual(v, s) {
		t.Errorf("by deltas %+v, by snapshot %+v", v, s)
	}
	if !reflect.DeepEqual(v.Topics["big"], big) || v.Topics["gone"] != nil || !v.Live(1) || v.Live(2) || v.ProducerIDs.Next != 7 {
		t.Errorf("view = %+v", v)
	}
	for _, tp := range []TopicPartition{{"big", -1}, {"big", int32(len(big.Partitions))}, {"gone", 0}} {
		if _, ok := v.Partition(tp); ok {
			t.Errorf("Partition(%v) is there", tp)
		}
	}
}

func TestBadRecords(t *testing.T) {
	other := putChunk(topic("othername", 65), 1)
	other.Key = "topic/t/1"
	for name, ms := range map[string][]coordination.Mutation{
		"unknown kind":    {{Key: "acl/1", Value: []byte("{}")}},
		"broker id":       {{Key: "broker/x", Value: []byte("{}")}},
		"broker":          {{Key: "broker/1", Value: []byte("{")}},
		"producer ids":    {{Key: "producer-ids", Value: []byte("7")}},
		"topic key":       {{Key: "topic/t", Value: []byte("{}")}},
		"topic":           {{Key: "topic/t/0", Value: []byte("[")}},
		"topic id":        {{Key: "topic/t/0", Value: []byte(`{"id":"00","partitions":1,"states":[{}]}`)}},
		"mixed topics":    {putChunk(topic("t", 65), 0), other},
		"deleted unknown": {{Key: "acl/1"}},
	} {
		_, err := Empty().Apply(coordination.Event{Kind: coordination.Delta, Seq: 1, Mutations: ms})
		if err == nil || !strings.Contains(err.Error(), ms[len(ms)-1].Key) {
			t.Errorf("%s: Apply = %v, want an error that names %s", name, err, ms[len(ms)-1].Key)
		}
	}
	if _, err := Empty().Apply(coordination.Event{Kind: coordination.Delta, Seq: 2}); err == nil {
		t.Error("Apply over a gap succeeded")
	}
	v := Empty()
	if n, err := v.Apply(coordination.Event{Kind: coordination.Alive, Seq: 9}); n != v || err != nil {
		t.Errorf("Apply(alive) = %+v, %v; want the receiver", n, err)
	}
}

func TestCurrent(t *testing.T) {
	c := NewCurrent()
	done := make(chan error, 1)
	go func() {
		_, err := c.Wait(t.Context(), func(v *View) bool { return v.Seq >= 2 })
		done <- err
	}()
	for _, seq := range []uint64{1, 3, 2} {
		v := Empty()
		v.Seq = seq
		c.Set(v)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := c.View().Seq; got != 3 {
		t.Errorf("View().Seq = %d, want 3: an older view must not replace a newer one", got)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	cancel(why)
	if _, err := c.Wait(ctx, func(*View) bool { return false }); !errors.Is(err, why) {
		t.Errorf("Wait = %v, want the cause", err)
	}
}

func TestConfigs(t *testing.T) {
	for _, bad := range []map[string]string{
		{"nothing": "1"}, {ConfigRetentionBytes: "-2"}, {ConfigMinInSyncReplicas: "0"}, {ConfigMaxMessageBytes: "many"},
		{ConfigCleanupPolicy: "delete, delete"}, {ConfigRetentionMillis: strings.Repeat("0", 256) + "1"},
		{ConfigCleanupPolicy: "delete," + strings.Repeat(" ", 256) + "compact"},
		{ConfigCleanupPolicy: ""}, {ConfigUncleanElection: "true"}, {ConfigUncleanElection: "perhaps"}, {ConfigCompression: "gzip"},
	} {
		if err := ValidateConfigs(bad); !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("ValidateConfigs(%v) = %v, want ErrInvalidConfig", bad, err)
		}
	}
	for _, d := range ConfigDefs() {
		if d.Default == "" {
			continue
		}
		if err := ValidateConfigs(map[string]string{d.Name: d.Default}); err != nil {
			t.Errorf("the default of %s is refused: %v", d.Name, err)
		}
	}
	for _, test := range []struct {
		configs map[string]string
		age     time.Duration
		bytes   int64
	}{
		{nil, 7 * 24 * time.Hour, 0},
		{map[string]string{ConfigRetentionMillis: "-1", ConfigRetentionBytes: "10"}, 0, 10},
		{map[string]string{ConfigRetentionMillis: "0"}, time.Millisecond, 0},
		{map[string]string{ConfigRetentionMillis: "9223372036854775807"}, time.Duration(1<<63-1) / time.Millisecond * time.Millisecond, 0},
		{map[string]string{ConfigCleanupPolicy: "compact", ConfigRetentionMillis: "5"}, 0, 0},
		{map[string]string{ConfigCleanupPolicy: "compact,delete", ConfigRetentionMillis: "5"}, 5 * time.Millisecond, 0},
	} {
		top := &Topic{Configs: test.configs}
		if age, bytes := top.Retention(); age != test.age || bytes != test.bytes {
			t.Errorf("Retention(%v) = %v, %d; want %v, %d", test.configs, age, bytes, test.age, test.bytes)
		}
	}
	for replicas, want := range map[int]int{1: 1, 2: 1, 3: 2, 5: 2} {
		if got := (&Topic{}).MinInSync(replicas); got != want {
			t.Errorf("MinInSync(%d) = %d, want %d", replicas, got, want)
		}
	}
}

func TestAttributes(t *testing.T) {
	a := Attributes{Client: Endpoint{Host: "c", Port: 1}, Peer: Endpoint{Host: "p", Port: 65535}, Rack: "r"}
	if got, err := ParseAttributes(a.Encode()); got != a || err != nil {
		t.Errorf("ParseAttributes(Encode) = %+v, %v; want %+v", got, err, a)
	}
	for _, bad := range []string{"", "{}", `{"client":{"host":"c","port":1}}`, `{"client":{"host":"c","port":1},"peer":{"host":"p","port":65536}}`} {
		if _, err := ParseAttributes([]byte(bad)); err == nil {
			t.Errorf("ParseAttributes(%q) succeeded", bad)
		}
	}
}
