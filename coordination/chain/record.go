package chain

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/regency-project/regency/coordination"
)

// head is both the chain record and a ring record. Encoded, integers big-endian:
//
//	format   1 byte, 1
//	lineage 16 bytes, UUID
//	epoch    4 bytes
//	seq      8 bytes
//	holder   4 bytes, broker id of the newest claim
//	request 16 bytes, id of the request that wrote it
//	inline   1 byte: 1 if the mutations follow, 0 if only the ring has them
//	count    uvarint, then for each mutation: 1 byte (0 delete, 1 set), uvarint key length, key, and if set: uvarint value length, value
type head struct {
	lineage   uuid.UUID
	epoch     int32
	seq       uint64
	holder    int32
	request   uuid.UUID
	inline    bool
	mutations []coordination.Mutation
}

const (
	headFormat   = 1
	headFixed    = 1 + 16 + 4 + 8 + 4 + 16 + 1
	maxMutations = 1 << 16
)

var errHead = errors.New("malformed chain record")

func (h *head) encode() []byte {
	size := headFixed + binary.MaxVarintLen64
	for _, m := range h.mutations {
		size += 1 + 2*binary.MaxVarintLen64 + len(m.Key) + len(m.Value)
	}
	b := make([]byte, 0, size)
	b = append(b, headFormat)
	b = append(b, h.lineage[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(h.epoch))
	b = binary.BigEndian.AppendUint64(b, h.seq)
	b = binary.BigEndian.AppendUint32(b, uint32(h.holder))
	b = append(b, h.request[:]...)
	if !h.inline {
		return append(b, 0, 0)
	}
	b = append(b, 1)
	b = binary.AppendUvarint(b, uint64(len(h.mutations)))
	for _, m := range h.mutations {
		set := byte(0)
		if m.Value != nil {
			set = 1
		}
		b = append(b, set)
		b = binary.AppendUvarint(b, uint64(len(m.Key)))
		b = append(b, m.Key...)
		if m.Value != nil {
			b = binary.AppendUvarint(b, uint64(len(m.Value)))
			b = append(b, m.Value...)
		}
	}
	return b
}

func decodeHead(key string, b []byte) (head, error) {
	h, err := parseHead(b)
	if err != nil {
		return head{}, fmt.Errorf("decode %s (%d bytes): %w", key, len(b), err)
	}
	return h, nil
}

func parseHead(b []byte) (head, error) {
	if len(b) < headFixed {
		return head{}, fmt.Errorf("%w: too short", errHead)
	}
	if b[0] != headFormat {
		return head{}, fmt.Errorf("%w: format %d, this version reads %d: upgrade", errHead, b[0], headFormat)
	}
	var h head
	copy(h.lineage[:], b[1:17])
	h.epoch = int32(binary.BigEndian.Uint32(b[17:]))
	h.seq = binary.BigEndian.Uint64(b[21:])
	h.holder = int32(binary.BigEndian.Uint32(b[29:]))
	copy(h.request[:], b[33:49])
	h.inline = b[49] == 1
	r := reader{b: b[headFixed:]}
	n := r.uvarint()
	if n > maxMutations {
		return head{}, fmt.Errorf("%w: %d mutations", errHead, n)
	}
	for range n {
		set := r.byte()
		m := coordination.Mutation{Key: string(r.bytes(r.uvarint()))}
		if set == 1 {
			m.Value = append([]byte{}, r.bytes(r.uvarint())...)
		}
		if r.bad {
			break
		}
		h.mutations = append(h.mutations, m)
	}
	if r.bad || len(r.b) != 0 {
		return head{}, fmt.Errorf("%w: truncated or trailing bytes", errHead)
	}
	return h, nil
}

// reader takes fields from the front of b; bad is set, and stays, when b is too short.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) byte() byte {
	v := r.bytes(1)
	if r.bad {
		return 0
	}
	return v[0]
}
