package storage

import (
	"context"
	"errors"

	"github.com/regency-project/regency/storage/record"
)

// recoveryScrubBytes is how much of the newest data of all logs together is checked
// when a store is opened that was not closed.
const recoveryScrubBytes = 64 << 20

// ScrubOptions configure Scrub.
type ScrubOptions struct {
	// BytesPerSecond bounds the reading; 0 does not.
	BytesPerSecond int64
	// Progress is called about every MiB; nil is allowed.
	Progress func(ScrubProgress)
}

// ScrubProgress is how far a scrub has come.
type ScrubProgress struct {
	Logs    int // checked so far
	OfLogs  int
	Batches int64
	Bytes   int64
}

// Scrub reads everything and verifies every checksum. A log that is damaged is
// marked as such, like one that a reader finds damaged; Scrub goes on with the
// others and returns their errors joined. It ends early with ctx.
func (s *Store) Scrub(ctx context.Context, o ScrubOptions) (ScrubProgress, error) {
	logs := s.allLogs()
	p := ScrubProgress{OfLogs: len(logs)}
	pace := pacer{bytesPerSecond: o.BytesPerSecond}
	var errs []error
	for _, l := range logs {
		for next, more := l.Start(), true; more; {
			var read, batches int64
			var err error
			next, more, err = l.scrubChunk(next, &read, &batches)
			p.Bytes += read
			p.Batches += batches
			if err != nil && !errors.Is(err, ErrLogDeleted) {
				errs = append(errs, err)
			}
			if o.Progress != nil {
				o.Progress(p)
			}
			if err := pace.pace(ctx, read); err != nil {
				return p, errors.Join(append(errs, err)...)
			}
		}
		p.Logs++
	}
	return p, errors.Join(errs...)
}

// scrubChunk checks about compactChunk bytes and returns where to go on. Behind a
// value that cannot be read there is no need to look: the log is damaged.
func (l *Log) scrubChunk(from int64, read, batches *int64) (next int64, more bool, err error) {
	err = l.view("scrub", func() error {
		return l.scanChecked(from, l.End(), func(b record.Batch) (bool, error) {
			*read += int64(len(b))
			*batches++
			next, more = b.LastOffset()+1, *read >= compactChunk
			return !more, nil
		})
	})
	return next, more && err == nil, err
}

// recoveryScrub checks what was written last before a crash, in every log its share.
func (s *Store) recoveryScrub() {
	logs := s.allLogs()
	if len(logs) == 0 {
		return
	}
	share := max(recoveryScrubBytes/int64(len(logs)), timeIndexGap)
	for _, l := range logs {
		// An error is in the log's Damage and was reported.
		_ = l.view("scrub", func() error {
			st := l.snapshot()
			from, err := l.lastEntry(st, func(e indexed) bool { return st.endPos-e.pos >= share })
			if err != nil {
				return err
			}
			return l.scanChecked(from.next, st.end, func(record.Batch) (bool, error) { return true, nil })
		})
	}
}
