package storage

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/regency-project/regency/storage/record"
)

// rememberedBatches is how many of a producer's last batches are kept, as many as
// Kafka's clients may have in flight.
const rememberedBatches = 5

// BatchMeta is what is remembered of an idempotent producer's batch.
type BatchMeta struct {
	FirstSeq   int32
	LastSeq    int32
	BaseOffset int64
	LastOffset int64
	Timestamp  int64 // the batch's newest, Unix milliseconds
}

// ProducerState is what one log knows of one idempotent producer. Leader and
// follower rebuild it alike, from the batches that they append. The zero value is
// a producer that the log has not seen.
type ProducerState struct {
	ProducerID int64
	Epoch      int16
	// FirstOffset is the base of the first batch the log saw of this producer.
	FirstOffset int64
	// Batches are the last ones of this epoch, oldest first, at most five.
	Batches []BatchMeta

	// seen is when this log last took a batch of the producer, or was opened; it is
	// not stored. Batches' own timestamps say nothing of it: a backfill writes old ones.
	seen time.Time
}

// Known reports a producer that has written to this log.
func (p ProducerState) Known() bool { return len(p.Batches) > 0 }

// Check decides about a batch that an idempotent producer sends, before it is
// appended, by the rules of Kafka's ProducerAppendInfo:
//   - one of the remembered batches again is a duplicate: dup is the original, and
//     the producer is answered with its offset;
//   - otherwise the sequence continues the last one, wrapping to 0 after the
//     largest int32, else ErrOutOfOrderSequence;
//   - a larger epoch starts at sequence 0, else ErrOutOfOrderSequence; a smaller one
//     is ErrInvalidProducerEpoch;
//   - an unknown producer may start anywhere: the log may have dropped its past.
func (p ProducerState) Check(epoch int16, baseSeq, lastSeq int32) (dup *BatchMeta, err error) {
	if !p.Known() {
		return nil, nil
	}
	if epoch < p.Epoch {
		return nil, fmt.Errorf("producer %d: epoch %d, current %d: %w", p.ProducerID, epoch, p.Epoch, ErrInvalidProducerEpoch)
	}
	if epoch > p.Epoch {
		if baseSeq != 0 {
			return nil, fmt.Errorf("producer %d: sequence %d with the new epoch %d, want 0: %w", p.ProducerID, baseSeq, epoch, ErrOutOfOrderSequence)
		}
		return nil, nil
	}
	for _, b := range p.Batches {
		if b.FirstSeq == baseSeq && b.LastSeq == lastSeq {
			return &b, nil
		}
	}
	if want := record.AddSequence(p.Batches[len(p.Batches)-1].LastSeq, 1); baseSeq != want {
		return nil, fmt.Errorf("producer %d: sequence %d, want %d: %w", p.ProducerID, baseSeq, want, ErrOutOfOrderSequence)
	}
	return nil, nil
}

// with is the state after one more batch, seen now; p is not changed and shares
// nothing.
func (p ProducerState) with(b record.Batch, baseOffset int64) ProducerState {
	next := ProducerState{ProducerID: b.ProducerID(), Epoch: b.ProducerEpoch(), FirstOffset: baseOffset, seen: time.Now()}
	if p.Known() {
		next.FirstOffset = p.FirstOffset
		if p.Epoch == next.Epoch {
			keep := p.Batches[max(0, len(p.Batches)-rememberedBatches+1):]
			next.Batches = append(make([]BatchMeta, 0, rememberedBatches), keep...)
		}
	}
	next.Batches = append(next.Batches, BatchMeta{
		FirstSeq:   b.BaseSequence(),
		LastSeq:    b.LastSequence(),
		BaseOffset: baseOffset,
		LastOffset: baseOffset + int64(b.LastOffsetDelta()),
		Timestamp:  b.MaxTimestamp(),
	})
	return next
}

// before is the state without the batches that reach to or past offset.
func (p ProducerState) before(offset int64) ProducerState {
	p.Batches = slices.DeleteFunc(slices.Clone(p.Batches), func(b BatchMeta) bool { return b.LastOffset >= offset })
	return p
}

// A stored producer state: epoch (2), first offset (8), then per batch first
// sequence (4), last sequence (4), base offset (8), last offset (8), timestamp (8).
const (
	producerHeaderLen = 10
	producerBatchLen  = 32
)

func (p ProducerState) encode(buf []byte) []byte {
	buf = binary.BigEndian.AppendUint16(buf, uint16(p.Epoch))
	buf = binary.BigEndian.AppendUint64(buf, uint64(p.FirstOffset))
	for _, b := range p.Batches {
		buf = binary.BigEndian.AppendUint32(buf, uint32(b.FirstSeq))
		buf = binary.BigEndian.AppendUint32(buf, uint32(b.LastSeq))
		buf = binary.BigEndian.AppendUint64(buf, uint64(b.BaseOffset))
		buf = binary.BigEndian.AppendUint64(buf, uint64(b.LastOffset))
		buf = binary.BigEndian.AppendUint64(buf, uint64(b.Timestamp))
	}
	return buf
}

// decodeProducer is the inverse of encode; the producer counts as seen now.
func decodeProducer(pid int64, v []byte) (ProducerState, error) {
	batches := len(v) - producerHeaderLen
	if batches <= 0 || batches%producerBatchLen != 0 || batches/producerBatchLen > rememberedBatches {
		return ProducerState{}, fmt.Errorf("producer %d: state of %d bytes: %w", pid, len(v), ErrCorrupt)
	}
	p := ProducerState{
		ProducerID:  pid,
		Epoch:       int16(binary.BigEndian.Uint16(v)),
		FirstOffset: int64(binary.BigEndian.Uint64(v[2:])),
		seen:        time.Now(),
	}
	for v = v[producerHeaderLen:]; len(v) > 0; v = v[producerBatchLen:] {
		p.Batches = append(p.Batches, BatchMeta{
			FirstSeq:   int32(binary.BigEndian.Uint32(v)),
			LastSeq:    int32(binary.BigEndian.Uint32(v[4:])),
			BaseOffset: int64(binary.BigEndian.Uint64(v[8:])),
			LastOffset: int64(binary.BigEndian.Uint64(v[16:])),
			Timestamp:  int64(binary.BigEndian.Uint64(v[24:])),
		})
	}
	return p, nil
}
