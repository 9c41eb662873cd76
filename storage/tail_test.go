package storage

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/regency-project/regency/storage/record"
)

// dropWholeTail evicts what is in memory of a log.
func dropWholeTail(l *Log) {
	budget := &l.store.tails
	budget.mu.Lock()
	seq := budget.mu.seq
	budget.mu.Unlock()
	l.dropTail(seq)
}

// TestTailEvictedBeforeAdded plays the eviction of an append that another log's
// append overtakes between its admission and its entries.
func TestTailEvictedBeforeAdded(t *testing.T) {
	l := newTestLog(t)
	mustAppend(t, l, 0, batchOf(1, 10, 0))
	budget := &l.store.tails
	seq, _ := budget.admit(l, 1, nil)
	_, leave := budget.admit(l, budget.limit, nil)
	for _, a := range leave {
		a.log.dropTail(a.seq)
	}
	l.addTail(seq, []tailEntry{{base: 1, last: 1, batch: batchOf(1, 10, 0)}})
	if n := len(l.mu.tail); n != 0 {
		t.Errorf("%d entries in memory that the budget does not count, want 0", n)
	}
}

// TestTailAgreesWithDisk reads everything at every offset from memory and again
// from Pebble.
func TestTailAgreesWithDisk(t *testing.T) {
	l := newTestLog(t)
	for n := range 5 {
		mustAppend(t, l, 0, batchOf(1+n, 100, 5), batchOf(2, 10, 5))
	}
	read := func() (chunks []Chunk) {
		for from := range l.End() {
			for _, maxBytes := range []int{1, 400, 1 << 20} {
				c, err := l.Read(from, maxBytes, l.End()-1)
				if err != nil {
					t.Fatal(err)
				}
				chunks = append(chunks, c)
			}
		}
		return chunks
	}
	if _, ok := l.readTail(0, 1, 1); !ok {
		t.Fatal("what was just appended is not in memory")
	}
	fromMemory := read()
	dropWholeTail(l)
	if _, ok := l.readTail(0, 1, 1); ok {
		t.Fatal("the dropped tail is still in memory")
	}
	for i, disk := range read() {
		if mem := fromMemory[i]; !bytes.Equal(mem.Bytes, disk.Bytes) || mem.Next != disk.Next {
			t.Errorf("read %d: %d bytes and next %d from memory, %d and %d from disk", i, len(mem.Bytes), mem.Next, len(disk.Bytes), disk.Next)
		}
	}
}

// TestTailStaysInBudget checks that logs push each other's oldest batches out and
// that every log can still be read.
func TestTailStaysInBudget(t *testing.T) {
	s := mustOpen(t, memOptions(vfs.NewMem()))
	defer mustClose(t, s)
	logs := []*Log{mustLog(t, s, 0), mustLog(t, s, 1)}
	b := batchOf(1, 100_000, 0)
	for i := range 100 {
		mustAppend(t, logs[i%7%2], 0, b)
	}
	var held int64
	for _, l := range logs {
		for _, e := range l.mu.tail {
			held += int64(len(e.batch))
		}
		c, err := l.Read(0, 1<<30, l.End())
		if err != nil {
			t.Fatal(err)
		}
		n := int64(0)
		for b, err := range record.Batches(c.Bytes, record.CheckReplica) {
			if err != nil || b.BaseOffset() != n {
				t.Fatalf("batch at %d, %v; want offset %d", b.BaseOffset(), err, n)
			}
			n++
		}
		if n != l.End() {
			t.Errorf("Read returns %d batches, want %d", n, l.End())
		}
	}
	if held > s.tails.limit || held < s.tails.limit/2 {
		t.Errorf("tails hold %d bytes, want at most %d and not much less", held, s.tails.limit)
	}
}

// TestTailBuffersAreReused checks that what left the tail of one log is written over
// by the appends of another, but not while a reader may hold it.
func TestTailBuffersAreReused(t *testing.T) {
	s := mustOpen(t, memOptions(vfs.NewMem()))
	defer mustClose(t, s)
	l := mustLog(t, s, 0)
	b := batchOf(1, 100_000, 0)
	size := bufferSize(len(b) + appendOverhead)
	fill := func() {
		for range int(s.tails.limit) / size {
			mustAppend(t, l, 0, b)
		}
	}
	fill()
	s.tails.reading.RLock()
	fill()
	if n := s.tails.mu.spare; n != 0 {
		t.Errorf("%d bytes wait to be used again while a reader may hold them, want 0", n)
	}
	s.tails.reading.RUnlock()
	fill()
	if n := s.tails.mu.spare; n != int64(size) {
		t.Errorf("%d bytes wait to be used again, want the %d of the append that left last", n, size)
	}
}

// TestLargeAppendIsNotReused appends a batch that Pebble keeps beside its memtable
// until it is flushed.
func TestLargeAppendIsNotReused(t *testing.T) {
	s := mustOpen(t, memOptions(vfs.NewMem()))
	defer mustClose(t, s)
	l := mustLog(t, s, 0)
	mustAppend(t, l, 0, batchOf(1, 3_000_000, 0))
	for i, a := range s.tails.mu.queue {
		if a.buf != nil {
			t.Errorf("append %d: its buffer may be used again, want that not", i)
		}
	}
}

// TestBufferSize checks that a buffer is large enough, at most an eighth or 512 bytes
// too large, and that its own size is stable.
func TestBufferSize(t *testing.T) {
	for n := 1; n < 3<<20; n += 1 + n/50 {
		size := bufferSize(n)
		if size < n || size > n+max(n/8, 512) || bufferSize(size) != size {
			t.Errorf("bufferSize(%d) = %d, of which it is %d", n, size, bufferSize(size))
		}
	}
}
