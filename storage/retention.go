package storage

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/regency-project/regency/storage/record"
)

// reclaimAtLeast is how much deleted data makes a compaction worth its while;
// less is left to Pebble's own.
const reclaimAtLeast = 1 << 20

// SetStart moves the log start forward and deletes what lies wholly below it. An
// offset at or below Start does nothing; one above HighWatermark is
// ErrAboveHighWatermark. It does not wait for the disk, which gets the new start
// before anything appended later; a crash before that brings back the old start with
// the data above it, which retention or the leader's start removes again. Who must
// promise the deletion uses DeleteRecords.
func (l *Log) SetStart(offset int64) error {
	return l.change("set start of", func() error { return l.setStart(offset) })
}

// DeleteRecords is SetStart for a client that is told of it: when it returns the new
// start is as durable as an acknowledged append. It returns the log start.
func (l *Log) DeleteRecords(offset int64) (start int64, err error) {
	if err := l.SetStart(offset); err != nil {
		return l.Start(), err
	}
	// Even if the start was there before: its commit may still be on its way.
	return l.Start(), l.Sync()
}

// Sync waits until everything that was done to the log so far is as durable as an
// acknowledged append. Calls of all logs share a flush.
func (l *Log) Sync() error {
	if err := l.store.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", l.label(), err)
	}
	return nil
}

func (l *Log) setStart(offset int64) error {
	st := l.snapshot()
	if offset <= st.start {
		return nil
	}
	if offset > st.highWatermark {
		return fmt.Errorf("to %d, high watermark %d: %w", offset, st.highWatermark, ErrAboveHighWatermark)
	}
	at, err := l.measure(st, offset)
	if err != nil {
		return err
	}
	freed := at.pos - st.startPos
	st.start, st.startPos = offset, at.pos
	b := l.store.db.NewBatch()
	defer b.Close()
	epochs := raiseEpochs(b, l.id, l.epochs(), offset)
	below := offsetKey(l.id, kindBatch, offset)
	b.DeleteRange(prefixKey(l.id, kindBatch), below, nil)
	b.DeleteRange(prefixKey(l.id, kindTimeIndex), offsetKey(l.id, kindTimeIndex, offset), nil)
	b.Set(prefixKey(l.id, kindState), st.encode(), nil)
	if err := l.store.commit(b, pebble.NoSync); err != nil {
		return err
	}
	l.publish(st, epochs, nil)
	if freed >= reclaimAtLeast {
		l.store.reclaim.add(prefixKey(l.id, kindBatch), below)
	}
	return nil
}

// producerExpiry is how long an idempotent producer that writes nothing is
// remembered, as in Kafka (producer.id.expiration.ms), by the clock of this machine.
const producerExpiry = 24 * time.Hour

// Retain applies a retention policy to every log: it moves log starts, never past
// a high watermark, and frees the space in the background. It also forgets
// idempotent producers of which a log took nothing for a day; opening the store
// starts the day anew. It returns the logs whose
// start moved, as they are now; with an error, the others were still looked at.
func (s *Store) Retain(policy func(LogInfo) Policy, now time.Time) ([]LogInfo, error) {
	var (
		moved []LogInfo
		errs  []error
	)
	for _, l := range s.allLogs() {
		p := policy(l.Info())
		did, err := l.retain(p, now)
		if errors.Is(err, ErrLogDeleted) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
		}
		if did {
			moved = append(moved, l.Info())
		}
		if s.failure.get() != nil {
			break
		}
	}
	return moved, errors.Join(errs...)
}

func (l *Log) retain(p Policy, now time.Time) (moved bool, err error) {
	err = l.change("retain", func() error {
		if err := l.expireProducers(now); err != nil {
			return err
		}
		st := l.snapshot()
		start := st.start
		if p.MaxAge > 0 {
			byAge, err := l.startByAge(st, now.Add(-p.MaxAge).UnixMilli())
			if err != nil {
				return err
			}
			start = max(start, byAge)
		}
		if p.MaxBytes > 0 {
			bySize, err := l.startBySize(st, p.MaxBytes)
			if err != nil {
				return err
			}
			start = max(start, bySize)
		}
		start = min(start, st.highWatermark)
		moved = start > st.start
		return l.setStart(start)
	})
	return moved, err
}

// startByAge is the end of the run of batches, from the log start, that are all
// older than cutoff. A batch without a timestamp is as old as its append, which only
// the state and the time index remember; where they do not tell, it is not old.
func (l *Log) startByAge(st state, cutoff int64) (int64, error) {
	if st.maxTimestamp < 0 {
		return st.start, nil
	}
	if st.maxTimestamp < cutoff {
		return st.end, nil
	}
	at, err := l.lastEntry(st, func(e indexed) bool { return e.maxTimestamp < cutoff })
	if err != nil {
		return 0, err
	}
	err = l.scan(at.next, st.end, func(b record.Batch) (bool, error) {
		old := b.MaxTimestamp() >= 0 && b.MaxTimestamp() < cutoff
		if old {
			at.next = b.LastOffset() + 1
		}
		return old, nil
	})
	return at.next, err
}

// startBySize is a log start that leaves at least limit bytes, to the granularity of the time
// index.
func (l *Log) startBySize(st state, limit int64) (int64, error) {
	at, err := l.lastEntry(st, func(e indexed) bool { return st.endPos-e.pos >= limit })
	return at.next, err
}

func (l *Log) expireProducers(now time.Time) error {
	cutoff := now.Add(-producerExpiry)
	var expired []int64
	for _, p := range l.Producers() {
		if p.seen.Before(cutoff) {
			expired = append(expired, p.ProducerID)
		}
	}
	if len(expired) == 0 {
		return nil
	}
	b := l.store.db.NewBatch()
	defer b.Close()
	for _, pid := range expired {
		b.Delete(offsetKey(l.id, kindProducer, pid), nil)
	}
	if err := l.store.commit(b, pebble.NoSync); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, pid := range expired {
		delete(l.mu.producers, pid)
	}
	return nil
}
