package storage

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/regency-project/regency/storage/record"
)

// Chunk is a run of whole batches.
type Chunk struct {
	Bytes []byte // the caller's to keep; nil if there is nothing to read
	Next  int64  // where to read on; the offset asked for if there is nothing
}

// Read returns whole batches in order, starting with the one that contains from
// (or follows it, in a gap), as many as fit in maxBytes but at least one, and none
// whose last offset is at or above below. It returns ErrOffsetOutOfRange for from <
// Start or from > End. The first batch may begin before from, and before Start.
func (l *Log) Read(from int64, maxBytes int, below int64) (Chunk, error) {
	chunk := Chunk{Next: from}
	err := l.view("read", func() error {
		st := l.snapshot()
		if from < st.start || from > st.end {
			return fmt.Errorf("offset %d, log has %d to %d: %w", from, st.start, st.end, ErrOffsetOutOfRange)
		}
		below = min(below, st.end)
		if from >= below {
			return nil
		}
		if c, ok := l.readTail(from, maxBytes, below); ok {
			chunk = c
			return nil
		}
		return l.scan(from, below, func(b record.Batch) (bool, error) {
			if chunk.Bytes != nil && len(chunk.Bytes)+len(b) > maxBytes {
				return false, nil
			}
			chunk.Bytes = append(chunk.Bytes, b...)
			chunk.Next = b.LastOffset() + 1
			return len(chunk.Bytes) < maxBytes, nil
		})
	})
	return chunk, err
}

// view runs do for a caller that only reads and does not hold write.
func (l *Log) view(doing string, do func() error) error {
	if err := l.store.enter(); err != nil {
		return fmt.Errorf("%s %s: %w", doing, l.label(), err)
	}
	defer l.store.leave()
	generation, err := l.generation(), error(ErrLogDeleted)
	if !l.deleted.Load() {
		var first *DamageError
		if first, err = l.noteDamage(generation, do()); first != nil {
			l.write.Lock()
			l.persistDamage(first)
			l.write.Unlock()
		}
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", doing, l.label(), err)
	}
	return nil
}

// scan visits the batches whose last offset is in [from, below), in order, until
// visit returns false. A visited batch is valid during the visit only.
func (l *Log) scan(from, below int64, visit func(record.Batch) (bool, error)) error {
	return l.scanBy(iterBatch, from, below, visit)
}

func (l *Log) scanBy(read func(*pebble.Iterator) (record.Batch, error), from, below int64, visit func(record.Batch) (bool, error)) error {
	it, err := l.store.db.NewIter(&pebble.IterOptions{
		LowerBound: offsetKey(l.id, kindBatch, from),
		UpperBound: offsetKey(l.id, kindBatch, below),
	})
	if err != nil {
		return at(from, err)
	}
	defer it.Close()
	next := from
	for more := it.First(); more; more = it.Next() {
		b, err := read(it)
		if err != nil {
			return err
		}
		if again, err := visit(b); err != nil || !again {
			return err
		}
		next = b.LastOffset() + 1
	}
	return at(next, it.Error())
}

// iterBatch is the batch that it stands on.
func iterBatch(it *pebble.Iterator) (record.Batch, error) {
	last := keyOffset(it.Key())
	v, err := it.ValueAndErr()
	if err != nil {
		return nil, at(last, err)
	}
	b, err := record.First(v, record.CheckLengths)
	if err != nil {
		return nil, at(last, fmt.Errorf("%w: %w", ErrCorrupt, err))
	}
	if len(b) != len(v) || b.LastOffset() != last {
		return nil, at(last, fmt.Errorf("batch of %d bytes to offset %d in a value of %d bytes: %w", len(b), b.LastOffset(), len(v), ErrCorrupt))
	}
	return b, nil
}
