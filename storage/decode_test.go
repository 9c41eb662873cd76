package storage

import (
	"bytes"
	"math"
	"testing"
)

// FuzzStored feeds every decoder of keys and values with anything: none panics, and
// what one accepts it encodes to the same bytes.
func FuzzStored(f *testing.F) {
	p := ProducerState{ProducerID: 3, Epoch: 1, FirstOffset: 4, Batches: []BatchMeta{{FirstSeq: 1, LastSeq: 2, BaseOffset: 4, LastOffset: 5, Timestamp: 6}}}
	l := newLog(&Store{}, 7, logIdentity{topicID: topicA, partition: 2}, "a")
	f.Add(emptyState(5).encode())
	f.Add(state{1, 9, 5, 7, 100, 900, 800}.encode())
	f.Add(cleaned{5, 6}.encode())
	f.Add(p.encode(nil))
	f.Add(timeEntry{3, 4}.encode())
	f.Add(l.identity.key())
	f.Add(offsetKey(7, kindBatch, math.MaxInt64))
	f.Add(epochKey(7, 3))
	f.Add(append(make([]byte, 8), "why"...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if st, err := decodeState(b); err == nil && !bytes.Equal(st.encode(), b) {
			t.Errorf("state %+v does not encode to %x", st, b)
		}
		if c, err := decodeCleaned(b); err == nil && !bytes.Equal(c.encode(), b) {
			t.Errorf("compaction mark %+v does not encode to %x", c, b)
		}
		if p, err := decodeProducer(3, b); err == nil && !bytes.Equal(p.encode(nil), b) {
			t.Errorf("producer %+v does not encode to %x", p, b)
		}
		if len(b) == logKeyLen {
			if id := decodeLogKey(b); !bytes.Equal(id.key()[prefixLen:], b[prefixLen:]) {
				t.Errorf("log key %+v does not encode to %x", id, b)
			}
		}
		if len(b) >= prefixLen {
			l := newLog(l.store, 7, l.identity, "a")
			for _, v := range [][]byte{b, b[prefixLen:], nil} {
				_ = l.loadKey(b, v) // an error, or nothing
			}
		}
	})
}

// FuzzMeta feeds store.json: what is accepted without a checksum is version 1.
func FuzzMeta(f *testing.F) {
	good, err := meta{Format: formatVersion, UUID: "u", Ready: true, Mark: "m"}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"format": 1, "directory_uuid": "u"}`))
	f.Add([]byte(`{"format": 2, "directory_uuid": "u", "checksum": "00000000"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(b)
		if err == nil && m.Format != 1 && !bytes.Contains(b, []byte(m.Checksum)) {
			t.Errorf("accepted %q", b)
		}
	})
}
