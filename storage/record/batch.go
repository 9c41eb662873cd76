package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"iter"
)

// HeaderLen is the size of a batch header, and so of the smallest batch.
const HeaderLen = 61

const (
	lengthEnd = 12 // batch length counts from here
	crcStart  = 21 // the checksum covers from here
)

// Attribute bits.
const (
	compressionMask  = 0x07
	timestampTypeBit = 0x08
	transactionalBit = 0x10
	controlBit       = 0x20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch is the bytes of one whole batch. Its accessors may be called on any
// value that came from Batches, First or Build; they read the header in place.
type Batch []byte

func (b Batch) BaseOffset() int64 { return int64(binary.BigEndian.Uint64(b[0:])) }

// LeaderEpoch is the leader epoch that the leader stamped at append.
func (b Batch) LeaderEpoch() int32 { return int32(binary.BigEndian.Uint32(b[12:])) }

// LastOffset is the offset of the last record the batch ever held (compaction
// removes records, not offsets).
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

func (b Batch) LastOffsetDelta() int32 { return int32(binary.BigEndian.Uint32(b[23:])) }

func (b Batch) attributes() uint16 { return binary.BigEndian.Uint16(b[21:]) }

// Compression is the codec of the records inside.
func (b Batch) Compression() Compression { return Compression(b.attributes() & compressionMask) }

// IsControl reports a transaction marker: it takes an offset but is no data.
func (b Batch) IsControl() bool { return b.attributes()&controlBit != 0 }

// IsTransactional reports a batch that belongs to a transaction.
func (b Batch) IsTransactional() bool { return b.attributes()&transactionalBit != 0 }

// LogAppendTime reports that the broker, not the producer, set the timestamps.
func (b Batch) LogAppendTime() bool { return b.attributes()&timestampTypeBit != 0 }

// FirstTimestamp is the base of the timestamp deltas, in Unix milliseconds.
func (b Batch) FirstTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[27:])) }

// MaxTimestamp is the largest timestamp inside, in Unix milliseconds; -1 is none.
func (b Batch) MaxTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[35:])) }

// ProducerID is -1 for a producer that is not idempotent.
func (b Batch) ProducerID() int64 { return int64(binary.BigEndian.Uint64(b[43:])) }

func (b Batch) ProducerEpoch() int16 { return int16(binary.BigEndian.Uint16(b[51:])) }

// BaseSequence is the sequence number of the first record, -1 for none.
func (b Batch) BaseSequence() int32 { return int32(binary.BigEndian.Uint32(b[53:])) }

// LastSequence is the sequence number of the last record; numbers wrap to 0
// after the largest int32.
func (b Batch) LastSequence() int32 { return AddSequence(b.BaseSequence(), b.LastOffsetDelta()) }

// Count is the number of records inside.
func (b Batch) Count() int32 { return int32(binary.BigEndian.Uint32(b[57:])) }

// Patch rewrites base offset and leader epoch in place. The checksum does not
// cover them and stays right.
func (b Batch) Patch(baseOffset int64, leaderEpoch int32) {
	binary.BigEndian.PutUint64(b[0:], uint64(baseOffset))
	binary.BigEndian.PutUint32(b[12:], uint32(leaderEpoch))
}

// Header is a decoded batch header, for those who want all of it at once.
type Header struct {
	BaseOffset      int64
	Length          int32 // bytes after the length field
	LeaderEpoch     int32
	Magic           int8
	CRC             uint32
	Attributes      uint16
	LastOffsetDelta int32
	FirstTimestamp  int64
	MaxTimestamp    int64
	ProducerID      int64
	ProducerEpoch   int16
	BaseSequence    int32
	Count           int32
}

// ParseHeader decodes the first HeaderLen bytes of b and checks nothing but
// that they are there.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderLen {
		return Header{}, fmt.Errorf("parse header: %d bytes, need %d: %w", len(b), HeaderLen, ErrTruncated)
	}
	v := Batch(b)
	return Header{
		BaseOffset:      v.BaseOffset(),
		Length:          int32(binary.BigEndian.Uint32(b[8:])),
		LeaderEpoch:     v.LeaderEpoch(),
		Magic:           int8(b[16]),
		CRC:             binary.BigEndian.Uint32(b[17:]),
		Attributes:      v.attributes(),
		LastOffsetDelta: v.LastOffsetDelta(),
		FirstTimestamp:  v.FirstTimestamp(),
		MaxTimestamp:    v.MaxTimestamp(),
		ProducerID:      v.ProducerID(),
		ProducerEpoch:   v.ProducerEpoch(),
		BaseSequence:    v.BaseSequence(),
		Count:           v.Count(),
	}, nil
}

// AddSequence adds n to a sequence number, wrapping to 0 after the largest int32.
func AddSequence(seq, n int32) int32 {
	return int32((int64(seq) + int64(n)) & 0x7fffffff)
}

// Check says how far Batches distrusts its input.
type Check int

const (
	// CheckLengths is for bytes that were checked before, as those read back from
	// the log: magic and lengths only.
	CheckLengths Check = iota
	// CheckReplica adds the checksum and sane counts. Gaps inside a batch and
	// control batches are legal: a compacted or transactional log has them.
	CheckReplica
	// CheckClient adds what only a producer must obey: at least one record, as
	// many records as offsets and no more than its bytes can hold, no control bit,
	// and a sequence with a producer id.
	CheckClient
)

// Batches iterates over concatenated batches. The yielded batch aliases b. On a
// fault it yields a nil batch with the error once and stops; an empty b yields
// nothing. No input makes it panic or read past b.
func Batches(b []byte, check Check) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		for pos := 0; pos < len(b); {
			batch, err := First(b[pos:], check)
			if err != nil {
				yield(nil, fmt.Errorf("batch at byte %d: %w", pos, err))
				return
			}
			pos += len(batch)
			if !yield(batch, nil) {
				return
			}
		}
	}
}

// First returns the batch that b starts with, after checking it.
func First(b []byte, check Check) (Batch, error) {
	if len(b) < HeaderLen {
		return nil, fmt.Errorf("%d bytes, a header has %d: %w", len(b), HeaderLen, ErrTruncated)
	}
	if b[16] != 2 {
		return nil, fmt.Errorf("magic %d, only 2 is served: %w", int8(b[16]), ErrMagic)
	}
	length := int64(int32(binary.BigEndian.Uint32(b[8:])))
	if length < HeaderLen-lengthEnd {
		return nil, fmt.Errorf("batch length %d is below the minimum %d: %w", length, HeaderLen-lengthEnd, ErrCorrupt)
	}
	if length > int64(len(b)-lengthEnd) {
		return nil, fmt.Errorf("batch length %d, %d bytes left: %w", length, len(b)-lengthEnd, ErrTruncated)
	}
	batch := Batch(b[: lengthEnd+length : lengthEnd+length])
	if check == CheckLengths {
		return batch, nil
	}
	return batch, batch.validate(check)
}

func (b Batch) validate(check Check) error {
	want, got := binary.BigEndian.Uint32(b[17:]), crc32.Checksum(b[crcStart:], castagnoli)
	if got != want {
		return fmt.Errorf("checksum %#08x, computed %#08x: %w", want, got, ErrCorrupt)
	}
	delta, count := b.LastOffsetDelta(), b.Count()
	if delta < 0 || count < 0 || int64(count) > int64(delta)+1 {
		return fmt.Errorf("%d records in %d offsets: %w", count, int64(delta)+1, ErrCorrupt)
	}
	if base := b.BaseOffset(); base < 0 || base > maxOffset {
		if check == CheckReplica {
			return fmt.Errorf("base offset %d: %w", base, ErrCorrupt)
		}
	}
	if check == CheckClient {
		return b.validateClient()
	}
	return nil
}

// maxOffset leaves room for a last offset delta, so that no sum overflows.
const maxOffset = 1<<63 - 1 - 1<<32

func (b Batch) validateClient() error {
	if b.Count() == 0 || b.LastOffsetDelta() != b.Count()-1 {
		return fmt.Errorf("last offset delta %d, record count %d: %w", b.LastOffsetDelta(), b.Count(), ErrInvalid)
	}
	if limit := b.maxCount(); int64(b.Count()) > limit {
		return fmt.Errorf("%d records in %d bytes of codec %d, at most %d fit: %w",
			b.Count(), len(b)-HeaderLen, b.Compression(), limit, ErrInvalid)
	}
	if b.IsControl() {
		return fmt.Errorf("control batch from a client: %w", ErrInvalid)
	}
	if c := b.Compression(); c > Zstd {
		return fmt.Errorf("codec %d: %w", c, ErrCompression)
	}
	if b.ProducerID() >= 0 && (b.ProducerEpoch() < 0 || b.BaseSequence() < 0) {
		return fmt.Errorf("producer id %d with epoch %d, sequence %d: %w",
			b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), ErrInvalid)
	}
	return nil
}

const (
	// minRecordLen is the smallest record: its length, attributes, two deltas, no
	// key, no value, no headers, a byte each.
	minRecordLen = 7
	// maxExpansion is the most that a byte can stand for in any codec: zstd repeats
	// one for a block of 128 KiB that takes four bytes.
	maxExpansion = 128 << 10 / 4
	// maxRecordBytes is the most a client's batch may count on after decompression.
	maxRecordBytes = 64 << 20
)

// maxCount is how many records the batch can hold at most. It bounds how many
// offsets a small batch takes without decompressing it.
func (b Batch) maxCount() int64 {
	n := int64(len(b) - HeaderLen)
	if b.Compression() != None {
		n = min(n*maxExpansion, maxRecordBytes)
	}
	return n / minRecordLen
}
