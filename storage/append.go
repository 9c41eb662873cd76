package storage

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/regency-project/regency/storage/record"
)

// Appended describes what an append put into the log.
type Appended struct {
	Base         int64 // offset of the first record
	Last         int64 // offset of the last record
	End          int64 // the log end afterwards: Last + 1
	MaxTimestamp int64 // the newest in these batches, Unix milliseconds
	Pending      *Pending
}

// Pending is an append on its way to disk.
type Pending struct {
	flusher *flusher
	number  int64 // of the append, among those of all logs
}

// Wait blocks until the append is durable as the flush mode promises, or returns
// an error that wraps ErrFailed or ErrClosed: then it must not be acknowledged.
// Appends of many logs share one flush. It may be called from any goroutine and
// more than once. Appends of one log become durable in order.
func (p *Pending) Wait() error { return p.flusher.wait(p.number) }

// timeIndexGap is how many bytes of batches lie between time index entries, at least.
const timeIndexGap = 64 << 10

// appender gathers one append: a Pebble batch and the description of the log
// after it.
type appender struct {
	log       *Log
	batch     *pebble.Batch
	st        state
	epochs    []epochStart
	producers map[int64]ProducerState // those that changed
	tail      []tailEntry
	appended  Appended
}

// AppendLeader appends whole batches that the caller has validated, gives them the
// next offsets and leaderEpoch, and returns before they are durable; readers see
// them at once. batches is not modified or kept. A leaderEpoch that is new to the
// log is recorded as by AssignEpoch; one below the latest is ErrStaleEpoch. now
// stands in where a batch carries no timestamp.
func (l *Log) AppendLeader(batches []byte, leaderEpoch int32, now time.Time) (Appended, error) {
	return l.append(batches, func(a *appender, b record.Batch) error {
		if latest := latestEpoch(a.epochs); leaderEpoch < latest {
			return fmt.Errorf("epoch %d, latest %d: %w", leaderEpoch, latest, ErrStaleEpoch)
		}
		return a.add(b, a.st.end, leaderEpoch, now.UnixMilli())
	})
}

// AppendFollower appends whole batches with the offsets and epochs that the leader
// gave them. The first must start at or after End, each further one after its
// predecessor (gaps are legal: compaction leaves them), and epochs must not go
// back, else ErrOutOfOrder. A batch without a timestamp counts as from this moment,
// as on the leader. Otherwise as AppendLeader.
func (l *Log) AppendFollower(batches []byte) (Appended, error) {
	return l.append(batches, func(a *appender, b record.Batch) error {
		if b.BaseOffset() < a.st.end {
			return fmt.Errorf("base offset %d, log end %d: %w", b.BaseOffset(), a.st.end, ErrOutOfOrder)
		}
		if err := a.forgetEmptyEpochs(b.LeaderEpoch()); err != nil {
			return err
		}
		return a.add(b, b.BaseOffset(), b.LeaderEpoch(), time.Now().UnixMilli())
	})
}

func (l *Log) append(batches []byte, add func(*appender, record.Batch) error) (Appended, error) {
	var done Appended
	err := l.change("append to", func() error {
		a := l.newAppender(roomFor(batches))
		for b, err := range record.Batches(batches, record.CheckLengths) {
			if err == nil {
				err = add(a, b)
			}
			if err != nil {
				a.batch.Close()
				return err
			}
		}
		if a.appended.Pending == nil {
			a.batch.Close()
			return fmt.Errorf("no batch given: %w", record.ErrTruncated)
		}
		done = a.appended
		return a.commit()
	})
	if err != nil {
		return Appended{}, err
	}
	return done, nil
}

// appendOverhead is room for the keys and small values of an append of one batch,
// batchOverhead for those of each further one. Too little makes Pebble copy the
// batch to a larger buffer, and the tail keep both.
const (
	appendOverhead = 512
	batchOverhead  = 320
)

// roomFor is the size of a Pebble batch with batches.
func roomFor(batches []byte) int {
	n := 0
	for range record.Batches(batches, record.CheckLengths) {
		n++
	}
	return len(batches) + appendOverhead + max(0, n-1)*batchOverhead
}

func (l *Log) newAppender(size int) *appender {
	// Pebble's own option for the size does nothing for a batch from its pool, which then
	// grows to up to twice the size. An empty batch is a header of zeros; only one without
	// a header would be refused.
	batch := l.store.db.NewBatch()
	_ = batch.SetRepr(l.store.tails.buffer(size, pebbleHeaderLen))
	l.mu.RLock()
	defer l.mu.RUnlock()
	return &appender{log: l, batch: batch, st: l.mu.state, epochs: l.mu.epochs}
}

// pebbleHeaderLen is the size of an empty Pebble batch.
const pebbleHeaderLen = 12

// add puts one batch at base. A batch without a timestamp counts as from now.
func (a *appender) add(b record.Batch, base int64, epoch int32, now int64) error {
	last := base + int64(b.LastOffsetDelta())
	if last < base {
		return fmt.Errorf("offset %d, last offset delta %d: %w", base, b.LastOffsetDelta(), ErrOutOfOrder)
	}
	if epoch > latestEpoch(a.epochs) {
		a.startEpoch(epoch, base)
	}
	op := a.batch.SetDeferred(offsetKeyLen, len(b))
	putOffsetKey(op.Key, a.log.id, kindBatch, last)
	copy(op.Value, b)
	record.Batch(op.Value).Patch(base, epoch)
	a.tail = append(a.tail, tailEntry{base: base, last: last, batch: op.Value})
	if err := op.Finish(); err != nil {
		return err
	}
	ts := b.MaxTimestamp()
	if ts < 0 {
		ts = now
	}
	a.describe(b, base, last, ts)
	return nil
}

// describe updates what is kept about the log for the batch just put.
func (a *appender) describe(b record.Batch, base, last, ts int64) {
	a.st.end = last + 1
	a.st.endPos += int64(len(b))
	a.st.maxTimestamp = max(a.st.maxTimestamp, ts)
	if a.st.endPos-a.st.indexedPos >= timeIndexGap {
		a.st.indexedPos = a.st.endPos
		a.batch.Set(offsetKey(a.log.id, kindTimeIndex, last), timeEntry{a.st.maxTimestamp, a.st.endPos}.encode(), nil)
	}
	if b.ProducerID() >= 0 && b.BaseSequence() >= 0 && !b.IsControl() {
		a.noteProducer(b, base)
	}
	if a.appended.Pending == nil {
		a.appended = Appended{Base: base, MaxTimestamp: ts, Pending: &Pending{flusher: a.log.store.flusher}}
	}
	a.appended.Last, a.appended.End = last, last+1
	a.appended.MaxTimestamp = max(a.appended.MaxTimestamp, ts)
}

func (a *appender) noteProducer(b record.Batch, base int64) {
	pid := b.ProducerID()
	p, ok := a.producers[pid]
	if !ok {
		p, _ = a.log.Producer(pid)
	}
	if a.producers == nil {
		a.producers = make(map[int64]ProducerState, 1)
	}
	a.producers[pid] = p.with(b, base)
}

// commit adds what describes the log and hands everything to Pebble, which makes
// it visible, and durable later.
func (a *appender) commit() error {
	l := a.log
	var buf [producerHeaderLen + rememberedBatches*producerBatchLen]byte
	for pid, p := range a.producers {
		a.batch.Set(offsetKey(l.id, kindProducer, pid), p.encode(buf[:0]), nil)
	}
	a.st.highWatermark = l.HighWatermark()
	a.batch.Set(prefixKey(l.id, kindState), a.st.encode(), nil)
	bytes := a.batch.Repr()
	// The Pebble batch is not closed, as that would reuse its bytes: see tail.go.
	if err := l.store.db.Apply(a.batch, pebble.NoSync); err != nil {
		return err
	}
	a.appended.Pending.number = l.store.flusher.add()
	size := cap(bytes)
	if a.batch.Len() != len(bytes) {
		bytes = nil // Pebble keeps the bytes of a batch that is large for its memtable
	}
	l.keepTail(a.tail, size, bytes)
	l.publishAppend(a)
	return l.store.failure.get()
}

func (l *Log) publishAppend(a *appender) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.persistedHW = a.st.highWatermark
	a.st.highWatermark = max(l.mu.state.highWatermark, a.st.start)
	l.mu.state, l.mu.epochs = a.st, a.epochs
	for pid, p := range a.producers {
		l.mu.producers[pid] = p
	}
}

// startEpoch records that epoch starts at base. Epochs that start there or later
// hold no record and go.
func (a *appender) startEpoch(epoch int32, base int64) {
	kept := epochsBefore(a.epochs, base)
	for _, e := range a.epochs[len(kept):] {
		a.batch.Delete(epochKey(a.log.id, e.epoch), nil)
	}
	a.epochs = append(kept[:len(kept):len(kept)], epochStart{epoch, base})
	a.batch.Set(epochKey(a.log.id, epoch), binary.BigEndian.AppendUint64(nil, uint64(base)), nil)
}

// forgetEmptyEpochs lets a replica that was briefly leader, without a record, take
// an older epoch's batches from the leader that succeeded it.
func (a *appender) forgetEmptyEpochs(epoch int32) error {
	for len(a.epochs) > 0 && epoch < latestEpoch(a.epochs) {
		latest := a.epochs[len(a.epochs)-1]
		if latest.start < a.st.end {
			return fmt.Errorf("epoch %d after epoch %d: %w", epoch, latest.epoch, ErrOutOfOrder)
		}
		a.batch.Delete(epochKey(a.log.id, latest.epoch), nil)
		a.epochs = a.epochs[: len(a.epochs)-1 : len(a.epochs)-1]
	}
	return nil
}
