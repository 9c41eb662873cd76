package storage

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/regency-project/regency/storage/record"
)

// Inspector reads a store that nobody has open, for people. It changes nothing but
// the lock file.
type Inspector struct{ s *Store }

// StoreInfo is what store.json says, and where it was found.
type StoreInfo struct {
	Dir    string `json:"dir"`
	Format int    `json:"format"`
	UUID   string `json:"directory_uuid"`
	Flush  string `json:"flush"`
	Clean  bool   `json:"clean"` // closed by the process that used it last
}

// Inspect opens the store in o.Dir for reading. It returns ErrLocked if a process
// has it open, which must be stopped first, and otherwise fails as Open does, but
// makes nothing.
func Inspect(o Options) (*Inspector, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	s, err := openToRead(o)
	if err != nil {
		return nil, fmt.Errorf("inspect storage %s: %w", o.Dir, err)
	}
	return &Inspector{s}, nil
}

func openToRead(o Options) (*Store, error) {
	m, err := readMeta(o.FS, o.Dir)
	if err != nil {
		return nil, err
	}
	if m.UUID == "" {
		return nil, fmt.Errorf("there is no %s: this is not the directory of a store", metaName)
	}
	lock, err := pebble.LockDirectory(o.Dir, o.FS)
	if err != nil {
		return nil, fmt.Errorf("%w: stop the broker first: %w", ErrLocked, err)
	}
	s := &Store{dir: o.Dir, files: o.FS, log: o.Logger, lock: lock, meta: m, readOnly: true, reclaim: newReclaimer()}
	s.failure = &failure{report: func(error) {}}
	s.mu.logs = make(map[logIdentity]*Log)
	po := pebbleOptions(o, blockFS{o.FS}, pebbleLogger{o.Logger, s.failure}, pebbleEvents(o.Logger, s.failure, nil))
	po.Lock, po.ReadOnly, po.ErrorIfNotExists = lock, true, true
	if s.db, err = openPebble(o.Dir, po); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if err := errors.Join(s.checkMark(m), s.loadLogs()); err != nil {
		return nil, errors.Join(err, s.db.Close(), lock.Close())
	}
	return s, nil
}

// Close lets the directory go.
func (i *Inspector) Close() error {
	i.s.gate.Lock()
	defer i.s.gate.Unlock()
	if i.s.closed {
		return nil
	}
	i.s.closed = true
	return errors.Join(i.s.db.Close(), i.s.lock.Close())
}

// Info describes the store.
func (i *Inspector) Info() StoreInfo {
	m := i.s.meta
	return StoreInfo{Dir: i.s.dir, Format: m.Format, UUID: m.UUID, Flush: m.Flush, Clean: m.Clean}
}

// EpochStart says where the records of a leader epoch begin.
type EpochStart struct {
	Epoch int32 `json:"epoch"`
	Start int64 `json:"start"`
}

// TimeIndexEntry says what is true of all records up to Offset.
type TimeIndexEntry struct {
	Offset       int64 `json:"offset"`
	MaxTimestamp int64 `json:"max_timestamp"`
	Position     int64 `json:"position"`
}

// LogDescription is everything about a log but its batches.
type LogDescription struct {
	LogInfo
	LogID     uint64
	CleanedTo int64 // below this offset it is compacted; 0 if it never was
	Epochs    []EpochStart
	Producers []ProducerState
	TimeIndex []TimeIndexEntry
	Damage    *DamageError // nil if it is not marked
}

// Logs describes all logs, ordered by topic and partition.
func (i *Inspector) Logs() ([]LogDescription, error) {
	var all []LogDescription
	for _, info := range i.s.Logs() {
		l, err := i.log(info.TopicID, info.Partition)
		if err != nil {
			return nil, err
		}
		d := LogDescription{LogInfo: info, LogID: l.id, CleanedTo: l.cleanedNow().end, Producers: l.Producers(), Damage: l.damage()}
		for _, e := range l.epochs() {
			d.Epochs = append(d.Epochs, EpochStart{e.epoch, e.start})
		}
		if d.TimeIndex, err = l.timeIndex(); err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

func (i *Inspector) log(topicID [16]byte, partition int32) (*Log, error) {
	i.s.mu.Lock()
	defer i.s.mu.Unlock()
	l, ok := i.s.mu.logs[logIdentity{topicID, partition}]
	if !ok {
		return nil, fmt.Errorf("no log of topic id %x, partition %d", topicID, partition)
	}
	return l, nil
}

func (l *Log) timeIndex() (entries []TimeIndexEntry, err error) {
	err = l.view("read the time index of", func() error {
		it, err := l.store.db.NewIter(&pebble.IterOptions{
			LowerBound: prefixKey(l.id, kindTimeIndex),
			UpperBound: kindEnd(l.id, kindTimeIndex),
		})
		if err != nil {
			return err
		}
		defer it.Close()
		for more := it.First(); more; more = it.Next() {
			e, err := iterEntry(it)
			if err != nil {
				return err
			}
			entries = append(entries, TimeIndexEntry{e.next - 1, e.maxTimestamp, e.pos})
		}
		return it.Error()
	})
	return entries, err
}

// BatchReport is a batch as it is on disk.
type BatchReport struct {
	// Key is the last offset by the key; all else comes from the value.
	Key   int64
	Batch record.Batch // nil if it cannot be read; valid during the visit only
	Err   error        // why it cannot be read, or does not agree with its checksum or key
}

// Batches visits the batches of a log whose last offset is at or above from, also
// behind one that cannot be read, until visit returns an error.
func (i *Inspector) Batches(d LogDescription, from int64, visit func(BatchReport) error) error {
	l, err := i.log(d.TopicID, d.Partition)
	if err != nil {
		return err
	}
	return l.report(from, visit)
}

func (l *Log) report(from int64, visit func(BatchReport) error) error {
	if err := l.store.enter(); err != nil {
		return err
	}
	defer l.store.leave()
	it, err := l.store.db.NewIter(&pebble.IterOptions{
		LowerBound: offsetKey(l.id, kindBatch, from),
		UpperBound: kindEnd(l.id, kindBatch),
	})
	if err != nil {
		return err
	}
	defer it.Close()
	for more := it.First(); more; more = it.Next() {
		r := BatchReport{Key: keyOffset(it.Key())}
		if r.Batch, r.Err = iterBatch(it); r.Err == nil {
			if _, err := record.First(r.Batch, record.CheckReplica); err != nil {
				r.Err = at(r.Key, fmt.Errorf("%w: %w", ErrCorrupt, err))
			}
		}
		if err := visit(r); err != nil {
			return err
		}
		from = r.Key + 1
	}
	return at(from, it.Error())
}

// Find returns the logs of a topic, by name, all if it is empty; partition -1 is any.
func Find(logs []LogDescription, topic string, partition int32) []LogDescription {
	return slices.DeleteFunc(slices.Clone(logs), func(d LogDescription) bool {
		return (topic != "" && d.Topic != topic) || (partition >= 0 && d.Partition != partition)
	})
}
