package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// nullKeys are the requests that the null broker answers, with their newest version.
var nullKeys = map[int16]int16{int16(kmsg.Produce): 9, int16(kmsg.Metadata): 9, int16(kmsg.ApiVersions): 3, int16(kmsg.InitProducerID): 3, int16(kmsg.CreateTopics): 6}

// nullBroker parses requests, counts offsets, answers, and stores nothing: what the protocol alone costs.
func nullBroker(json.RawMessage) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	n := &null{addr: ln.Addr().(*net.TCPAddr)}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go n.serve(c)
		}
	}()
	return ready(ln.Addr().String())
}

type null struct{ addr *net.TCPAddr }

func (n *null) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReaderSize(c, 64<<10)
	var frame, out []byte
	offsets := map[int32]int64{}
	for {
		var head [4]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		size := int(binary.BigEndian.Uint32(head[:]))
		if cap(frame) < size {
			frame = make([]byte, size)
		}
		frame = frame[:size]
		if _, err := io.ReadFull(in, frame); err != nil {
			return
		}
		id, resp, err := n.handle(frame, offsets)
		if err != nil {
			return
		}
		out = binary.BigEndian.AppendUint32(append(out[:0], 0, 0, 0, 0), uint32(id))
		if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) {
			out = append(out, 0)
		}
		out = resp.AppendTo(out)
		binary.BigEndian.PutUint32(out, uint32(len(out)-4))
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

func (n *null) handle(frame []byte, offsets map[int32]int64) (int32, kmsg.Response, error) {
	r := kbin.Reader{Src: frame}
	key, version, id := r.Int16(), r.Int16(), r.Int32()
	r.NullableString()
	req := kmsg.RequestForKey(key)
	newest, known := nullKeys[key]
	if !known || version > newest && key != int16(kmsg.ApiVersions) {
		return 0, nil, fmt.Errorf("key %d version %d", key, version)
	}
	if version > newest { // a client's first guess
		version = 0
		v := kmsg.NewPtrApiVersionsResponse()
		v.ErrorCode = 35
		return id, n.versions(v), nil
	}
	req.SetVersion(version)
	if req.IsFlexible() {
		kmsg.SkipTags(&r)
	}
	if err := req.ReadFrom(r.Src); err != nil {
		return 0, nil, err
	}
	resp := req.ResponseKind()
	switch resp := resp.(type) {
	case *kmsg.ApiVersionsResponse:
		n.versions(resp)
	case *kmsg.InitProducerIDResponse:
		resp.ProducerID = 1
	case *kmsg.MetadataResponse:
		n.metadata(resp)
	case *kmsg.CreateTopicsResponse:
		t := kmsg.NewCreateTopicsResponseTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = topic, topicPartitions, 1
		resp.Topics = append(resp.Topics, t)
	case *kmsg.ProduceResponse:
		produce(req.(*kmsg.ProduceRequest), resp, offsets)
	}
	return id, resp, nil
}

func (n *null) versions(resp *kmsg.ApiVersionsResponse) kmsg.Response {
	for key, newest := range nullKeys {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MaxVersion = key, newest
		resp.ApiKeys = append(resp.ApiKeys, k)
	}
	return resp
}

func (n *null) metadata(resp *kmsg.MetadataResponse) {
	b := kmsg.NewMetadataResponseBroker()
	b.NodeID, b.Host, b.Port = 1, n.addr.IP.String(), int32(n.addr.Port)
	resp.Brokers, resp.ControllerID = append(resp.Brokers, b), 1
	t := kmsg.NewMetadataResponseTopic()
	t.Topic = kmsg.StringPtr(topic)
	for i := range int32(topicPartitions) {
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Partition, p.Leader, p.Replicas, p.ISR = i, 1, []int32{1}, []int32{1}
		t.Partitions = append(t.Partitions, p)
	}
	resp.Topics = append(resp.Topics, t)
}

// produce answers with the next offsets. It looks at the batch's header, not into it.
func produce(req *kmsg.ProduceRequest, resp *kmsg.ProduceResponse, offsets map[int32]int64) {
	for _, t := range req.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.BaseOffset = p.Partition, offsets[p.Partition]
			if len(p.Records) > 61 {
				offsets[p.Partition] += int64(binary.BigEndian.Uint32(p.Records[57:]))
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
}
