package storage

import (
	"math/bits"
	"slices"
	"sort"
	"sync"

	"github.com/regency-project/regency/storage/record"
)

// Readers at the end of a log, followers and most consumers, are served from the
// appends still in memory, without an iterator over Pebble. The bytes are those of
// the Pebble batch, which is not given back to Pebble's pool, so that nothing is
// copied to keep them. What leaves is used again for a later append: memory that a
// process touches for the first time costs more than all copies of the append.

// tailEntry is a batch kept in memory; its bytes do not change while it is in a tail.
type tailEntry struct {
	seq        uint64 // of the append
	base, last int64
	batch      record.Batch
}

// tailBudget bounds what the tails of all logs hold, first in, first out.
type tailBudget struct {
	limit int64
	// reading is held for reading by who reads the bytes of a tail, so that they are
	// not used again under him.
	reading sync.RWMutex
	mu      struct {
		sync.Mutex
		seq   uint64
		bytes int64
		queue []tailAppend     // oldest first
		free  map[int][][]byte // by capacity
		spare int64            // bytes in free
	}
}

// spareParts is the part of the budget that may wait to be used again.
const spareParts = 4

// tailAppend is one append in the budget: it accounts for the entries of log up to seq.
type tailAppend struct {
	log  *Log
	seq  uint64
	size int64
	buf  []byte // to be used again; nil if it must not be
}

// bufferSize is the capacity of a buffer for n bytes: one of eight between two
// powers of two, so that those that leave fit those that come.
func bufferSize(n int) int {
	step := max(1<<bits.Len(uint(max(n, 1)-1))>>4, 512)
	return (n + step - 1) / step * step
}

// buffer is one with room for n bytes, of which the first used are zeros.
func (t *tailBudget) buffer(n, used int) []byte {
	size := bufferSize(max(n, used))
	b := t.takeFree(size)
	if b == nil {
		return make([]byte, used, size)
	}
	b = b[:used]
	clear(b)
	return b
}

func (t *tailBudget) takeFree(size int) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	free := t.mu.free[size]
	if len(free) == 0 {
		return nil
	}
	last := len(free) - 1
	b := free[last]
	free[last] = nil
	t.mu.free[size] = free[:last]
	t.mu.spare -= int64(size)
	return b
}

// recycle takes the buffer of an append that has left its log's tail, unless a reader
// may have found it there before.
func (t *tailBudget) recycle(buf []byte) {
	size := cap(buf)
	if size != bufferSize(size) || !t.reading.TryLock() {
		return
	}
	t.reading.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.spare+int64(size) > t.limit/spareParts {
		return
	}
	if t.mu.free == nil {
		t.mu.free = make(map[int][][]byte)
	}
	t.mu.free[size] = append(t.mu.free[size], buf)
	t.mu.spare += int64(size)
}

// admit enters an append of size bytes, in buf if that may be used again, and returns
// its number, and the appends that must leave for it.
func (t *tailBudget) admit(l *Log, size int64, buf []byte) (seq uint64, leave []tailAppend) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.seq++
	t.mu.bytes += size
	t.mu.queue = append(t.mu.queue, tailAppend{l, t.mu.seq, size, buf})
	n := 0
	for ; t.mu.bytes > t.limit; n++ {
		t.mu.bytes -= t.mu.queue[n].size
	}
	leave = append(leave, t.mu.queue[:n]...)
	clear(t.mu.queue[:n]) // let go of deleted logs
	t.mu.queue = t.mu.queue[n:]
	return t.mu.seq, leave
}

// keepTail adds an append to the tail. The caller holds write, so that the tail
// has the log's order.
func (l *Log) keepTail(entries []tailEntry, size int, buf []byte) {
	seq, leave := l.store.tails.admit(l, int64(size), buf)
	l.addTail(seq, entries)
	for _, a := range leave { // one lock at a time: two logs may evict each other's
		a.log.dropTail(a.seq)
		l.store.tails.recycle(a.buf)
	}
}

// addTail adds the entries of append seq, unless another log's append has evicted
// them since they were admitted: nothing would ever take them out again.
func (l *Log) addTail(seq uint64, entries []tailEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq <= l.mu.tailDropped {
		return
	}
	for i := range entries {
		entries[i].seq = seq
	}
	l.mu.tail = append(l.mu.tail, entries...)
}

// dropTail forgets the entries of appends up to seq. A reader may hold the slice,
// so entries are never overwritten; what was cut off stays in memory until the rest
// moves, which happens when the rest is the smaller part.
func (l *Log) dropTail(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.tailDropped = max(l.mu.tailDropped, seq)
	n := sort.Search(len(l.mu.tail), func(i int) bool { return l.mu.tail[i].seq > seq })
	l.mu.tail = l.mu.tail[n:]
	if l.mu.tailCut += n; l.mu.tailCut >= len(l.mu.tail) {
		l.mu.tail, l.mu.tailCut = slices.Clone(l.mu.tail), 0
	}
}

// readTail is Read for an offset that the tail covers; false if it does not.
func (l *Log) readTail(from int64, maxBytes int, below int64) (Chunk, bool) {
	l.store.tails.reading.RLock()
	defer l.store.tails.reading.RUnlock()
	l.mu.RLock()
	tail := l.mu.tail
	l.mu.RUnlock()
	if len(tail) == 0 || from < tail[0].base {
		return Chunk{}, false
	}
	tail = tail[sort.Search(len(tail), func(i int) bool { return tail[i].last >= from }):]
	n, size := 0, 0
	for n < len(tail) && tail[n].last < below && (n == 0 || size+len(tail[n].batch) <= maxBytes) {
		size += len(tail[n].batch)
		n++
	}
	if n == 0 {
		return Chunk{Next: from}, true
	}
	chunk := Chunk{Bytes: make([]byte, 0, size), Next: tail[n-1].last + 1}
	for _, e := range tail[:n] {
		chunk.Bytes = append(chunk.Bytes, e.batch...)
	}
	return chunk, true
}
