package storage

import (
	"fmt"
	"maps"

	"github.com/cockroachdb/pebble/v2"
	"github.com/regency-project/regency/storage/record"
)

// Truncate removes what lies at or above to. A batch that contains to goes whole,
// so the new end may be lower than to. It is ErrBelowHighWatermark if that would be
// below the high watermark. An offset at or beyond End removes no batch; leader
// epochs that start at or above the new end are always forgotten, and producer
// state goes back with the data. It does not wait for the disk, which gets the
// truncation before anything appended later; a crash before that brings back what
// the next comparison of leader epochs removes again.
func (l *Log) Truncate(to int64) (newEnd int64, err error) {
	err = l.change("truncate", func() error {
		newEnd, err = l.truncate(to)
		return err
	})
	if err != nil {
		return l.End(), err
	}
	return newEnd, nil
}

func (l *Log) truncate(to int64) (int64, error) {
	st := l.snapshot()
	newEnd := min(max(to, 0), st.end)
	err := l.scan(newEnd, st.end, func(b record.Batch) (bool, error) {
		newEnd = min(newEnd, b.BaseOffset())
		return false, nil
	})
	if err != nil {
		return 0, err
	}
	if newEnd < st.highWatermark {
		return 0, fmt.Errorf("to %d would end at %d, high watermark %d: %w", to, newEnd, st.highWatermark, ErrBelowHighWatermark)
	}
	b := l.store.db.NewBatch()
	defer b.Close()
	epochs := dropEpochsFrom(b, l.id, l.epochs(), newEnd)
	producers, err := l.rewindProducers(b, newEnd, st)
	if err != nil {
		return 0, err
	}
	if newEnd < st.end {
		if st, err = l.rewindState(st, newEnd); err != nil {
			return 0, err
		}
		b.DeleteRange(offsetKey(l.id, kindBatch, newEnd), kindEnd(l.id, kindBatch), nil)
		b.DeleteRange(offsetKey(l.id, kindTimeIndex, newEnd), kindEnd(l.id, kindTimeIndex), nil)
	}
	if b.Empty() {
		return newEnd, nil
	}
	b.Set(prefixKey(l.id, kindState), st.encode(), nil)
	if err := l.store.commit(b, pebble.NoSync); err != nil {
		return 0, err
	}
	l.publish(st, epochs, producers)
	return newEnd, nil
}

// rewindState is st as it was when the log ended at newEnd.
func (l *Log) rewindState(st state, newEnd int64) (state, error) {
	at, err := l.measure(st, newEnd)
	if err != nil {
		return st, err
	}
	entry, err := l.lastEntry(st, func(e indexed) bool { return e.next <= newEnd })
	st.end, st.endPos, st.maxTimestamp, st.indexedPos = newEnd, at.pos, at.maxTimestamp, entry.pos
	return st, err
}

// rewindProducers takes back what batches at or above newEnd said of producers, or
// returns nil if they said nothing. A producer of which no remembered batch is left
// but which wrote earlier is looked up in the log, backwards.
func (l *Log) rewindProducers(b *pebble.Batch, newEnd int64, st state) (map[int64]ProducerState, error) {
	l.mu.RLock()
	producers := maps.Clone(l.mu.producers)
	l.mu.RUnlock()
	lost := make(map[int64]ProducerState)
	changed := false
	for pid, p := range producers {
		rewound := p.before(newEnd)
		switch {
		case len(rewound.Batches) == len(p.Batches):
			continue
		case rewound.Known():
			producers[pid] = rewound
			b.Set(offsetKey(l.id, kindProducer, pid), rewound.encode(nil), nil)
		default:
			delete(producers, pid)
			b.Delete(offsetKey(l.id, kindProducer, pid), nil)
			if p.FirstOffset < newEnd {
				lost[pid] = p
			}
		}
		changed = true
	}
	if !changed {
		return nil, nil
	}
	if err := l.findProducers(lost, newEnd, st); err != nil {
		return nil, err
	}
	for pid, p := range lost {
		if p.Known() {
			producers[pid] = p
			b.Set(offsetKey(l.id, kindProducer, pid), p.encode(nil), nil)
		}
	}
	return producers, nil
}

// findProducers replaces the states in wanted by those from the last batch of each
// producer below newEnd; one that has none any more loses its batches. It reads
// back no further than the oldest of their first offsets.
func (l *Log) findProducers(wanted map[int64]ProducerState, newEnd int64, st state) error {
	oldest := newEnd
	for pid, p := range wanted {
		oldest = min(oldest, p.FirstOffset)
		p.Batches = nil
		wanted[pid] = p
	}
	it, err := l.store.db.NewIter(&pebble.IterOptions{
		LowerBound: offsetKey(l.id, kindBatch, max(oldest, st.start)),
		UpperBound: offsetKey(l.id, kindBatch, newEnd),
	})
	if err != nil {
		return err
	}
	defer it.Close()
	missing := len(wanted)
	for more := it.Last(); more && missing > 0; more = it.Prev() {
		b, err := iterBatch(it)
		if err != nil {
			return err
		}
		p, ok := wanted[b.ProducerID()]
		if !ok || p.Known() || b.BaseSequence() < 0 || b.IsControl() {
			continue
		}
		first, seen := p.FirstOffset, p.seen
		p = ProducerState{}.with(b, b.BaseOffset())
		p.FirstOffset, p.seen = first, seen
		wanted[p.ProducerID] = p
		missing--
	}
	return it.Error()
}

// Reset empties the log and lets it start at offset, with no epochs and no
// producers, for a follower whose leader no longer has what would come next, or for
// a replica that is damaged. It is durable when it returns.
func (l *Log) Reset(offset int64) error {
	return l.changeAny("reset", func() error {
		if offset < 0 {
			return fmt.Errorf("to offset %d: %w", offset, ErrOffsetOutOfRange)
		}
		st := emptyState(offset)
		// What readers find wrong with the old content from here on is over, also what
		// those find who began before the new content is published.
		l.nextGeneration()
		defer l.nextGeneration()
		b := l.store.db.NewBatch()
		defer b.Close()
		b.DeleteRange(prefixKey(l.id, 0), logEnd(l.id), nil)
		b.Set(prefixKey(l.id, kindState), st.encode(), nil)
		if err := l.store.commit(b, pebble.Sync); err != nil {
			return err
		}
		l.mu.Lock()
		l.mu.damage, l.mu.cleaned = nil, cleaned{}
		l.mu.Unlock()
		l.publish(st, nil, make(map[int64]ProducerState))
		l.store.reclaim.add(prefixKey(l.id, kindBatch), kindEnd(l.id, kindBatch))
		return nil
	})
}

func (l *Log) nextGeneration() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.generation++
}
