package check

import (
	"fmt"
	"hash/crc32"
	"sync"
)

// Watcher checks what an ordinary consumer sees while the cluster is being broken: offsets that only grow, and a high watermark that is never below what
// was delivered already. It remembers a checksum of each record for the comparison with the final reading. Its methods may be called from any goroutine.
type Watcher struct {
	mu struct {
		sync.Mutex
		parts  map[Partition]*watched
		report *report
		trial  string
	}
}

type watched struct{ reading }

// reading is what was read of a partition.
type reading struct {
	first, next int64
	sums        []uint32 // by offset; 0: not read
}

// skipped says that the reader passed the offset and was not given it.
func (r reading) skipped(offset int64) bool {
	return offset >= r.first && offset < r.next && r.sums[offset] == 0
}

// NewWatcher makes one.
func NewWatcher() *Watcher {
	w := &Watcher{}
	w.mu.parts = make(map[Partition]*watched)
	w.mu.report = newReport()
	return w
}

// SetTrial attributes what is seen from now on.
func (w *Watcher) SetTrial(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.trial = name
}

func (w *Watcher) partLocked(p Partition) *watched {
	part := w.mu.parts[p]
	if part == nil {
		part = &watched{}
		w.mu.parts[p] = part
	}
	return part
}

// Read takes a record that the consumer was given.
func (w *Watcher) Read(p Partition, offset int64, value []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	part := w.partLocked(p)
	if offset < part.next {
		w.mu.report.violate(w.mu.trial, OffsetRegress, "%s: a consumer was given offset %d after %d", p, offset, part.next-1)
		return
	}
	if len(part.sums) == 0 {
		part.first = offset
	}
	part.next = offset + 1
	for int64(len(part.sums)) <= offset {
		part.sums = append(part.sums, 0)
	}
	part.sums[offset] = sum(value)
}

// HighWatermark takes the high watermark of a successful fetch, before the records of that fetch are Read.
func (w *Watcher) HighWatermark(p Partition, hw int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if part := w.partLocked(p); hw < part.next {
		w.mu.report.violate(w.mu.trial, OffsetRegress, "%s: the high watermark is %d after offset %d was delivered", p, hw, part.next-1)
	}
}

// DataLoss takes a client library's own report that a partition was truncated below what it had consumed (KIP-320).
func (w *Watcher) DataLoss(p Partition, consumed, reset int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.report.violate(w.mu.trial, OffsetRegress, "%s was truncated to %d after a consumer had read to %d", p, reset, consumed)
}

// Violations returns what was found so far.
func (w *Watcher) Violations() []Violation {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Violation(nil), w.mu.report.violations...)
}

func (w *Watcher) readings() map[Partition]reading {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make(map[Partition]reading, len(w.mu.parts))
	for p, part := range w.mu.parts {
		r := part.reading
		r.sums = append([]uint32(nil), r.sums...)
		list[p] = r
	}
	return list
}

// sum is never 0.
func sum(value []byte) uint32 { return crc32.Checksum(value, castagnoli) | 1 }

// String helps in messages of tests.
func (v Violation) String() string { return fmt.Sprintf("%s [%s] %s", v.Check, v.Trial, v.Detail) }
