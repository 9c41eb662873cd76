package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// deleteHorizonBit says that the base timestamp is a delete horizon (KIP-534).
const deleteHorizonBit = 0x40

// NoHorizon is the delete horizon of a batch that has none.
const NoHorizon int64 = -1

// DeleteHorizon is when, in Unix milliseconds, the tombstones of a batch may be
// dropped. Compaction sets it when it first meets them; until then ok is false.
func (b Batch) DeleteHorizon() (at int64, ok bool) {
	if b.attributes()&deleteHorizonBit == 0 {
		return 0, false
	}
	return b.FirstTimestamp(), true
}

// Expanded is a batch with its records decompressed and checked: every record can
// be visited.
type Expanded struct {
	batch Batch
	body  []byte // the records, not compressed
}

// Expand decompresses b, to at most limit bytes, and checks all records. The
// result aliases b if it is not compressed.
func Expand(b Batch, limit int) (Expanded, error) {
	body, err := decompress(b.Compression(), b[HeaderLen:], limit)
	if err != nil {
		return Expanded{}, fmt.Errorf("batch at offset %d: %w", b.BaseOffset(), err)
	}
	e := Expanded{b, body}
	return e, e.visit(func(Record, []byte) bool { return true })
}

// Each visits the records in order until visit returns false.
func (e Expanded) Each(visit func(Record) bool) {
	e.visit(func(r Record, _ []byte) bool { return visit(r) })
}

func (e Expanded) visit(visit func(r Record, raw []byte) bool) error {
	body := e.body
	for i := int32(0); i < e.batch.Count(); i++ {
		r, n, err := decodeRecord(e.batch, body)
		if err != nil {
			return fmt.Errorf("record %d of the batch at offset %d: %w", i, e.batch.BaseOffset(), err)
		}
		if !visit(r, body[:n]) {
			return nil
		}
		body = body[n:]
	}
	if len(body) > 0 {
		return fmt.Errorf("batch at offset %d: %d bytes behind the last record: %w", e.batch.BaseOffset(), len(body), ErrCorrupt)
	}
	return nil
}

// Filter makes the batch again with the records that keep accepts. Base and last
// offset, the records' offsets and times, epoch, producer and codec stay; a batch
// without a record left is a header only. A horizon other than NoHorizon is
// written as the delete horizon.
func (e Expanded) Filter(horizon int64, keep func(Record) bool) (Batch, error) {
	b := e.batch
	first, attributes := b.FirstTimestamp(), b.attributes()
	if horizon != NoHorizon {
		first, attributes = horizon, attributes|deleteHorizonBit
	}
	var (
		body   []byte
		count  uint32
		newest int64 = -1
	)
	e.visit(func(r Record, raw []byte) bool {
		if keep(r) {
			body = appendShifted(body, raw, b.FirstTimestamp()-first)
			count++
			newest = max(newest, r.Timestamp)
		}
		return true
	})
	if count == 0 || b.LogAppendTime() {
		newest = b.MaxTimestamp()
	}
	if count == 0 {
		attributes &^= compressionMask // nothing is not a compressed frame
	}
	if count > 0 {
		var err error
		if body, err = compress(b.Compression(), body); err != nil {
			return nil, fmt.Errorf("batch at offset %d: %w", b.BaseOffset(), err)
		}
	}
	out := append(append(make(Batch, 0, HeaderLen+len(body)), b[:HeaderLen]...), body...)
	be := binary.BigEndian
	be.PutUint32(out[8:], uint32(len(out)-lengthEnd))
	be.PutUint16(out[21:], attributes)
	be.PutUint64(out[27:], uint64(first))
	be.PutUint64(out[35:], uint64(newest))
	be.PutUint32(out[57:], count)
	return Reseal(out), nil
}

// appendShifted appends a record that was decoded before, with by added to its
// timestamp delta.
func appendShifted(buf, raw []byte, by int64) []byte {
	if by == 0 {
		return append(buf, raw...)
	}
	_, n := binary.Varint(raw)
	attributes, rest := raw[n], raw[n+1:]
	delta, n := binary.Varint(rest)
	rest = rest[n:]
	head := binary.AppendVarint([]byte{attributes}, delta+by)
	buf = binary.AppendVarint(buf, int64(len(head)+len(rest)))
	return append(append(buf, head...), rest...)
}

// Reseal writes the checksum that fits the batch's bytes, in place.
func Reseal(b Batch) Batch {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[crcStart:], castagnoli))
	return b
}
