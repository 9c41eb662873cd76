package storage

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/regency-project/regency/storage/record"
)

// timeEntry is a time index entry, under the last offset of a batch: what holds up
// to there. Both numbers grow with the offset, so that the index can be bisected
// by time and by size. Stored as two 8-byte integers.
type timeEntry struct {
	maxTimestamp int64
	pos          int64
}

func (e timeEntry) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 16), uint64(e.maxTimestamp))
	return binary.BigEndian.AppendUint64(b, uint64(e.pos))
}

// indexed is a point in the log: every batch up to (not including) next is covered
// by the entry.
type indexed struct {
	next int64
	timeEntry
}

// lastEntry returns the last point of the time index, in [st.start, st.end), for
// which below is true, given that below is true up to some offset and false after.
// Without one it returns the log start.
func (l *Log) lastEntry(st state, below func(indexed) bool) (indexed, error) {
	found := indexed{st.start, timeEntry{-1, st.startPos}}
	it, err := l.store.db.NewIter(&pebble.IterOptions{
		LowerBound: offsetKey(l.id, kindTimeIndex, st.start),
		UpperBound: offsetKey(l.id, kindTimeIndex, st.end),
	})
	if err != nil {
		return found, err
	}
	defer it.Close()
	// Entries are sparse: bisect over offsets, each probe taking the entry at or
	// after the middle. Entries below lo are true; those at or above hi are false.
	for lo, hi := st.start, st.end; lo < hi; {
		mid := lo + (hi-lo)/2
		if !it.SeekGE(offsetKey(l.id, kindTimeIndex, mid)) {
			hi = mid
			continue
		}
		e, err := iterEntry(it)
		if err != nil {
			return found, err
		}
		if e.next > hi || !below(e) {
			hi = mid
			continue
		}
		lo, found = e.next, e
	}
	return found, it.Error()
}

func iterEntry(it *pebble.Iterator) (indexed, error) {
	v, err := it.ValueAndErr()
	if err != nil {
		return indexed{}, err
	}
	if len(v) != 16 {
		return indexed{}, fmt.Errorf("time index entry of %d bytes: %w", len(v), ErrCorrupt)
	}
	return indexed{keyOffset(it.Key()) + 1, timeEntry{
		maxTimestamp: int64(binary.BigEndian.Uint64(v)),
		pos:          int64(binary.BigEndian.Uint64(v[8:])),
	}}, nil
}

// measure returns what the time index would say at offset, by its last entry below
// and the batches after that. A batch that contains offset does not count. One
// without a timestamp counts as from now: when it was appended is not known any
// more, and it must not be taken for older than it is.
func (l *Log) measure(st state, offset int64) (indexed, error) {
	at, err := l.lastEntry(st, func(e indexed) bool { return e.next <= offset })
	if err != nil {
		return at, err
	}
	err = l.scan(at.next, offset, func(b record.Batch) (bool, error) {
		at.next = b.LastOffset() + 1
		at.pos += int64(len(b))
		ts := b.MaxTimestamp()
		if ts < 0 {
			ts = time.Now().UnixMilli()
		}
		at.maxTimestamp = max(at.maxTimestamp, ts)
		return true, nil
	})
	return at, err
}

// OffsetForTimestamp finds the first record at or after ts (Unix milliseconds)
// within Start and End. found is false if there is none.
func (l *Log) OffsetForTimestamp(ts int64) (offset, timestamp int64, found bool, err error) {
	err = l.view("look up a time in", func() error {
		st := l.snapshot()
		if st.maxTimestamp < ts {
			return nil
		}
		from, err := l.lastEntry(st, func(e indexed) bool { return e.maxTimestamp < ts })
		if err != nil {
			return err
		}
		return l.scan(from.next, st.end, func(b record.Batch) (bool, error) {
			if b.MaxTimestamp() >= ts {
				offset, timestamp, found = recordForTimestamp(b, ts, st.start)
			}
			return !found, nil
		})
	})
	return offset, timestamp, found, err
}

// lookupLimit bounds what a batch may decompress to during a time lookup.
const lookupLimit = 64 << 20

// recordForTimestamp finds the first record of b at or after ts, from start on.
// Records that cannot be read do not fail the lookup: one bad batch would make the
// whole log unsearchable. Its first offset is then the answer; no record is missed.
func recordForTimestamp(b record.Batch, ts, start int64) (offset, timestamp int64, found bool) {
	err := record.ForEach(b, lookupLimit, func(r record.Record) bool {
		if r.Offset >= start && r.Timestamp >= ts {
			offset, timestamp, found = r.Offset, r.Timestamp, true
		}
		return !found
	})
	if err != nil && !found {
		return max(b.BaseOffset(), start), b.MaxTimestamp(), true
	}
	return offset, timestamp, found
}
