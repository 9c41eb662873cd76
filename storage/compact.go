package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/regency-project/regency/storage/record"
)

// Compaction keeps the newest record of each key (cleanup.policy=compact). As in
// Kafka a pass has two halves: it reads the dirty part, which no pass has seen, into
// a map from key to newest offset, and then rewrites the log from its start to the
// end of that part without the records that the map supersedes. A batch is
// rewritten under its unchanged key, so every offset stays where it was, readers
// find either value, and a crash leaves either. Passes go from old to new, and
// Pebble keeps that order: a tombstone is never gone before what it deletes.
//
// A tombstone stays for DeleteRetention after the pass that first met it, which
// writes the moment into the batch (KIP-534). Batches that are left without a
// record go, except an idempotent producer's last, the last of the cleaned part, and
// the first and last of each leader epoch: a new replica must learn the producer's
// sequence, reach the log's end, and know where each epoch began and ended. Did it
// not know an epoch, it would send a replica that has records of it back below its
// high watermark; did it believe that one began later, it would let the other keep
// records of the epoch before that no leader has. The last one also stands for the
// epoch when the log start has passed the first.
//
// Whether a transaction was committed is not known here. Its records are removed
// when a record outside of transactions supersedes them, and supersede nothing.

// CompactOptions say how to compact a log. The zero value compacts nothing, as
// Below is 0.
type CompactOptions struct {
	// Now is the time by which lags and tombstones are judged; zero is time.Now.
	Now time.Time
	// Below is the last stable offset: nothing at or above it is looked at. The high
	// watermark bounds it; math.MaxInt64 leaves that as the only bound.
	Below int64
	// MinLag leaves the log alone from the first dirty batch on whose newest record
	// is younger (min.compaction.lag.ms).
	MinLag time.Duration
	// DeleteRetention is how long tombstones stay (delete.retention.ms).
	DeleteRetention time.Duration
	// MapBytes bounds the map of keys; with more keys than fit there are more passes.
	// 0 is DefaultMapBytes. A pass needs as much memory, and a few MiB.
	MapBytes int64
	// BytesPerSecond bounds reading and writing together; 0 does not.
	BytesPerSecond int64
}

// DefaultMapBytes holds about 260 000 keys.
const DefaultMapBytes = 8 << 20

// CompactStats tell what a compaction did.
type CompactStats struct {
	From, To          int64 // the dirty offsets that were cleaned
	Passes            int
	BatchesRewritten  int
	BatchesRemoved    int
	RecordsRemoved    int64 // with TombstonesRemoved and KeylessRemoved
	TombstonesRemoved int64
	KeylessRemoved    int64 // a record without a key has no place in a compacted log
	Unreadable        int   // batches whose records cannot be decoded, kept as they are
	BytesRead         int64
	BytesFreed        int64
}

// errOvertaken: the log was emptied during a compaction, which ends.
var errOvertaken = errors.New("log was reset meanwhile")

// Compact cleans the log up to the bounds in o. One call at a time works on a log;
// appends and reads go on. When ctx ends it stops between two commits of about a
// MiB; what it did stays, and the next call begins its pass anew. Calls on a log with
// nothing to do return at once.
func (l *Log) Compact(ctx context.Context, o CompactOptions) (CompactStats, error) {
	if !l.compacting.CompareAndSwap(false, true) {
		return CompactStats{}, fmt.Errorf("compact %s: another compaction is running", l.label())
	}
	defer l.compacting.Store(false)
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	if o.MapBytes == 0 {
		o.MapBytes = DefaultMapBytes
	}
	c := &compaction{log: l, o: o, pacer: pacer{bytesPerSecond: o.BytesPerSecond}}
	for more := true; more; {
		var err error
		if more, err = c.pass(ctx); err != nil {
			return c.stats, err
		}
	}
	if c.stats.BytesFreed >= reclaimAtLeast {
		l.store.reclaim.add(prefixKey(l.id, kindBatch), offsetKey(l.id, kindBatch, c.stats.To))
	}
	return c.stats, nil
}

// cleaned is how far a log is compacted.
type cleaned struct {
	end     int64 // below this offset no key has a newer record below it
	horizon int64 // Unix milliseconds when the first tombstones may go; 0 for none
}

func (c cleaned) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(c.end))
	return binary.BigEndian.AppendUint64(b, uint64(c.horizon))
}

// due reports tombstones that have been kept for long enough.
func (c cleaned) due(now time.Time) bool { return c.horizon != 0 && now.UnixMilli() >= c.horizon }

func decodeCleaned(v []byte) (cleaned, error) {
	if len(v) != 16 {
		return cleaned{}, fmt.Errorf("compaction mark of %d bytes: %w", len(v), ErrCorrupt)
	}
	c := cleaned{int64(binary.BigEndian.Uint64(v)), int64(binary.BigEndian.Uint64(v[8:]))}
	if c.end < 0 || c.horizon < 0 {
		return cleaned{}, fmt.Errorf("compaction mark with offset %d, horizon %d: %w", c.end, c.horizon, ErrCorrupt)
	}
	return c, nil
}

func (l *Log) cleanedNow() cleaned {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.mu.cleaned
}

// cleanableEnd is where the part of the log ends that may be compacted now, not within
// a batch: the next pass would begin there and not look at the records before.
func (l *Log) cleanableEnd(st state, from int64, o CompactOptions) (int64, error) {
	end := min(st.highWatermark, o.Below)
	err := l.scan(end, st.end, func(b record.Batch) (bool, error) {
		end = min(end, b.BaseOffset())
		return false, nil
	})
	if err != nil {
		return 0, err
	}
	if o.MinLag <= 0 || from >= end {
		return end, nil
	}
	cutoff := o.Now.Add(-o.MinLag).UnixMilli()
	// Where the index says that everything before is old enough, nothing is read.
	old, err := l.lastEntry(st, func(e indexed) bool { return e.maxTimestamp <= cutoff })
	if err != nil {
		return 0, err
	}
	err = l.scan(max(from, min(old.next, end)), end, func(b record.Batch) (bool, error) {
		if b.MaxTimestamp() <= cutoff {
			return true, nil
		}
		end = b.BaseOffset()
		return false, nil
	})
	return end, err
}

// Dirtiness says what compaction would find.
type Dirtiness struct {
	CleanBytes int64 // compacted before
	DirtyBytes int64 // to be compacted, within the bounds of lag and high watermark
	// TombstonesDue: tombstones have been kept for long enough.
	TombstonesDue bool
	// Oldest is the newest timestamp of the first dirty batch, Unix milliseconds; -1
	// if there is none.
	Oldest int64
}

// Ratio is the dirty share (min.cleanable.dirty.ratio), 0 to 1.
func (d Dirtiness) Ratio() float64 {
	if d.DirtyBytes == 0 {
		return 0
	}
	return float64(d.DirtyBytes) / float64(d.CleanBytes+d.DirtyBytes)
}

// Dirty tells how much there is to compact within the bounds in o.
func (l *Log) Dirty(o CompactOptions) (Dirtiness, error) {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	d := Dirtiness{Oldest: -1}
	err := l.view("measure what is dirty in", func() error {
		st, done := l.snapshot(), l.cleanedNow()
		from := max(st.start, done.end)
		end, err := l.cleanableEnd(st, from, o)
		if err != nil {
			return err
		}
		d.TombstonesDue = done.due(o.Now) && done.end > st.start && min(st.highWatermark, o.Below) >= done.end
		dirty, err := l.measure(st, from)
		if err != nil {
			return err
		}
		d.CleanBytes = dirty.pos - st.startPos
		if from >= end {
			return nil
		}
		upTo, err := l.measure(st, end)
		if err != nil {
			return err
		}
		d.DirtyBytes = upTo.pos - dirty.pos
		return l.scan(from, end, func(b record.Batch) (bool, error) {
			d.Oldest = b.MaxTimestamp()
			return false, nil
		})
	})
	return d, err
}

// publishCleaned is publish for a finished pass. The caller holds write.
func (l *Log) publishCleaned(st state, done cleaned) {
	l.publish(st, l.epochs(), nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.cleaned = done
}

// positionAt is the position of the batch that follows offset, by what lies behind
// it: positions in front of it may be those from before a compaction.
func (l *Log) positionAt(st state, offset int64) (int64, error) {
	pos, next := st.endPos, int64(math.MaxInt64)
	it, err := l.store.db.NewIter(&pebble.IterOptions{
		LowerBound: offsetKey(l.id, kindTimeIndex, offset),
		UpperBound: offsetKey(l.id, kindTimeIndex, st.end),
	})
	if err != nil {
		return 0, err
	}
	defer it.Close()
	if it.First() {
		e, err := iterEntry(it)
		if err != nil {
			return 0, err
		}
		pos, next = e.pos, e.next
	}
	if err := it.Error(); err != nil {
		return 0, err
	}
	err = l.scan(offset, min(next, st.end), func(b record.Batch) (bool, error) {
		pos -= int64(len(b))
		return true, nil
	})
	return pos, err
}
