package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/regency-project/regency/storage/record"
)

// kv is a record as compaction sees it; a nil value is a tombstone.
func kv(key, value string) record.Record {
	r := record.Record{Timestamp: 1000, Key: []byte(key)}
	if value != "" {
		r.Value = []byte(value)
	}
	return r
}

func keyed(rs ...record.Record) record.Batch { return record.Build(record.NoProducer, rs...) }

// contents lists the log from disk as offset=key:value, and the batches' ranges.
func contents(t testing.TB, l *Log) (records, batches []string) {
	t.Helper()
	dropWholeTail(l)
	err := l.scanChecked(l.Start(), l.End(), func(b record.Batch) (bool, error) {
		batches = append(batches, fmt.Sprintf("%d-%d", b.BaseOffset(), b.LastOffset()))
		return true, record.ForEach(b, 1<<20, func(r record.Record) bool {
			value := string(r.Value)
			if r.Value == nil {
				value = "†"
			}
			records = append(records, fmt.Sprintf("%d=%s:%s", r.Offset, r.Key, value))
			return true
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return records, batches
}

func mustCompact(t testing.TB, l *Log, o CompactOptions) CompactStats {
	t.Helper()
	if o.Below == 0 {
		o.Below = math.MaxInt64
	}
	stats, err := l.Compact(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return stats
}

func wantContents(t testing.TB, l *Log, wantRecords, wantBatches []string) {
	t.Helper()
	records, batches := contents(t, l)
	if !slices.Equal(records, wantRecords) {
		t.Errorf("records %v, want %v", records, wantRecords)
	}
	if wantBatches != nil && !slices.Equal(batches, wantBatches) {
		t.Errorf("batches %v, want %v", batches, wantBatches)
	}
}

func TestCompactKeepsTheLastOfEachKey(t *testing.T) {
	l := newTestLog(t)
	mustAppend(t, l, 0, keyed(kv("a", "1"), kv("b", "1"), kv("a", "2")))
	mustAppend(t, l, 1, keyed(kv("b", "2")), keyed(kv("c", "1"), kv("a", "3")))
	mustAppend(t, l, 2, keyed(kv("c", "2")), keyed(kv("b", "3")))
	l.SetHighWatermark(7)
	stats := mustCompact(t, l, CompactOptions{})
	// b=3 at 7 is above the high watermark and supersedes nothing yet.
	wantContents(t, l, []string{"3=b:2", "5=a:3", "6=c:2", "7=b:3"}, []string{"0-2", "3-3", "4-5", "6-6", "7-7"})
	if stats.RecordsRemoved != 4 || stats.BatchesRemoved != 0 || stats.BatchesRewritten != 2 || stats.From != 0 || stats.To != 7 {
		t.Errorf("stats = %+v, want 4 records removed, 2 batches rewritten, 0 to 7", stats)
	}
	if got := fmt.Sprint(l.epochs()); got != "[{0 0} {1 3} {2 6}]" {
		t.Errorf("epochs = %s, want all three as before", got)
	}
	if c, err := l.Read(0, 1<<20, 8); err != nil || c.Next != 8 {
		t.Errorf("Read(0) = next %d, %v; want all", c.Next, err)
	}
	if again := mustCompact(t, l, CompactOptions{}); again.Passes != 0 {
		t.Errorf("nothing new: %d passes, want none", again.Passes)
	}
	l.SetHighWatermark(8)
	mustCompact(t, l, CompactOptions{Below: 7})
	wantContents(t, l, []string{"3=b:2", "5=a:3", "6=c:2", "7=b:3"}, nil)
	mustCompact(t, l, CompactOptions{})
	wantContents(t, l, []string{"5=a:3", "6=c:2", "7=b:3"}, []string{"0-2", "3-3", "4-5", "6-6", "7-7"})
}

// TestCompactKeepsEpochs fills a replica from a compacted log, from its start and from
// the middle of an epoch that has no record left: it must know of epochs what the log does.
func TestCompactKeepsEpochs(t *testing.T) {
	for _, start := range []int64{0, 5} {
		for _, mapBytes := range []int64{0, 1} {
			l := newTestLog(t)
			for epoch := range int32(4) {
				for i := range 4 {
					key := "a"
					if epoch != 1 {
						key = fmt.Sprint(epoch, i%3)
					}
					mustAppend(t, l, epoch, keyed(kv(key, "v")))
				}
			}
			mustAppend(t, l, 3, keyed(kv("a", "v"), kv("b", "v")))
			l.SetHighWatermark(l.End())
			mustCompact(t, l, CompactOptions{MapBytes: mapBytes})
			if err := l.SetStart(start); err != nil {
				t.Fatal(err)
			}
			records, batches := contents(t, l)
			if slices.ContainsFunc(records, func(r string) bool { return r == "4=a:v" || r == "7=a:v" }) || slices.Contains(batches, "6-6") {
				t.Fatalf("records %v, batches %v: epoch 1 still has records", records, batches)
			}
			other := newTestLog(t)
			if err := other.Reset(start); err != nil {
				t.Fatal(err)
			}
			c, err := l.Read(start, 1<<20, l.End())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := other.AppendFollower(c.Bytes); err != nil {
				t.Fatal(err)
			}
			for epoch := int32(-1); epoch < 6; epoch++ {
				e, end := l.EpochEnd(epoch)
				if ge, gend := other.EpochEnd(epoch); ge != e || gend != end {
					t.Errorf("start %d, map of %d: EpochEnd(%d) = %d, %d on the replica, want %d, %d", start, mapBytes, epoch, ge, gend, e, end)
				}
			}
		}
	}
}

func TestCompactTombstones(t *testing.T) {
	l := newTestLog(t)
	mustAppend(t, l, 0, keyed(kv("a", "1")), keyed(kv("a", ""), kv("b", "")), keyed(kv("c", "1")))
	l.SetHighWatermark(4)
	now := time.UnixMilli(5000)
	clean := func() {
		t.Helper()
		mustCompact(t, l, CompactOptions{Now: now, DeleteRetention: time.Minute})
	}
	clean()
	wantContents(t, l, []string{"1=a:†", "2=b:†", "3=c:1"}, nil)
	_, ts, ok, err := l.OffsetForTimestamp(1000)
	if err != nil || !ok || ts != 1000 {
		t.Errorf("the tombstone's time is %d, %v, %v; want 1000: the delete horizon must not show", ts, ok, err)
	}
	now = now.Add(time.Minute - time.Millisecond)
	clean()
	wantContents(t, l, []string{"1=a:†", "2=b:†", "3=c:1"}, nil)
	now = now.Add(time.Millisecond)
	if d, err := l.Dirty(CompactOptions{Now: now, Below: math.MaxInt64}); err != nil || !d.TombstonesDue || d.DirtyBytes != 0 {
		t.Errorf("Dirty = %+v, %v; want tombstones due and nothing dirty", d, err)
	}
	clean()
	wantContents(t, l, []string{"3=c:1"}, []string{"3-3"})
	if d, err := l.Dirty(CompactOptions{Now: now, Below: math.MaxInt64}); err != nil || d.TombstonesDue {
		t.Errorf("Dirty = %+v, %v; want nothing due", d, err)
	}
}

// TestCompactKeepsTheEnd checks that the last batch stays, empty, so that a replica
// that starts over can reach the end.
func TestCompactKeepsTheEnd(t *testing.T) {
	l := newTestLog(t)
	mustAppend(t, l, 0, keyed(kv("a", "1")), keyed(kv("a", "")))
	l.SetHighWatermark(2)
	for range 2 {
		mustCompact(t, l, CompactOptions{Now: time.UnixMilli(5000)})
	}
	mustCompact(t, l, CompactOptions{Now: time.UnixMilli(6000)})
	wantContents(t, l, nil, []string{"1-1"})
	other := newTestLog(t)
	c, err := l.Read(0, 1<<20, 2)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := other.AppendFollower(c.Bytes); err != nil || a.End != 2 {
		t.Errorf("a follower reaches %d, %v; want 2", a.End, err)
	}
	mustAppend(t, l, 0, keyed(kv("b", "1")))
	l.SetHighWatermark(3)
	mustCompact(t, l, CompactOptions{})
	wantContents(t, l, []string{"2=b:1"}, []string{"2-2"})
}

// TestCompactKeepsProducers rebuilds a follower from a compacted log and compares
// the producers' last sequence numbers.
func TestCompactKeepsProducers(t *testing.T) {
	l := newTestLog(t)
	put := func(pid int64, seq int32, key string) {
		t.Helper()
		mustAppend(t, l, 0, record.Build(record.Options{ProducerID: pid, BaseSequence: seq}, kv(key, "v")))
	}
	for seq := range int32(8) {
		put(1, seq, "a")
		put(2, seq, "a")
	}
	for seq := range int32(8) {
		put(3, seq, "a")
	}
	l.SetHighWatermark(18) // producer 3's last five are above, two below
	mustCompact(t, l, CompactOptions{})
	other := newTestLog(t)
	c, err := l.Read(0, 1<<20, l.End())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.AppendFollower(c.Bytes); err != nil {
		t.Fatal(err)
	}
	for _, p := range l.Producers() {
		got, _ := other.Producer(p.ProducerID)
		if len(got.Batches) == 0 || got.Batches[len(got.Batches)-1] != p.Batches[len(p.Batches)-1] {
			t.Errorf("producer %d = %+v on the follower, want %+v last", p.ProducerID, got.Batches, p.Batches)
		}
	}
	if _, err := l.Truncate(18); err != nil {
		t.Fatal(err)
	}
	if p, ok := l.Producer(3); !ok || p.Batches[len(p.Batches)-1].LastSeq != 1 {
		t.Errorf("producer 3 after truncation = %+v, want last sequence 1", p)
	}
	_, batches := contents(t, l)
	if want := []string{"14-14", "15-15", "16-16", "17-17"}; !slices.Equal(batches, want) {
		t.Errorf("batches %v, want %v", batches, want)
	}
}

// TestCompactInPasses compacts with a map of three keys: the same result as at once,
// also with records of one batch in several passes.
func TestCompactInPasses(t *testing.T) {
	small, large := newTestLog(t), newTestLog(t)
	for _, l := range []*Log{small, large} {
		for i := range 40 {
			mustAppend(t, l, 0, keyed(
				kv(fmt.Sprint(i%7), fmt.Sprint(i)), kv(fmt.Sprint(i%5), fmt.Sprint(i)),
				kv(fmt.Sprint(i%11), ""), kv(fmt.Sprint(i%3), fmt.Sprint(i)), kv(fmt.Sprint(i), "")))
		}
		l.SetHighWatermark(l.End())
	}
	now := time.UnixMilli(10_000)
	a := mustCompact(t, small, CompactOptions{Now: now, DeleteRetention: time.Minute, MapBytes: 1})
	b := mustCompact(t, large, CompactOptions{Now: now, DeleteRetention: time.Minute})
	if a.Passes < 10 || b.Passes != 1 {
		t.Errorf("%d and %d passes, want many and one", a.Passes, b.Passes)
	}
	want, _ := contents(t, large)
	wantContents(t, small, want, nil)
	if a.RecordsRemoved != b.RecordsRemoved {
		t.Errorf("%d records removed, want %d", a.RecordsRemoved, b.RecordsRemoved)
	}
}

func TestCompactLag(t *testing.T) {
	l := newTestLog(t)
	for ts := range int64(5) {
		r := kv("a", fmt.Sprint(ts))
		r.Timestamp = ts * 1000
		mustAppend(t, l, 0, keyed(r))
	}
	l.SetHighWatermark(5)
	mustCompact(t, l, CompactOptions{Now: time.UnixMilli(4500), MinLag: 2 * time.Second})
	wantContents(t, l, []string{"2=a:2", "3=a:3", "4=a:4"}, nil)
}

// TestCompactBelowWithinABatch compacts up to the middle of a batch, then beyond it: the
// records in front of the first bound count as well.
func TestCompactBelowWithinABatch(t *testing.T) {
	l := newTestLog(t)
	mustAppend(t, l, 0, keyed(kv("a", "1")), keyed(kv("a", "2"), kv("b", "1")), keyed(kv("c", "1")))
	l.SetHighWatermark(4)
	mustCompact(t, l, CompactOptions{Below: 2})
	wantContents(t, l, []string{"0=a:1", "1=a:2", "2=b:1", "3=c:1"}, nil)
	mustCompact(t, l, CompactOptions{Below: 3})
	wantContents(t, l, []string{"1=a:2", "2=b:1", "3=c:1"}, nil)
}

// TestCompactCounts checks sizes, dirtiness and the log start after a compaction.
func TestCompactCounts(t *testing.T) {
	l := newTestLog(t)
	big := bytes.Repeat([]byte("x"), 20_000)
	for i := range 40 {
		mustAppend(t, l, 0, keyed(record.Record{Timestamp: int64(i), Key: []byte(fmt.Sprint(i % 20)), Value: big}))
	}
	l.SetHighWatermark(30)
	size := l.Info().Bytes / 40
	d, err := l.Dirty(CompactOptions{Below: math.MaxInt64})
	if err != nil || d.DirtyBytes/size != 30 || d.CleanBytes != 0 {
		t.Errorf("Dirty = %+v, %v; want 30 of %d bytes", d, err, size)
	}
	mustCompact(t, l, CompactOptions{})
	if got := l.Info().Bytes; got/size != 30 {
		t.Errorf("%d bytes after compaction, want 30 batches of %d", got, size)
	}
	d, err = l.Dirty(CompactOptions{Below: math.MaxInt64})
	if err != nil || d.DirtyBytes != 0 || d.CleanBytes/size != 20 {
		t.Errorf("Dirty = %+v, %v; want 20 of %d bytes clean", d, err, size)
	}
	if _, err := l.store.Retain(func(LogInfo) Policy { return Policy{MaxBytes: 12 * size} }, time.UnixMilli(0)); err != nil {
		t.Fatal(err)
	}
	left := int64(0)
	l.scan(l.Start(), l.End(), func(record.Batch) (bool, error) { left++; return true, nil })
	if left < 12 || left > 16 {
		t.Errorf("%d batches left, want 12 to 16: the index follows what is on disk", left)
	}
	if offset, _, ok, err := l.OffsetForTimestamp(25); err != nil || !ok || offset < 25 {
		t.Errorf("OffsetForTimestamp(25) = %d, %v, %v; want at least 25", offset, ok, err)
	}
}

func TestCompactEnds(t *testing.T) {
	l := newTestLog(t)
	for range 3 {
		mustAppend(t, l, 0, keyed(kv("a", "1")))
	}
	l.SetHighWatermark(3)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.Compact(ctx, CompactOptions{Below: math.MaxInt64}); !errors.Is(err, context.Canceled) {
		t.Errorf("Compact with an ended context = %v, want Canceled", err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		_, err := l.Compact(ctx, CompactOptions{Below: math.MaxInt64, BytesPerSecond: 1})
		done <- err
	}()
	until(t, "compaction runs", l.compacting.Load)
	if _, err := l.Compact(ctx, CompactOptions{Below: math.MaxInt64}); err == nil {
		t.Error("a second compaction runs beside the first")
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("throttled Compact = %v, want Canceled", err)
	}
	mustCompact(t, l, CompactOptions{})
	wantContents(t, l, []string{"2=a:1"}, nil)
}

// TestCompactUnreadable checks that a batch whose records are nonsense under a right
// checksum stays, and that records without a key and markers are told apart.
func TestCompactUnreadable(t *testing.T) {
	l := newTestLog(t)
	nonsense := keyed(kv("a", "1"))
	nonsense[record.HeaderLen] ^= 0xff
	record.Reseal(nonsense)
	marker := record.Build(record.Options{ProducerID: 5, BaseSequence: -1, Control: true, Transactional: true}, kv("\x00\x00\x00\x01", "x"))
	inTxn := record.Build(record.Options{ProducerID: 5, BaseSequence: 0, Transactional: true}, kv("a", "txn"))
	mustAppend(t, l, 0, keyed(kv("a", "1")), nonsense, inTxn, marker, keyed(record.Record{Value: []byte("no key")}), keyed(kv("b", "1")))
	l.SetHighWatermark(6)
	stats := mustCompact(t, l, CompactOptions{})
	if stats.Unreadable != 1 || stats.KeylessRemoved != 1 || stats.RecordsRemoved != 1 {
		t.Errorf("stats = %+v, want one unreadable batch, one record without a key removed", stats)
	}
	batches := ranges(l)
	if want := []string{"0-0", "1-1", "2-2", "3-3", "5-5"}; !slices.Equal(batches, want) {
		t.Errorf("batches %v, want %v: a transaction's record supersedes nothing", batches, want)
	}
	mustAppend(t, l, 0, keyed(kv("a", "2")))
	l.SetHighWatermark(7)
	mustCompact(t, l, CompactOptions{})
	batches = ranges(l)
	if want := []string{"1-1", "2-2", "3-3", "5-5", "6-6"}; !slices.Equal(batches, want) {
		t.Errorf("batches %v, want %v: only the producer's last stays, empty", batches, want)
	}
}

func ranges(l *Log) (batches []string) {
	l.scan(l.Start(), l.End(), func(b record.Batch) (bool, error) {
		batches = append(batches, fmt.Sprintf("%d-%d", b.BaseOffset(), b.LastOffset()))
		return true, nil
	})
	return batches
}

func TestCleanerTakesTheDirtiestFirst(t *testing.T) {
	s := mustOpen(t, memOptions(vfs.NewMem()))
	defer mustClose(t, s)
	policies := map[int32]CompactionPolicy{}
	for i := range int32(4) {
		l := mustLog(t, s, i)
		mustAppend(t, l, 0, keyed(kv("a", "1")), keyed(kv("b", "1")))
		l.SetHighWatermark(l.End())
		mustCompact(t, l, CompactOptions{})
		for range i * 3 {
			mustAppend(t, l, 0, keyed(kv("a", "2")))
		}
		l.SetHighWatermark(l.End())
		policies[i] = CompactionPolicy{Compact: true, MinDirtyRatio: 0.7, Below: math.MaxInt64}
	}
	var order []int32
	o := CleanerOptions{
		Policy: func(i LogInfo) CompactionPolicy { return policies[i.Partition] },
		Cleaned: func(i LogInfo, _ CompactStats, err error) {
			if err != nil {
				t.Error(err)
			}
			order = append(order, i.Partition)
		},
	}
	if err := s.Clean(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if want := []int32{3, 2}; !slices.Equal(order, want) {
		t.Errorf("cleaned %v, want %v: 3 of 5 dirty is below 0.7", order, want)
	}
	order = nil
	for i := range maps.Keys(policies) {
		policies[i] = CompactionPolicy{Compact: i != 0, MinDirtyRatio: 0.7, MaxLag: time.Hour, Below: math.MaxInt64}
	}
	if err := s.Clean(context.Background(), o); err != nil || !slices.Equal(order, []int32{1}) {
		t.Errorf("cleaned %v, %v; want 1: its dirty records are over an hour old", order, err)
	}
}

// TestCleanMeasuresOnce counts how often the cleaner looks at a log.
func TestCleanMeasuresOnce(t *testing.T) {
	s := mustOpen(t, memOptions(vfs.NewMem()))
	defer mustClose(t, s)
	const logs = 12
	for i := range int32(logs) {
		l := mustLog(t, s, i)
		mustAppend(t, l, 0, keyed(kv("a", "1")), keyed(kv("a", "2")))
		l.SetHighWatermark(l.End())
	}
	asked, cleaned := 0, 0
	err := s.Clean(t.Context(), CleanerOptions{
		Policy: func(LogInfo) CompactionPolicy {
			asked++
			return CompactionPolicy{Compact: true, Below: math.MaxInt64}
		},
		Cleaned: func(LogInfo, CompactStats, error) { cleaned++ },
	})
	if err != nil || cleaned != logs || asked > 2*logs {
		t.Errorf("Clean = %v, %d logs compacted, asked %d times; want %d, at most twice each", err, cleaned, asked, logs)
	}
}
