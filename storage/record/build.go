package record

import (
	"encoding/binary"
	"hash/crc32"
)

// Options are the header fields of a batch to build. For a batch without an
// idempotent producer use NoProducer.
type Options struct {
	BaseOffset    int64
	LeaderEpoch   int32
	ProducerID    int64
	ProducerEpoch int16
	BaseSequence  int32
	Control       bool
	Transactional bool
}

// NoProducer is the header of a batch that no idempotent producer sent.
var NoProducer = Options{ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}

// Build makes an uncompressed batch of records. Their Timestamp is kept; their
// Offset is not looked at, they get BaseOffset and the following. There must be at
// least one record, as a client must send.
func Build(o Options, records ...Record) Batch {
	b := make(Batch, HeaderLen, HeaderLen+64*len(records))
	first, newest := int64(-1), int64(-1)
	for i, r := range records {
		if i == 0 {
			first = r.Timestamp
		}
		newest = max(newest, r.Timestamp)
		b = appendRecord(b, r, r.Timestamp-first, int64(i))
	}
	be := binary.BigEndian
	be.PutUint64(b[0:], uint64(o.BaseOffset))
	be.PutUint32(b[8:], uint32(len(b)-lengthEnd))
	be.PutUint32(b[12:], uint32(o.LeaderEpoch))
	b[16] = 2
	be.PutUint16(b[21:], o.attributes())
	be.PutUint32(b[23:], uint32(len(records)-1))
	be.PutUint64(b[27:], uint64(first))
	be.PutUint64(b[35:], uint64(newest))
	be.PutUint64(b[43:], uint64(o.ProducerID))
	be.PutUint16(b[51:], uint16(o.ProducerEpoch))
	be.PutUint32(b[53:], uint32(o.BaseSequence))
	be.PutUint32(b[57:], uint32(len(records)))
	be.PutUint32(b[17:], crc32.Checksum(b[crcStart:], castagnoli))
	return b
}

func (o Options) attributes() uint16 {
	var a uint16
	if o.Control {
		a |= controlBit
	}
	if o.Transactional {
		a |= transactionalBit
	}
	return a
}

func appendRecord(b []byte, r Record, timestampDelta, offsetDelta int64) []byte {
	body := []byte{0} // attributes
	body = binary.AppendVarint(body, timestampDelta)
	body = binary.AppendVarint(body, offsetDelta)
	body = appendBytes(body, r.Key)
	body = appendBytes(body, r.Value)
	body = binary.AppendVarint(body, int64(len(r.Headers)))
	for _, h := range r.Headers {
		body = binary.AppendVarint(body, int64(len(h.Key)))
		body = append(body, h.Key...)
		body = appendBytes(body, h.Value)
	}
	b = binary.AppendVarint(b, int64(len(body)))
	return append(b, body...)
}

func appendBytes(b, v []byte) []byte {
	if v == nil {
		return binary.AppendVarint(b, -1)
	}
	return append(binary.AppendVarint(b, int64(len(v))), v...)
}
