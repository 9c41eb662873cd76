package storage

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/regency-project/regency/storage/record"
)

// checkedBatch is iterBatch with the checksum verified.
func checkedBatch(it *pebble.Iterator) (record.Batch, error) {
	b, err := iterBatch(it)
	if err != nil {
		return nil, err
	}
	if _, err := record.First(b, record.CheckReplica); err != nil {
		return nil, at(keyOffset(it.Key()), fmt.Errorf("%w: %w", ErrCorrupt, err))
	}
	return b, nil
}

// scanChecked visits the batches whose last offset is in [from, below), checksums
// verified, until visit returns false.
func (l *Log) scanChecked(from, below int64, visit func(record.Batch) (bool, error)) error {
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
		b, err := checkedBatch(it)
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
