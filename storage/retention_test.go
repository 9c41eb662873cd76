package storage

import (
	"io/fs"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/regency-project/regency/storage/record"
)

// dataBytes is the size of the tables and blob files in dir.
func dataBytes(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // deleted meanwhile
		}
		if ext := filepath.Ext(name); ext == ".sst" || ext == ".blob" {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSpaceComesBack checks that retention and deletion give their space back to
// the file system.
func TestSpaceComesBack(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir, Flush: FlushWritten, MemoryBudget: MinMemoryBudget})
	defer mustClose(t, s)
	kept, dropped := mustLog(t, s, 0), mustLog(t, s, 1)
	b := batchOf(10, 10_000, 0)
	for range 300 {
		mustAppend(t, kept, 0, b)
		mustAppend(t, dropped, 0, b)
	}
	kept.SetHighWatermark(kept.End())
	if full := dataBytes(t, dir); full < 40<<20 {
		t.Fatalf("%d bytes on disk, want most of 60 MB", full)
	}
	moved, err := s.Retain(func(i LogInfo) Policy { return Policy{MaxBytes: 2 << 20} }, time.UnixMilli(0))
	if err != nil || len(moved) != 1 || moved[0].Partition != 0 {
		t.Fatalf("Retain moved %+v, %v; want partition 0: the other has no high watermark", moved, err)
	}
	if left := kept.Info().Bytes; left < 2<<20 || left > 3<<20 {
		t.Errorf("%d bytes left, want 2 MiB and less than 1 MiB more", left)
	}
	if err := s.DeleteLog(topicA, 1); err != nil {
		t.Fatal(err)
	}
	// Blob files that hold live batches too are rewritten later (blobRewriteAge): the
	// 2 MB that are left lie in two or three of 5 MB.
	until(t, "most of 60 MB comes back", func() bool { return dataBytes(t, dir) < 16<<20 })
	c, err := kept.Read(kept.Start(), 1, kept.End())
	if err != nil || len(c.Bytes) != len(b) {
		t.Errorf("Read at the new start: %d bytes, %v; want a batch", len(c.Bytes), err)
	}
}

func TestRetainByAge(t *testing.T) {
	l := newTestLog(t)
	for ts := range int64(10) {
		mustAppend(t, l, 0, batchOf(2, 10, ts*1000))
	}
	l.SetHighWatermark(16)
	retain := func(now int64) int64 {
		t.Helper()
		if _, err := l.store.Retain(func(LogInfo) Policy { return Policy{MaxAge: time.Second} }, time.UnixMilli(now)); err != nil {
			t.Fatal(err)
		}
		return l.Start()
	}
	if got := retain(4500); got != 8 {
		t.Errorf("start = %d, want 8: records to time 3000 are older than 3500", got)
	}
	if got := retain(1_000_000); got != 16 {
		t.Errorf("start = %d, want 16: nothing above the high watermark is deleted", got)
	}
}

// TestRetainKeepsUnknownAge checks that a batch without a timestamp is not taken for
// an old one, also behind an old batch and after a truncation, and goes in the end.
func TestRetainKeepsUnknownAge(t *testing.T) {
	const week = 7 * 24 * time.Hour
	now := time.Now()
	follow := func(l *Log, b record.Batch) error {
		b = slices.Clone(b)
		b.Patch(l.End(), 0)
		_, err := l.AppendFollower(b)
		return err
	}
	lead := func(l *Log, b record.Batch) error {
		_, err := l.AppendLeader(b, 0, now)
		return err
	}
	unknown, old := batchOf(1, 10, -1), batchOf(1, 10, 1000)
	for _, tc := range []struct {
		name     string
		put      func(*Log, record.Batch) error
		batches  []record.Batch
		truncate int64
		start    int64
	}{
		{"leader", lead, []record.Batch{unknown}, 1, 0},
		{"follower", follow, []record.Batch{unknown}, 1, 0},
		{"leader, behind an old batch", lead, []record.Batch{old, unknown}, 2, 1},
		{"follower, behind an old batch", follow, []record.Batch{old, unknown}, 2, 1},
		{"leader, truncated", lead, []record.Batch{old, unknown, old}, 2, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newTestLog(t)
			for _, b := range tc.batches {
				if err := tc.put(l, b); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := l.Truncate(tc.truncate); err != nil {
				t.Fatal(err)
			}
			l.SetHighWatermark(l.End())
			for _, when := range []struct {
				now  time.Time
				want int64
			}{{now, tc.start}, {now.Add(2 * week), l.End()}} {
				if _, err := l.store.Retain(func(LogInfo) Policy { return Policy{MaxAge: week} }, when.now); err != nil {
					t.Fatal(err)
				}
				if got := l.Start(); got != when.want {
					t.Errorf("start = %d at %s, want %d of %d", got, when.now, when.want, l.End())
				}
			}
		})
	}
}
