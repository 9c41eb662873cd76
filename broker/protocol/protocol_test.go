package protocol

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func frame(size uint32, body string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, size), body...)
}

func TestFrameReader(t *testing.T) {
	big := strings.Repeat("x", 3*firstStep+7)
	for _, tt := range []struct {
		name string
		in   []byte
		want string
		err  error
		text string
	}{
		{name: "whole", in: frame(3, "abc"), want: "abc"},
		{name: "empty", in: frame(0, ""), want: ""},
		{name: "several steps", in: frame(uint32(len(big)), big), want: big},
		{name: "end of stream", in: nil, err: io.EOF},
		{name: "end in size", in: []byte{0, 0}, err: ErrTruncated},
		{name: "end in body", in: frame(10, "abc"), err: ErrTruncated, text: "3 of 10 bytes"},
		{name: "negative", in: frame(1<<31, ""), err: ErrFrameSize},
		{name: "too large", in: frame(1<<20+1, ""), err: ErrFrameSize, text: "limit 1048576"},
		{name: "http", in: []byte("GET / HTTP/1.1\r\n"), err: ErrFrameSize, text: "HTTP client"},
		{name: "tls", in: []byte{0x16, 3, 1, 2, 0}, err: ErrFrameSize, text: "limit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := NewFrameReader(iotest.OneByteReader(bytes.NewReader(tt.in)), 1<<20).Next()
			if !errors.Is(err, tt.err) || string(got) != tt.want {
				t.Errorf("Next() = %d bytes, %v, want %d bytes, %v", len(got), err, len(tt.want), tt.err)
			}
			if err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Next() error %q does not say %q", err, tt.text)
			}
		})
	}
}

func TestFrameReaderSeveral(t *testing.T) {
	r := NewFrameReader(bytes.NewReader(append(frame(2, "ab"), frame(1, "c")...)), 100)
	for _, want := range []string{"ab", "c"} {
		if got, err := r.Next(); err != nil || string(got) != want {
			t.Fatalf("Next() = %q, %v, want %q", got, err, want)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Fatalf("Next() error = %v, want EOF", err)
	}
}

// A size field alone must not cost memory.
func TestFrameReaderAllocatesWhatArrives(t *testing.T) {
	in := frame(DefaultMaxFrame, "short")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 20 {
		if _, err := NewFrameReader(bytes.NewReader(in), DefaultMaxFrame).Next(); !errors.Is(err, ErrTruncated) {
			t.Fatalf("Next() error = %v, want %v", err, ErrTruncated)
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 40*firstStep {
		t.Errorf("20 claims of 100 MiB allocated %d bytes", got)
	}
}

func request(t testing.TB, r kmsg.Request, version int16) []byte {
	t.Helper()
	r.SetVersion(version)
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("me")).AppendRequest(nil, r, 42)[4:]
}

func TestRequestRoundTrip(t *testing.T) {
	for _, v := range []int16{0, 4, 8, 9, 11} { // 9 and 11 are flexible
		req := kmsg.NewPtrMetadataRequest()
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr("orders")
		req.Topics = append(req.Topics, topic)
		h, body, err := ParseHeader(request(t, req, v))
		if want := (Header{Key: 3, Version: v, CorrelationID: 42, ClientID: "me"}); err != nil || h != want {
			t.Fatalf("ParseHeader() = %+v, %v, want %+v", h, err, want)
		}
		got, err := Decode(h, body)
		if err != nil {
			t.Fatalf("Decode() version %d: %v", v, err)
		}
		if topics := got.(*kmsg.MetadataRequest).Topics; len(topics) != 1 || *topics[0].Topic != "orders" {
			t.Errorf("Decode() version %d topics = %+v, want orders", v, topics)
		}
	}
}

func TestHeaderFaults(t *testing.T) {
	good := request(t, kmsg.NewPtrMetadataRequest(), 9)
	for _, tt := range []struct {
		name string
		in   []byte
		err  error
		text string
	}{
		{"empty", nil, ErrMalformed, "0 bytes"},
		{"short", []byte{0, 3, 0, 1, 0, 0, 0}, ErrMalformed, "7 bytes"},
		{"no client id", good[:8], ErrMalformed, "client id"},
		{"client id too long", []byte{0, 3, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 'a'}, ErrMalformed, "client id of 32767 bytes"},
		{"no tags", good[:12], ErrMalformed, "tagged fields"},
		{"many tags", append(bytes.Clone(good[:12]), 0xff, 0xff, 0xff, 0xff, 0x0f), ErrMalformed, "tagged fields"},
		{"huge tag", append(bytes.Clone(good[:12]), 1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f), ErrMalformed, "tagged fields"},
		{"unknown key", []byte{0x7f, 0, 0, 5, 0, 0, 0, 1, 0, 2, 'm', 'e'}, ErrUnknownKey, `unknown (key 32512) version 5 from client "me"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := ParseHeader(tt.in)
			if !errors.Is(err, tt.err) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("ParseHeader() error = %v, want %v with %q", err, tt.err, tt.text)
			}
		})
	}
}

func TestHeaderForms(t *testing.T) {
	if h, _, err := ParseHeader([]byte{0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff}); err != nil || h.ClientID != "" || h.CorrelationID != 7 {
		t.Errorf("ParseHeader(null client id) = %+v, %v", h, err)
	}
	if _, body, err := ParseHeader([]byte{0, 7, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1}); err != nil || len(body) != 4 {
		t.Errorf("ParseHeader(ControlledShutdown v0) body = %v, %v, want 4 bytes", body, err)
	}
}

func TestDecodeMalformed(t *testing.T) {
	for _, body := range []string{"", "\xff\xff\xff\xff\xff", "\x7f\xff\xff\xff"} {
		if _, err := Decode(Header{Key: 19, Version: 4}, []byte(body)); !errors.Is(err, ErrMalformed) {
			t.Errorf("Decode(%x) error = %v, want %v", body, err, ErrMalformed)
		}
	}
}

// The bytes are written out by hand from the protocol's description.
func TestResponseHeaders(t *testing.T) {
	versions := kmsg.NewPtrApiVersionsResponse()
	versions.Version = 3
	heartbeat := kmsg.NewPtrHeartbeatResponse()
	flexible := kmsg.NewPtrHeartbeatResponse()
	flexible.Version = 4
	for _, tt := range []struct {
		name string
		resp kmsg.Response
		want string
	}{
		{"v0", heartbeat, "00000006" + "0000002a" + "0000"},
		{"flexible", flexible, "0000000c" + "0000002a" + "00" + "00000000" + "0000" + "00"},
		{"ApiVersions is never flexible in its header", versions, "0000000c" + "0000002a" + "0000" + "01" + "00000000" + "00"},
	} {
		if got := hex.EncodeToString(AppendResponse(nil, 42, tt.resp)); got != tt.want {
			t.Errorf("%s: AppendResponse() = %s, want %s", tt.name, got, tt.want)
		}
	}
}

// Tagged fields of later versions make librdkafka and the Java client fail.
func TestNoTagsBeforeTheirVersion(t *testing.T) {
	produce := func(version int16, hint bool) []byte {
		r := kmsg.NewPtrProduceResponse()
		r.Version = version
		topic := kmsg.NewProduceResponseTopic()
		p := kmsg.NewProduceResponseTopicPartition()
		if hint {
			p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = 2, 7
			b := kmsg.NewProduceResponseBroker()
			b.NodeID, b.Host = 2, "h"
			r.Brokers = append(r.Brokers, b)
		}
		topic.Partitions = append(topic.Partitions, p)
		r.Topics = append(r.Topics, topic)
		return AppendResponse(nil, 1, r)
	}
	if !bytes.Equal(produce(9, true), produce(9, false)) {
		t.Error("Produce version 9 carries the tagged fields of version 10")
	}
	if bytes.Equal(produce(10, true), produce(10, false)) {
		t.Error("Produce version 10 lost its tagged fields")
	}
	fetch := func(version int16, hint bool) []byte {
		r := kmsg.NewPtrFetchResponse()
		r.Version = version
		if hint {
			b := kmsg.NewFetchResponseBroker()
			b.NodeID, b.Host = 2, "h"
			r.Brokers = append(r.Brokers, b)
		}
		return AppendResponse(nil, 1, r)
	}
	if !bytes.Equal(fetch(12, true), fetch(12, false)) {
		t.Error("Fetch version 12 carries the tagged fields of version 16")
	}
}

// TestReuse reads a large frame into a given-back one, and a small one not: what the caller keeps must not be overwritten.
func TestReuse(t *testing.T) {
	frame := func(n int, b byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(n)), bytes.Repeat([]byte{b}, n)...)
	}
	const large = 200 << 10
	r := NewFrameReader(bytes.NewReader(slices.Concat(frame(large, 'a'), frame(100, 'b'), frame(large-1, 'c'), frame(large, 'd'))), 1<<20)
	next := func(n int, b byte) []byte {
		got, err := r.Next()
		if err != nil || !bytes.Equal(got, bytes.Repeat([]byte{b}, n)) {
			t.Fatalf("Next() = %d bytes, %v, want %d of %q", len(got), err, n, b)
		}
		return got
	}
	first := next(large, 'a')
	r.Reuse(first)
	next(100, 'b')
	third := next(large-1, 'c')
	if &first[0] != &third[0] {
		t.Error("a frame that was given back was not used again")
	}
	next(large, 'd')
	if third[0] != 'c' {
		t.Error("a frame that was not given back was overwritten")
	}
}
