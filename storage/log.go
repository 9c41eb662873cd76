package storage

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// Log is the log of one partition. One goroutine may append while any number
// read; calls that change it (Append*, Truncate, SetStart, Reset, AssignEpoch) are
// serialized. Offsets: Start ≤ HighWatermark ≤ End.
type Log struct {
	store    *Store
	id       uint64
	identity logIdentity
	name     string
	deleted  atomic.Bool

	compacting atomic.Bool

	// write is held by whoever changes the log, through the commit, so that
	// commits of one log have the order of its offsets. It comes before mu.
	write sync.Mutex
	// persistedHW is the high watermark in the last committed state; under write.
	persistedHW int64

	// mu holds what readers see. A writer changes it after its commit, so that an
	// offset below end can always be read.
	mu struct {
		sync.RWMutex
		state  state
		damage *DamageError
		// generation goes up when the log begins to be emptied, and again when it is.
		generation uint64
		cleaned    cleaned
		epochs     []epochStart // ascending in both fields; replaced, never modified
		producers  map[int64]ProducerState
		tail       []tailEntry // the newest batches, up to end; see tail.go
		tailCut    int         // entries cut off in front of tail, still in its array
		// tailDropped is the last append that left the tail budget.
		tailDropped uint64
	}
}

func newLog(s *Store, id uint64, identity logIdentity, name string) *Log {
	l := &Log{store: s, id: id, identity: identity, name: name}
	l.mu.state = emptyState(0)
	l.mu.producers = make(map[int64]ProducerState)
	return l
}

func (l *Log) label() string { return fmt.Sprintf("%s-%d", l.name, l.identity.partition) }

// load reads the log's description with it, which may be anywhere.
func (l *Log) load(it *pebble.Iterator) error {
	found := false
	end := logEnd(l.id)
	for it.SeekGE(prefixKey(l.id, kindBatch+1)); it.Valid(); it.Next() {
		k := it.Key()
		if string(k) >= string(end) || k[8] >= kindTimeIndex {
			break
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if err := l.loadKey(k, v); err != nil {
			return err
		}
		found = found || k[8] == kindState
	}
	if err := it.Error(); err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("no state: %w", ErrCorrupt)
	}
	l.persistedHW = l.mu.state.highWatermark
	return nil
}

func (l *Log) loadKey(k, v []byte) (err error) {
	switch {
	case k[8] == kindCleaned && len(k) == prefixLen:
		l.mu.cleaned, err = decodeCleaned(v)
	case k[8] == kindDamage && len(k) == prefixLen:
		err = l.loadDamage(v)
	case k[8] == kindState && len(k) == prefixLen:
		l.mu.state, err = decodeState(v)
	case k[8] == kindEpoch && len(k) == prefixLen+4 && len(v) == 8:
		l.mu.epochs = append(l.mu.epochs, epochStart{
			epoch: int32(binary.BigEndian.Uint32(k[prefixLen:])),
			start: int64(binary.BigEndian.Uint64(v)),
		})
	case k[8] == kindProducer && len(k) == offsetKeyLen:
		pid := keyOffset(k)
		l.mu.producers[pid], err = decodeProducer(pid, v)
	default:
		err = fmt.Errorf("key %x: %w", k, ErrCorrupt)
	}
	return err
}

// change runs do for a caller that changes the log, alone. A damaged log is not
// changed.
func (l *Log) change(doing string, do func() error) error {
	return l.changeAny(doing, func() error {
		if d := l.damage(); d != nil {
			return d
		}
		return do()
	})
}

// changeAny is change for what may also be done to a damaged log.
func (l *Log) changeAny(doing string, do func() error) error {
	if err := l.store.enterWrite(); err != nil {
		return fmt.Errorf("%s %s: %w", doing, l.label(), err)
	}
	defer l.store.leave()
	l.write.Lock()
	defer l.write.Unlock()
	generation, err := l.generation(), error(ErrLogDeleted)
	if !l.deleted.Load() {
		var first *DamageError
		if first, err = l.noteDamage(generation, do()); first != nil {
			l.persistDamage(first)
		}
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", doing, l.label(), err)
	}
	return nil
}

func (l *Log) snapshot() state {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.mu.state
}

// publish makes a committed change other than an append visible. The tail may hold
// what was truncated, or lie below the new start; it goes.
func (l *Log) publish(st state, epochs []epochStart, producers map[int64]ProducerState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.persistedHW = st.highWatermark
	// The high watermark may have been set while the commit was on its way.
	st.highWatermark = min(max(l.mu.state.highWatermark, st.start), st.end)
	l.mu.state, l.mu.epochs = st, epochs
	l.mu.tail, l.mu.tailCut = nil, 0
	if producers != nil {
		l.mu.producers = producers
	}
}

// Start is the first offset that may be read.
func (l *Log) Start() int64 { return l.snapshot().start }

// End is the offset that the next record gets.
func (l *Log) End() int64 { return l.snapshot().end }

// Info describes the log now.
func (l *Log) Info() LogInfo {
	st := l.snapshot()
	return LogInfo{
		Topic:         l.name,
		TopicID:       l.identity.topicID,
		Partition:     l.identity.partition,
		Start:         st.start,
		End:           st.end,
		HighWatermark: st.highWatermark,
		Bytes:         st.endPos - st.startPos,
	}
}

// HighWatermark is the last one set, on opening the last one that reached disk:
// it may then be behind what was known before a crash, never ahead.
func (l *Log) HighWatermark() int64 { return l.snapshot().highWatermark }

// SetHighWatermark remembers the high watermark, brought between Start and End. It
// reaches disk with the next append, within a second or so, and on Close.
func (l *Log) SetHighWatermark(offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.state.highWatermark = min(max(offset, l.mu.state.start), l.mu.state.end)
}

// checkpoint writes the state if the high watermark changed and nobody else is
// about to write it.
func (l *Log) checkpoint() {
	if !l.write.TryLock() {
		return
	}
	defer l.write.Unlock()
	st := l.snapshot()
	if st.highWatermark == l.persistedHW || l.deleted.Load() {
		return
	}
	if err := l.store.db.Set(prefixKey(l.id, kindState), st.encode(), pebble.NoSync); err == nil {
		l.persistedHW = st.highWatermark
	}
}

// Producer returns what the log knows of an idempotent producer; false if nothing.
func (l *Log) Producer(pid int64) (ProducerState, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	p, ok := l.mu.producers[pid]
	return p, ok
}

// Producers returns all known producers, ordered by id.
func (l *Log) Producers() []ProducerState {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.SortedFunc(maps.Values(l.mu.producers), func(a, b ProducerState) int {
		return cmp.Compare(a.ProducerID, b.ProducerID)
	})
}
