package record

import (
	"encoding/binary"
	"fmt"
)

// Record is one record of a batch. Key and Value are nil where the record has
// none; both alias the batch, or the buffer that it was decompressed into.
type Record struct {
	Offset    int64
	Timestamp int64 // Unix milliseconds
	Key       []byte
	Value     []byte
	Headers   []RecordHeader
}

// RecordHeader is one header of a record.
type RecordHeader struct {
	Key   string
	Value []byte
}

// maxHeaders bounds the headers of a record. A header takes at least two bytes, so
// this is met only by nonsense.
const maxHeaders = 1 << 20

// ForEach decodes the records of a batch in order and visits them until visit
// returns false. Decompressed records may take at most limit bytes, else
// ErrTooLarge. Records visited before an error are valid.
func ForEach(b Batch, limit int, visit func(Record) bool) error {
	if len(b) < HeaderLen {
		return fmt.Errorf("%d bytes, a header has %d: %w", len(b), HeaderLen, ErrTruncated)
	}
	body, err := decompress(b.Compression(), b[HeaderLen:], limit)
	if err != nil {
		return fmt.Errorf("batch at offset %d: %w", b.BaseOffset(), err)
	}
	for i := int32(0); i < b.Count(); i++ {
		r, n, err := decodeRecord(b, body)
		if err != nil {
			return fmt.Errorf("record %d of the batch at offset %d: %w", i, b.BaseOffset(), err)
		}
		body = body[n:]
		if !visit(r) {
			return nil
		}
	}
	if len(body) > 0 {
		return fmt.Errorf("batch at offset %d: %d bytes behind the last record: %w", b.BaseOffset(), len(body), ErrCorrupt)
	}
	return nil
}

func decodeRecord(b Batch, body []byte) (Record, int, error) {
	d := decoder{rest: body}
	length := d.varint()
	if d.bad || length < 0 || length > int64(len(d.rest)) {
		return Record{}, 0, fmt.Errorf("record length %d, %d bytes left: %w", length, len(d.rest), ErrTruncated)
	}
	n := len(body) - len(d.rest) + int(length)
	d.rest = d.rest[:length]
	d.take(1) // attributes, unused
	timestampDelta, offsetDelta := d.varint(), d.varint()
	r := Record{Key: d.bytes(), Value: d.bytes()}
	r.Headers = d.headers()
	if d.bad || len(d.rest) > 0 {
		return Record{}, 0, fmt.Errorf("record of %d bytes does not add up: %w", length, ErrCorrupt)
	}
	if offsetDelta < 0 || offsetDelta > int64(b.LastOffsetDelta()) {
		return Record{}, 0, fmt.Errorf("offset delta %d, last is %d: %w", offsetDelta, b.LastOffsetDelta(), ErrCorrupt)
	}
	r.Offset = b.BaseOffset() + offsetDelta
	r.Timestamp = b.FirstTimestamp() + timestampDelta
	if b.LogAppendTime() {
		r.Timestamp = b.MaxTimestamp()
	}
	return r, n, nil
}

// decoder takes fields off the front of rest. After a fault bad is set and every
// field is empty.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	if n <= 0 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) take(n int64) []byte {
	if n < 0 || n > int64(len(d.rest)) {
		d.bad, d.rest = true, nil
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

// bytes takes a length and as many bytes; length -1 is nil.
func (d *decoder) bytes() []byte {
	n := d.varint()
	if n == -1 {
		return nil
	}
	return d.take(n)
}

func (d *decoder) headers() []RecordHeader {
	n := d.varint()
	if n < 0 || n > maxHeaders || n > int64(len(d.rest)) {
		d.bad = true
		return nil
	}
	var hs []RecordHeader
	for range n {
		key := d.take(d.varint())
		hs = append(hs, RecordHeader{Key: string(key), Value: d.bytes()})
		if d.bad {
			return nil
		}
	}
	return hs
}
