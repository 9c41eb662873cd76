package storage

import (
	"slices"

	"github.com/regency-project/regency/storage/record"
)

// model is a log as simple as can be: a slice of batches. It is what TestModel
// compares a Log with.
type model struct {
	batches    []record.Batch
	start, end int64
	hw         int64
	epochs     []epochStart
	cleaned    int64 // compacted below this offset

	compactions int // how many calls there were
}

func (m *model) clone() *model {
	c := *m
	c.batches, c.epochs = slices.Clone(m.batches), slices.Clone(m.epochs)
	return &c
}

func (m *model) latestEpoch() int32 { return latestEpoch(m.epochs) }

func (m *model) put(b record.Batch) {
	m.batches = append(m.batches, b)
	m.end = b.LastOffset() + 1
	if b.LeaderEpoch() > m.latestEpoch() {
		m.assign(b.LeaderEpoch(), b.BaseOffset())
	}
}

func (m *model) assign(epoch int32, start int64) {
	m.epochs = slices.DeleteFunc(m.epochs, func(e epochStart) bool { return e.start >= start })
	m.epochs = append(m.epochs, epochStart{epoch, start})
}

func (m *model) newEnd(to int64) int64 {
	to = min(to, m.end)
	for _, b := range m.batches {
		if b.LastOffset() >= to {
			return min(to, b.BaseOffset())
		}
	}
	return to
}

func (m *model) truncate(end int64) {
	m.batches = slices.DeleteFunc(m.batches, func(b record.Batch) bool { return b.LastOffset() >= end })
	m.epochs = slices.DeleteFunc(m.epochs, func(e epochStart) bool { return e.start >= end })
	m.end = end
}

func (m *model) setStart(start int64) {
	if start <= m.start {
		return
	}
	m.batches = slices.DeleteFunc(m.batches, func(b record.Batch) bool { return b.LastOffset() < start })
	m.start = start
	for len(m.epochs) > 1 && m.epochs[1].start <= start {
		m.epochs = m.epochs[1:]
	}
	if len(m.epochs) > 0 {
		m.epochs[0].start = max(m.epochs[0].start, start)
	}
}

func (m *model) read(from, below int64, maxBytes int) (got []byte, next int64) {
	next = from
	for _, b := range m.batches {
		if b.LastOffset() < from {
			continue
		}
		if b.LastOffset() >= below || (got != nil && len(got)+len(b) > maxBytes) {
			break
		}
		got, next = append(got, b...), b.LastOffset()+1
		if len(got) >= maxBytes {
			break
		}
	}
	return got, next
}

func (m *model) epochEnd(epoch int32) (int32, int64) {
	found, end := int32(-1), int64(-1)
	for i, e := range m.epochs {
		if e.epoch <= epoch {
			found, end = e.epoch, m.end
			if i+1 < len(m.epochs) {
				end = m.epochs[i+1].start
			}
		}
	}
	return found, end
}

func (m *model) offsetForTimestamp(ts int64) (int64, bool) {
	for _, b := range m.batches {
		found := int64(-1)
		record.ForEach(b, 1<<20, func(r record.Record) bool {
			if r.Timestamp >= ts && r.Offset >= m.start {
				found = r.Offset
			}
			return found < 0
		})
		if found >= 0 {
			return found, true
		}
	}
	return 0, false
}

// survivors are the records of the batches below limit that compaction keeps, by the
// offset of their batch: of each key the newest, without tombstones whose time is over.
func (m *model) survivors(limit, now int64) map[int64][]string {
	newest := make(map[string]int64)
	below := func(visit func(record.Batch, record.Record)) {
		for _, b := range m.batches {
			if b.LastOffset() < limit {
				record.ForEach(b, 1<<20, func(r record.Record) bool { visit(b, r); return true })
			}
		}
	}
	below(func(_ record.Batch, r record.Record) {
		if r.Key != nil {
			newest[string(r.Key)] = r.Offset
		}
	})
	left := make(map[int64][]string)
	below(func(b record.Batch, r record.Record) {
		horizon, marked := b.DeleteHorizon()
		if r.Key != nil && newest[string(r.Key)] == r.Offset && !(r.Value == nil && marked && now >= horizon) {
			left[b.LastOffset()] = append(left[b.LastOffset()], describe(r))
		}
	})
	return left
}

// sequences are the last sequence numbers by producer.
func (m *model) sequences() map[int64]int32 {
	seqs := make(map[int64]int32)
	for _, b := range m.batches {
		if b.ProducerID() >= 0 {
			seqs[b.ProducerID()] = b.LastSequence()
		}
	}
	return seqs
}

func (m *model) bytes() (n int64) {
	for _, b := range m.batches {
		n += int64(len(b))
	}
	return n
}
