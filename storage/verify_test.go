package storage

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/regency-project/regency/storage/record"
)

// faults are what Verify finds in a store that nobody has open.
func faults(t testing.TB, files vfs.FS) (found []Fault, stats VerifyStats) {
	t.Helper()
	i, err := Inspect(memOptions(files))
	if err != nil {
		t.Fatal(err)
	}
	stats, err = i.Verify(t.Context(), func(f Fault) { found = append(found, f) })
	if err := errors.Join(err, i.Close()); err != nil {
		t.Fatal(err)
	}
	return found, stats
}

// stored is a batch as it is on disk.
func stored(offset int64) record.Batch {
	b := numbered(offset, 1000)
	b.Patch(offset, 0)
	return b
}

// TestVerify makes one thing in a store disagree and checks that Verify names it.
func TestVerify(t *testing.T) {
	const topic = "a-7 "
	number := func(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }
	for name, tc := range map[string]struct {
		harm func(l *Log, b *pebble.Batch)
		want string // kind and a part of the message; "" for no fault
	}{
		"nothing": {func(*Log, *pebble.Batch) {}, ""},
		"a batch lost": {func(l *Log, b *pebble.Batch) { b.Delete(offsetKey(l.id, kindBatch, 7), nil) },
			"offsets: the batches up to"},
		"a remembered batch lost": {func(l *Log, b *pebble.Batch) { b.Delete(offsetKey(l.id, kindBatch, 39), nil) },
			"offset 39: producers: a remembered batch"},
		"a checksum": {func(l *Log, b *pebble.Batch) {
			v := stored(7)
			v[len(v)-1] ^= 1
			b.Set(offsetKey(l.id, kindBatch, 7), v, nil)
		}, "offset 7: batch: at offset 7: storage corrupt: checksum"},
		"another key": {func(l *Log, b *pebble.Batch) { b.Set(offsetKey(l.id, kindBatch, 7), stored(8), nil) },
			"offset 7: batch: at offset 7: batch of"},
		"an overlap": {func(l *Log, b *pebble.Batch) {
			v := keyed(kv("a", "1"), kv("b", "1"))
			v.Patch(6, 0)
			b.Set(offsetKey(l.id, kindBatch, 7), v, nil)
		}, "offset 6: offsets: the batch 6 to 7 overlaps"},
		"beyond the end": {func(l *Log, b *pebble.Batch) { b.Set(offsetKey(l.id, kindBatch, 40), stored(40), nil) },
			"offset 40: offsets: a batch beyond the log end 40"},
		"an epoch": {func(l *Log, b *pebble.Batch) {
			v := stored(7)
			v.Patch(7, 3)
			b.Set(offsetKey(l.id, kindBatch, 7), v, nil)
		}, "offset 8: epochs: epoch 0 after epoch 3"},
		"an epoch's start": {func(l *Log, b *pebble.Batch) { b.Set(epochKey(l.id, 2), number(9), nil) },
			"epochs: the batch has epoch 0, the epoch starts say 2"},
		"a producer": {func(l *Log, b *pebble.Batch) {
			p, _ := l.Producer(9)
			p.Batches[4].FirstSeq++
			b.Set(offsetKey(l.id, kindProducer, 9), p.encode(nil), nil)
		}, "offset 39: producers: the batch has sequence 39 to 39"},
		"an old producer": {func(l *Log, b *pebble.Batch) {
			p, _ := l.Producer(9)
			b.Set(offsetKey(l.id, kindProducer, 9), p.before(38).encode(nil), nil)
		}, "producers: producer 9 (epoch 0) is remembered up to offset 37"},
		"the time index": {func(l *Log, b *pebble.Batch) {
			b.Set(offsetKey(l.id, kindTimeIndex, 20), timeEntry{3, 200_000}.encode(), nil)
		}, "offset 20: time index: says that nothing up to here is newer than 3"},
		"a position": {func(l *Log, b *pebble.Batch) {
			b.Set(offsetKey(l.id, kindTimeIndex, 20), timeEntry{2000, math.MaxInt64}.encode(), nil)
		}, "beyond the end 40"},
		"the newest timestamp": {func(l *Log, b *pebble.Batch) {
			st := l.snapshot()
			st.maxTimestamp = 5
			b.Set(prefixKey(l.id, kindState), st.encode(), nil)
		}, "state: the newest timestamp is 5, but a batch has 1039"},
		"damage": {func(l *Log, b *pebble.Batch) {
			b.Set(prefixKey(l.id, kindDamage), append(number(3), "seen before"...), nil)
		},
			"offset 3: damage: marked as damaged: seen before"},
		"an orphan": {func(l *Log, b *pebble.Batch) { b.Set(offsetKey(l.id+1, kindBatch, 3), []byte("?"), nil) },
			"store: data of log 2, which no topic has"},
	} {
		t.Run(name, func(t *testing.T) {
			files := vfs.NewMem()
			s := mustOpen(t, memOptions(files))
			l := mustLog(t, s, 7)
			for l.End() < 40 {
				mustAppend(t, l, 0, numbered(l.End(), 10_000))
			}
			b := s.db.NewBatch()
			tc.harm(l, b)
			if err := s.commit(b, pebble.Sync); err != nil {
				t.Fatal(err)
			}
			mustClose(t, s)
			found, stats := faults(t, files)
			if stats.Faults != len(found) || stats.Logs != 1 || stats.Batches < 39 {
				t.Errorf("stats %+v, want %d faults in one log of about 40 batches", stats, len(found))
			}
			if tc.want == "" {
				if len(found) > 0 || stats.Records != 40 {
					t.Errorf("faults %v, %d records; want none, 40", found, stats.Records)
				}
				return
			}
			for _, f := range found {
				if strings.Contains(f.String(), tc.want) && (strings.HasPrefix(f.String(), topic) || f.LogID == 0) {
					return
				}
			}
			t.Errorf("faults %v, want one that says %q", found, tc.want)
		})
	}
}

// TestVerifyCompacted: gaps that compaction leaves are no faults, also those of an
// interrupted one.
func TestVerifyCompacted(t *testing.T) {
	files := vfs.NewMem()
	s := mustOpen(t, memOptions(files))
	l := mustLog(t, s, 0)
	for l.End() < 40 {
		mustAppend(t, l, 0, keyed(kv("a", strings.Repeat("x", 20_000))))
	}
	l.SetHighWatermark(40)
	c := &compaction{log: l, o: CompactOptions{Below: 40}}
	if err := c.apply([]rewrite{{last: 7}}); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if found, _ := faults(t, files); len(found) > 0 {
		t.Errorf("after an interrupted compaction: %v", found)
	}
	s = mustOpen(t, memOptions(files))
	mustCompact(t, mustLog(t, s, 0), CompactOptions{})
	mustClose(t, s)
	if found, stats := faults(t, files); len(found) > 0 || stats.Records != 1 {
		t.Errorf("after a compaction: %v, %d records; want no fault, 1", found, stats.Records)
	}
}

func TestInspectRefuses(t *testing.T) {
	files := vfs.NewMem()
	if _, err := Inspect(memOptions(files)); err == nil || !strings.Contains(err.Error(), "store.json") {
		t.Errorf("Inspect of nothing = %v, want an error that says what is missing", err)
	}
	o := Options{Dir: t.TempDir(), MemoryBudget: MinMemoryBudget}
	s := mustOpen(t, o)
	defer mustClose(t, s)
	if _, err := Inspect(o); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "stop the broker") {
		t.Errorf("Inspect of an open store = %v, want ErrLocked that says what to do", err)
	}
}
