package controlloop

import (
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/memory"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestTopicRequests sends each request through a broker that is not the controller.
func TestTopicRequests(t *testing.T) {
	all := startAll(t, memory.NewServer(10*time.Second), -1)
	_, others := leaderOf(t, all)
	c := others[0].client

	topic := func(name string, partitions int32, rf int16, configs ...string) kmsg.CreateTopicsRequestTopic {
		rt := kmsg.NewCreateTopicsRequestTopic()
		rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, partitions, rf
		for i := 0; i < len(configs); i += 2 {
			rc := kmsg.NewCreateTopicsRequestTopicConfig()
			rc.Name, rc.Value = configs[i], &configs[i+1]
			rt.Configs = append(rt.Configs, rc)
		}
		return rt
	}
	assigned := func(name string, first int32, replicas ...[]int32) kmsg.CreateTopicsRequestTopic {
		rt := topic(name, -1, -1)
		for i, r := range replicas {
			rt.ReplicaAssignment = append(rt.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: first + int32(i), Replicas: r})
		}
		return rt
	}
	noValue := topic("a", 1, 1, "retention.ms", "")
	noValue.Configs[0].Value = nil
	for name, test := range map[string]struct {
		topics []kmsg.CreateTopicsRequestTopic
		want   *kerr.Error // of the first one; nil: created
	}{
		"defaults":           {[]kmsg.CreateTopicsRequestTopic{topic("defaults", -1, -1)}, nil},
		"configured":         {[]kmsg.CreateTopicsRequestTopic{topic("configured", 1, 1, "retention.ms", "1000", "cleanup.policy", "compact,delete")}, nil},
		"assigned":           {[]kmsg.CreateTopicsRequestTopic{assigned("assigned", 0, []int32{3, 1}, []int32{2, 3})}, nil},
		"gap in assignment":  {[]kmsg.CreateTopicsRequestTopic{assigned("a", 1, []int32{1})}, kerr.InvalidReplicaAssignment},
		"unknown broker":     {[]kmsg.CreateTopicsRequestTopic{assigned("a", 0, []int32{9})}, kerr.InvalidReplicaAssignment},
		"both":               {[]kmsg.CreateTopicsRequestTopic{{Topic: "a", NumPartitions: 1, ReplicationFactor: 1, ReplicaAssignment: assigned("a", 0, []int32{1}).ReplicaAssignment}}, kerr.InvalidRequest},
		"twice":              {[]kmsg.CreateTopicsRequestTopic{topic("a", 1, 1), topic("a", 1, 1)}, kerr.InvalidRequest},
		"bad name":           {[]kmsg.CreateTopicsRequestTopic{topic("a b", 1, 1)}, kerr.InvalidTopicException},
		"no partitions":      {[]kmsg.CreateTopicsRequestTopic{topic("a", 0, 1)}, kerr.InvalidPartitions},
		"too many":           {[]kmsg.CreateTopicsRequestTopic{topic("a", 1001, 1)}, kerr.InvalidPartitions},
		"too few brokers":    {[]kmsg.CreateTopicsRequestTopic{topic("a", 1, 4)}, kerr.InvalidReplicationFactor},
		"unknown config":     {[]kmsg.CreateTopicsRequestTopic{topic("a", 1, 1, "colour", "red")}, kerr.InvalidConfig},
		"config without one": {[]kmsg.CreateTopicsRequestTopic{noValue}, kerr.InvalidConfig},
	} {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Version, req.TimeoutMillis, req.Topics = 7, 20_000, test.topics
		resp, err := c.CreateTopics(t.Context(), req)
		if err != nil || len(resp.Topics) != len(test.topics) {
			t.Errorf("%s: CreateTopics = %+v, %v", name, resp, err)
			continue
		}
		r := resp.Topics[0]
		if got := kerr.TypedErrorForCode(r.ErrorCode); got != test.want {
			t.Errorf("%s: CreateTopics = %v, want %v", name, got, test.want)
		}
		if (test.want == nil) != (r.ErrorMessage == nil) || r.Configs == nil {
			t.Errorf("%s: message %v, configs %v", name, r.ErrorMessage, r.Configs)
		}
	}
	v := others[0].current.View()
	if d := v.Topics["defaults"]; len(d.Partitions) != 3 || len(d.Partitions[0].Replicas) != 3 {
		t.Errorf("defaults: %+v, want 3 partitions of 3", d)
	}

	del := kmsg.NewPtrDeleteTopicsRequest()
	del.Version, del.TimeoutMillis = 6, 20_000
	byName, byID, unknown, unknownID := "assigned", v.Topics["configured"].ID, "nothing", [16]byte{9}
	del.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: &byName}, {TopicID: byID}, {Topic: &unknown}, {TopicID: unknownID}}
	deleted, err := c.DeleteTopics(t.Context(), del)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []*kerr.Error{nil, nil, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID} {
		if got := kerr.TypedErrorForCode(deleted.Topics[i].ErrorCode); got != want {
			t.Errorf("DeleteTopics[%d] = %v, want %v", i, got, want)
		}
	}
	if v := others[0].current.View(); len(v.Topics) != 1 {
		t.Errorf("topics after the deletion: %v, want only the one with defaults", v.TopicNames)
	}

	grow := kmsg.NewPtrCreatePartitionsRequest()
	grow.Version, grow.TimeoutMillis = 3, 20_000
	grow.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: "defaults", Count: 5}, {Topic: "defaults", Count: 2}, {Topic: "nothing", Count: 2}}
	grown, err := c.CreatePartitions(t.Context(), grow)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []*kerr.Error{nil, kerr.InvalidPartitions, kerr.UnknownTopicOrPartition} {
		if got := kerr.TypedErrorForCode(grown.Topics[i].ErrorCode); got != want {
			t.Errorf("CreatePartitions[%d] = %v, want %v", i, got, want)
		}
	}
}

// Without a controller a request is answered in its own time, as something to retry.
func TestNoController(t *testing.T) {
	server := memory.NewServer(10 * time.Second)
	all := startAll(t, server, -1)
	leader, others := leaderOf(t, all)
	leader.stop() // its session lasts longer than the request
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 7, 200
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = "t", 1, 1
	req.Topics = append(req.Topics, rt)
	resp, err := others[0].client.CreateTopics(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if e := kerr.TypedErrorForCode(resp.Topics[0].ErrorCode); e == nil || !e.Retriable {
		t.Errorf("CreateTopics without a controller = %v, want something retriable", e)
	}
}
