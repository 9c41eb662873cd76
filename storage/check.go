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

// scanChecked is scan with checksums verified.
func (l *Log) scanChecked(from, below int64, visit func(record.Batch) (bool, error)) error {
	return l.scanBy(checkedBatch, from, below, visit)
}
