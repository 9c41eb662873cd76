package api

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/group"
	"github.com/regency-project/regency/broker/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// quiet is a broker without topics, whose one offsets partition nobody leads.
func quiet(t *testing.T) *Broker {
	t.Helper()
	v := cluster.Empty()
	v.Seq, v.ClusterID = 1, "c"
	v.Brokers[1] = cluster.Broker{ID: 1, Client: cluster.Endpoint{Host: "h", Port: 9}}
	v.Brokers[2] = cluster.Broker{ID: 2, Client: cluster.Endpoint{Host: "dead", Port: 9}, Fenced: true}
	v.Controller = 2
	v.Topics["t"] = &cluster.Topic{Name: "t", ID: [16]byte{0xee}, Partitions: []cluster.Partition{
		{Replicas: []int32{1, 2}, ISR: []int32{1}, Leader: 1, LeaderEpoch: 5}, {Replicas: []int32{2}, ISR: []int32{2}, Leader: 2, LeaderEpoch: 6},
	}}
	v.TopicNames[v.Topics["t"].ID] = "t"
	current := cluster.NewCurrent()
	current.Set(v)
	return &Broker{ID: 1, Current: current, Groups: group.NewManager(group.Config{Current: current})}
}

func at[R kmsg.Request](r R, version int16, fill func(R)) kmsg.Request {
	r.SetVersion(version)
	fill(r)
	return r
}

// What is null and what is empty on the wire, spelled out: clients fail on the wrong one. A field a line.
func TestNullAndEmptyOnTheWire(t *testing.T) {
	b := quiet(t)
	for _, tt := range []struct {
		name    string
		handler Handler
		req     kmsg.Request
		want    string
	}{
		{"JoinGroup 6, not the coordinator", b.joinGroup, at(kmsg.NewPtrJoinGroupRequest(), 6, func(r *kmsg.JoinGroupRequest) { r.Group, r.MemberID = "g", "m" }), `
			00000000  throttle
			0010      NOT_COORDINATOR
			ffffffff  generation
			01        protocol: empty, it is not nullable yet
			01        leader: empty
			02 6d     member "m"
			01        members: empty
			00        tags`},
		{"JoinGroup 7, not the coordinator", b.joinGroup, at(kmsg.NewPtrJoinGroupRequest(), 7, func(r *kmsg.JoinGroupRequest) { r.Group, r.MemberID = "g", "m" }), `
			00000000  throttle
			0010      NOT_COORDINATOR
			ffffffff  generation
			00        protocol type: null
			01        protocol: empty
			01        leader: empty
			02 6d     member "m"
			01        members: empty
			00        tags`},
		{"SyncGroup 5, no group", b.syncGroup, at(kmsg.NewPtrSyncGroupRequest(), 5, func(*kmsg.SyncGroupRequest) {}), `
			00000000  throttle
			0018      INVALID_GROUP_ID
			00        protocol type: null
			00        protocol: null
			01        assignment: empty
			00        tags`},
		{"LeaveGroup 4, not the coordinator", b.leaveGroup, at(kmsg.NewPtrLeaveGroupRequest(), 4, func(r *kmsg.LeaveGroupRequest) { r.Group = "g" }), `
			00000000  throttle
			0010      NOT_COORDINATOR
			01        members: empty
			00        tags`},
		{"OffsetFetch 7, not the coordinator, all topics", b.offsetFetch, at(kmsg.NewPtrOffsetFetchRequest(), 7, func(r *kmsg.OffsetFetchRequest) { r.Group = "g" }), `
			00000000  throttle
			01        topics: empty
			0010      NOT_COORDINATOR
			00        tags`},
		{"OffsetFetch 1, not the coordinator", b.offsetFetch, at(kmsg.NewPtrOffsetFetchRequest(), 1, func(r *kmsg.OffsetFetchRequest) {
			r.Group, r.Topics = "g", []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{3}}}
		}), `
			00000001  topics
			0001 74   "t"
			00000001  partitions
			00000003
			ffffffffffffffff  offset: none
			0000      metadata: empty
			0010      NOT_COORDINATOR`},
		{"OffsetCommit 8, unknown partition", b.offsetCommit, at(kmsg.NewPtrOffsetCommitRequest(), 8, func(r *kmsg.OffsetCommitRequest) {
			r.Group, r.Topics = "g", []kmsg.OffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: 9}, {Partition: 0}}}}
		}), `
			00000000  throttle
			02        topics
			02 74     "t"
			03        partitions
			00000009 0003 00  UNKNOWN_TOPIC_OR_PARTITION
			00000000 0010 00  NOT_COORDINATOR
			00 00     tags`},
		{"DescribeGroups 5, not the coordinator", b.describeGroups, at(kmsg.NewPtrDescribeGroupsRequest(), 5, func(r *kmsg.DescribeGroupsRequest) { r.Groups = []string{"g"} }), `
			00000000  throttle
			02        groups
			0010      NOT_COORDINATOR
			02 67     "g"
			01        state: empty
			01        protocol type: empty
			01        protocol: empty
			01        members: empty
			80000000  authorized operations: not asked
			00 00     tags`},
		{"FindCoordinator 3, transactions", b.findCoordinator, at(kmsg.NewPtrFindCoordinatorRequest(), 3, func(r *kmsg.FindCoordinatorRequest) { r.CoordinatorType = 1 }), `
			00000000  throttle
			002a      INVALID_REQUEST
			43 6f6e6c792067726f757020636f6f7264696e61746f7273206172652073657276 65643a207472616e73616374696f6e7320617265206e6f7420737570706f72746564  message
			ffffffff  node
			01        host: empty
			ffffffff  port
			00        tags`},
		{"Metadata 0", b.metadata, at(kmsg.NewPtrMetadataRequest(), 0, func(*kmsg.MetadataRequest) {}), `
			00000001  brokers: the live one
			00000001 0001 68 00000009
			00000001  topics
			0000 0001 74
			00000002  partitions
			0000 00000000 00000001  led by 1
			00000001 00000001       replicas: the live ones
			00000001 00000001       ISR
			0005 00000001 ffffffff  LEADER_NOT_AVAILABLE
			00000000                replicas: empty
			00000000                ISR: empty`},
		{"Metadata 11", b.metadata, at(kmsg.NewPtrMetadataRequest(), 11, func(r *kmsg.MetadataRequest) {
			r.Topics = []kmsg.MetadataRequestTopic{{Topic: kmsg.StringPtr("t")}, {Topic: kmsg.StringPtr("u")}, {TopicID: [16]byte{0xdd}}}
		}), `
			00000000  throttle
			02        brokers
			00000001 02 68 00000009 00 00  rack: null
			02 63     cluster id
			ffffffff  controller: the last is dead
			04        topics
			0000 02 74 ee000000000000000000000000000000 00
			03        partitions
			0000 00000000 00000001 00000005
			03 00000001 00000002    replicas
			02 00000001             ISR
			02 00000002             offline
			00
			0005 00000001 ffffffff 00000006
			02 00000002
			02 00000002
			02 00000002
			00
			80000000 00
			0003 02 75 00000000000000000000000000000000 00 01 80000000 00  no partitions: empty
			0064 01 dd000000000000000000000000000000 00 01 80000000 00     UNKNOWN_TOPIC_ID, the name empty: it is not nullable yet
			00        tags`},
		{"DescribeConfigs 4, unknown topic", b.describeConfigs, at(kmsg.NewPtrDescribeConfigsRequest(), 4, func(r *kmsg.DescribeConfigsRequest) {
			r.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "u"}}
		}), `
			00000000  throttle
			02        resources
			0003      UNKNOWN_TOPIC_OR_PARTITION
			19 746f706963202275222064 6f6573206e6f74206578697374  message
			02        topic
			02 75     "u"
			01        configs: empty
			00 00     tags`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			await, err := tt.handler(t.Context(), Caller{Listener: Client}, tt.req)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := await(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got, want := hex.EncodeToString(resp.AppendTo(nil)), unspell(tt.want); got != want {
				t.Errorf("response\n%s, want\n%s", got, want)
			}
		})
	}
}

// What is announced can be decoded.
func TestServedVersionsAreDecodable(t *testing.T) {
	for _, l := range []ListenerKind{Client, Peer} {
		for _, k := range Served(quiet(t).Keys(), l) {
			for v := max(k.Min, k.ServeMin); v <= k.Max; v++ {
				if !protocol.Decodable(k.Num, v) {
					t.Errorf("%s version %d has no shape in package protocol", kmsg.NameForKey(k.Num), v)
				}
			}
		}
	}
}

// unspell takes the leading hex digits of each line together.
func unspell(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		for field := range strings.FieldsSeq(line) {
			if _, err := hex.DecodeString(field); err != nil {
				break
			}
			b.WriteString(field)
		}
	}
	return b.String()
}
