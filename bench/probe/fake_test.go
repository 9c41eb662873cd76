package probe

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fakeBroker answers produce, create and delete requests on a real socket as its mode says. It checks that what it gets is what a broker would take.
type fakeBroker struct {
	t  *testing.T
	ln net.Listener
	mu struct {
		sync.Mutex
		mode   mode
		conns  []net.Conn
		topics map[string]bool
		offset int64
		// committed is the high watermark that fetches are told.
		committed int64
		held      []func() // answers that were not sent while silent
	}
	all sync.WaitGroup
}

type mode int

const (
	serving mode = iota
	refusing
	silent // reads and holds its answers, as a frozen process does
	dead   // accepts nothing, its connections are closed
)

const notLeader = 6

func newFakeBroker(t *testing.T) *fakeBroker {
	t.Helper()
	b := &fakeBroker{t: t}
	b.mu.topics = map[string]bool{}
	b.listen("127.0.0.1:0")
	t.Cleanup(func() { b.set(dead); b.all.Wait() })
	return b
}

func (b *fakeBroker) addr() string { return b.ln.Addr().String() }

func (b *fakeBroker) listen(addr string) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		b.t.Errorf("listen: %v", err)
		return
	}
	b.ln = ln
	b.all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			b.mu.Lock()
			b.mu.conns = append(b.mu.conns, conn)
			b.mu.Unlock()
			b.all.Go(func() { b.serve(conn) })
		}
	})
}

// set changes the mode; from dead to another one it listens on the same port again.
func (b *fakeBroker) set(m mode) {
	b.mu.Lock()
	was := b.mu.mode
	b.mu.mode = m
	conns, held := b.mu.conns, b.mu.held
	b.mu.held = nil
	if m == dead {
		b.mu.conns = nil
	}
	b.mu.Unlock()
	switch {
	case m == dead:
		_ = b.ln.Close()
		for _, c := range conns {
			_ = c.Close()
		}
	case was == dead:
		b.listen(b.ln.Addr().String())
	case was == silent:
		for _, send := range held {
			send()
		}
	}
}

func (b *fakeBroker) serve(conn net.Conn) {
	defer conn.Close()
	for {
		var head [4]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint32(head[:]))
		if _, err := io.ReadFull(conn, frame); err != nil {
			return
		}
		b.answer(conn, frame)
	}
}

func (b *fakeBroker) answer(conn net.Conn, frame []byte) {
	key := int16(binary.BigEndian.Uint16(frame))
	req := kmsg.RequestForKey(key)
	req.SetVersion(int16(binary.BigEndian.Uint16(frame[2:])))
	id := frame[4:8]
	clientLen := binary.BigEndian.Uint16(frame[8:])
	if err := req.ReadFrom(frame[10+clientLen:]); err != nil {
		b.t.Errorf("request %d: %v", key, err)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	resp := b.respondLocked(req)
	out := resp.AppendTo(append([]byte{0, 0, 0, 0}, id...))
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	send := func() { _, _ = conn.Write(out) }
	if b.mu.mode == silent {
		b.mu.held = append(b.mu.held, send)
		return
	}
	send()
}

func (b *fakeBroker) respondLocked(req kmsg.Request) kmsg.Response {
	resp := req.ResponseKind()
	code := int16(0)
	if b.mu.mode == refusing {
		code = notLeader
	}
	switch r := req.(type) {
	case *kmsg.ProduceRequest:
		b.checkBatch(r)
		p := kmsg.NewProduceResponseTopicPartition()
		p.ErrorCode, p.BaseOffset = code, b.mu.offset
		if code == 0 {
			b.mu.offset++
		}
		topic := kmsg.NewProduceResponseTopic()
		topic.Partitions = []kmsg.ProduceResponseTopicPartition{p}
		resp.(*kmsg.ProduceResponse).Topics = []kmsg.ProduceResponseTopic{topic}
	case *kmsg.FetchRequest:
		asked := r.Topics[0].Partitions[0]
		p := kmsg.NewFetchResponseTopicPartition()
		p.Partition, p.ErrorCode, p.HighWatermark = asked.Partition, code, b.mu.committed
		if asked.FetchOffset < b.mu.committed {
			p.RecordBatches = appendBatch([]byte("value"), time.Now())
		}
		topic := kmsg.NewFetchResponseTopic()
		topic.Topic, topic.Partitions = r.Topics[0].Topic, []kmsg.FetchResponseTopicPartition{p}
		resp.(*kmsg.FetchResponse).Topics = []kmsg.FetchResponseTopic{topic}
	case *kmsg.CreateTopicsRequest:
		topic := kmsg.NewCreateTopicsResponseTopic()
		if code == 0 && b.mu.topics[r.Topics[0].Topic] {
			code = 36
		}
		if code == 0 {
			b.mu.topics[r.Topics[0].Topic] = true
		}
		topic.ErrorCode = code
		resp.(*kmsg.CreateTopicsResponse).Topics = []kmsg.CreateTopicsResponseTopic{topic}
	case *kmsg.DeleteTopicsRequest:
		topic := kmsg.NewDeleteTopicsResponseTopic()
		topic.ErrorCode = code
		if code == 0 {
			delete(b.mu.topics, r.TopicNames[0])
		}
		resp.(*kmsg.DeleteTopicsResponse).Topics = []kmsg.DeleteTopicsResponseTopic{topic}
	default:
		b.t.Errorf("unexpected request %T", req)
	}
	return resp
}

func (b *fakeBroker) checkBatch(r *kmsg.ProduceRequest) {
	if r.Acks != -1 || len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
		b.t.Errorf("produce request %+v: want acks=all and one partition", r)
		return
	}
	raw := r.Topics[0].Partitions[0].Records
	var batch kmsg.RecordBatch
	if err := batch.ReadFrom(raw); err != nil {
		b.t.Errorf("batch: %v", err)
		return
	}
	if got := crc32.Checksum(raw[21:], castagnoli); uint32(batch.CRC) != got || int(batch.Length) != len(raw)-12 {
		b.t.Errorf("batch has CRC %x and length %d, want %x and %d", uint32(batch.CRC), batch.Length, got, len(raw)-12)
	}
	var record kmsg.Record
	if err := record.ReadFrom(batch.Records); err != nil || len(record.Value) == 0 || batch.NumRecords != 1 || batch.LastOffsetDelta != 0 {
		b.t.Errorf("record: %v, %+v", err, batch)
	}
}
