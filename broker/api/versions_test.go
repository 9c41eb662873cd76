package api_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/regency-project/regency/broker/group"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// call sends one request on a connection of its own and returns the body of the response.
func call(t *testing.T, addr string, req kmsg.Request) []byte {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("versions")).AppendRequest(nil, req, 77)); err != nil {
		t.Fatal(err)
	}
	var head [8]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		t.Fatalf("%s version %d: read response: %v", kmsg.NameForKey(req.Key()), req.GetVersion(), err)
	}
	if id := binary.BigEndian.Uint32(head[4:]); id != 77 {
		t.Fatalf("correlation id %d, want 77", id)
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	if _, err := io.ReadFull(conn, body); err != nil {
		t.Fatal(err)
	}
	if req.IsFlexible() && req.Key() != int16(kmsg.ApiVersions) {
		if body[0] != 0 {
			t.Fatalf("%s version %d: response header has %d tagged fields, want none", kmsg.NameForKey(req.Key()), req.GetVersion(), body[0])
		}
		body = body[1:]
	}
	return body
}

// requestOf fills in what makes the answer interesting.
func requestOf(key int16) kmsg.Request {
	req := kmsg.RequestForKey(key)
	switch r := req.(type) {
	case *kmsg.ProduceRequest:
		*r = kmsg.NewProduceRequest()
		r.Acks = -1
		p := kmsg.NewProduceRequestTopicPartition()
		topic := kmsg.NewProduceRequestTopic()
		topic.Topic, topic.Partitions = "missing", append(topic.Partitions, p)
		r.Topics = append(r.Topics, topic)
	case *kmsg.FetchRequest:
		*r = kmsg.NewFetchRequest()
		p := kmsg.NewFetchRequestTopicPartition()
		topic := kmsg.NewFetchRequestTopic()
		topic.Topic, topic.Partitions = "t", append(topic.Partitions, p)
		r.Topics = append(r.Topics, topic)
	case *kmsg.MetadataRequest:
		*r = kmsg.NewMetadataRequest()
		r.AllowAutoTopicCreation = false
		for _, name := range []string{"t", "missing", "bad name"} {
			topic := kmsg.NewMetadataRequestTopic()
			topic.Topic = kmsg.StringPtr(name)
			r.Topics = append(r.Topics, topic)
		}
	case *kmsg.DeleteRecordsRequest:
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Offset = 1
		topic := kmsg.NewDeleteRecordsRequestTopic()
		topic.Topic, topic.Partitions = "t", append(topic.Partitions, p)
		r.Topics = append(r.Topics, topic)
	case *kmsg.FindCoordinatorRequest:
		r.CoordinatorKey = "g"
	case *kmsg.JoinGroupRequest:
		*r = kmsg.NewJoinGroupRequest()
		r.Group, r.SessionTimeoutMillis, r.RebalanceTimeoutMillis, r.ProtocolType = "g", 6000, 6000, "consumer"
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name = "range"
		r.Protocols = append(r.Protocols, p)
	case *kmsg.OffsetFetchRequest:
		r.Group = "g"
	case *kmsg.DescribeGroupsRequest:
		r.Groups = []string{"g", ""}
	case *kmsg.DeleteGroupsRequest:
		r.Groups = []string{"missing"}
	case *kmsg.CreateTopicsRequest:
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "t", 1, 1
		r.Topics = append(r.Topics, topic)
	case *kmsg.DescribeConfigsRequest:
		for _, kind := range []kmsg.ConfigResourceType{kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger} {
			res := kmsg.NewDescribeConfigsRequestResource()
			res.ResourceType, res.ResourceName = kind, "1"
			r.Resources = append(r.Resources, res)
		}
	}
	return req
}

func responseOf(req kmsg.Request, body []byte) (kmsg.Response, error) {
	resp := req.ResponseKind()
	if err := resp.ReadFrom(body); err != nil {
		return nil, err
	}
	// What was not understood shows as a difference.
	if again := resp.AppendTo(nil); !bytes.Equal(again, body) {
		return nil, fmt.Errorf("response %x decodes to what encodes as %x", body, again)
	}
	return resp, nil
}

// Every version that is announced is answered, with a response that decodes in full; what is announced is exactly the promised table.
func TestEveryAnnouncedVersion(t *testing.T) {
	c := startBrokers(t, 1)
	c.create("t", 1, 1)
	c.produce("t", 0, 3)
	addr := c.addresses()[0]
	resp, err := responseOf(kmsg.NewPtrApiVersionsRequest(), call(t, addr, kmsg.NewPtrApiVersionsRequest()))
	if err != nil {
		t.Fatal(err)
	}
	want := map[int16][2]int16{
		0: {0, 10}, 1: {4, 12}, 2: {1, 6}, 3: {0, 11}, 8: {2, 8}, 9: {1, 7}, 10: {0, 3}, 11: {0, 7}, 12: {0, 4}, 13: {0, 4}, 14: {0, 5}, 15: {0, 5}, 16: {0, 4},
		18: {0, 4}, 19: {0, 7}, 20: {0, 6}, 21: {0, 2}, 22: {0, 4}, 23: {2, 4}, 32: {0, 4}, 37: {0, 3}, 42: {0, 2}, 47: {0, 0}, 60: {0, 0},
	}
	for _, k := range resp.(*kmsg.ApiVersionsResponse).ApiKeys {
		if w, ok := want[k.ApiKey]; !ok || w != [2]int16{k.MinVersion, k.MaxVersion} {
			t.Errorf("%s is announced as %d to %d, want %v", kmsg.NameForKey(k.ApiKey), k.MinVersion, k.MaxVersion, w)
		}
		delete(want, k.ApiKey)
		for v := k.MinVersion; v <= k.MaxVersion; v++ {
			if k.ApiKey == int16(kmsg.Produce) && v < 3 {
				continue // announced for KAFKA-18659 only
			}
			req := requestOf(k.ApiKey)
			req.SetVersion(v)
			if _, err := responseOf(req, call(t, addr, req)); err != nil {
				t.Errorf("%s version %d: %v", kmsg.NameForKey(k.ApiKey), v, err)
			}
		}
	}
	for key := range want {
		t.Errorf("%s is not announced", kmsg.NameForKey(key))
	}
}

func TestMetadata(t *testing.T) {
	c := startBrokers(t, 2)
	c.create("t", 2, 2)
	ask := func(version int16, auto bool, names ...string) *kmsg.MetadataResponse {
		req := kmsg.NewPtrMetadataRequest()
		req.AllowAutoTopicCreation = auto
		req.SetVersion(version)
		if names != nil {
			req.Topics = []kmsg.MetadataRequestTopic{}
		}
		for _, n := range names {
			topic := kmsg.NewMetadataRequestTopic()
			topic.Topic = kmsg.StringPtr(n)
			req.Topics = append(req.Topics, topic)
		}
		resp, err := responseOf(req, call(t, c.addresses()[0], req))
		if err != nil {
			t.Fatal(err)
		}
		return resp.(*kmsg.MetadataResponse)
	}
	codes := func(r *kmsg.MetadataResponse) []string {
		var out []string
		for _, topic := range r.Topics {
			out = append(out, fmt.Sprintf("%s:%d:%d", *topic.Topic, topic.ErrorCode, len(topic.Partitions)))
		}
		return out
	}
	for _, tt := range []struct {
		name string
		got  *kmsg.MetadataResponse
		want []string
	}{
		{"all, by null", ask(9, false), []string{"t:0:2"}},
		{"none, by an empty list", ask(9, false, []string{}...), nil},
		{"all, by an empty list in version 0", ask(0, false, []string{}...), []string{"t:0:2"}},
		{"unknown", ask(9, false, "u"), []string{"u:3:0"}},
		{"not allowed name", ask(9, true, "a b"), []string{"a b:17:0"}},
		{"created", ask(9, true, "new"), []string{"new:0:4"}},
		{"not created because it is internal", ask(9, true, group.Topic), []string{group.Topic + ":3:0"}},
		{"created by a version that cannot say", ask(3, false, "old"), []string{"old:0:4"}},
	} {
		if got := codes(tt.got); !slices.Equal(got, tt.want) {
			t.Errorf("%s: topics %v, want %v", tt.name, got, tt.want)
		}
	}
}

// The first coordinator that anybody looks for makes the offsets topic.
func TestFindCoordinatorMakesTheOffsetsTopic(t *testing.T) {
	c := startBrokers(t, 3)
	for _, addr := range c.addresses() {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.SetVersion(3)
		req.CoordinatorKey = "g"
		resp, err := responseOf(req, call(t, addr, req))
		if err != nil {
			t.Fatal(err)
		}
		r := resp.(*kmsg.FindCoordinatorResponse)
		if r.ErrorCode != 0 || r.NodeID < 1 || r.Port == 0 {
			t.Errorf("FindCoordinator = %+v, want a broker", r)
		}
	}
	for _, tt := range []struct {
		key  string
		kind int8
		want *kerr.Error
	}{{"", 0, kerr.InvalidGroupID}, {"tx", 1, kerr.InvalidRequest}} {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.SetVersion(3)
		req.CoordinatorKey, req.CoordinatorType = tt.key, tt.kind
		resp, err := responseOf(req, call(t, c.addresses()[0], req))
		if err != nil || resp.(*kmsg.FindCoordinatorResponse).ErrorCode != tt.want.Code {
			t.Errorf("FindCoordinator(%q, type %d) = %+v, %v, want code %d", tt.key, tt.kind, resp, err, tt.want.Code)
		}
	}
}
