package storage

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Store is one Pebble store, holding the logs of one broker's partitions. Its
// methods may be called from any goroutine.
type Store struct {
	dir      string
	files    vfs.FS
	db       *pebble.DB
	lock     *pebble.Lock
	log      *slog.Logger
	meta     meta
	failure  *failure
	progress *atomic.Int64
	reclaim  *reclaimer
	readOnly bool // opened by Inspect: nothing runs, nothing is written
	onDamage func(*DamageError)
	tails    tailBudget
	flusher  *flusher

	stop context.CancelFunc
	work sync.WaitGroup // the goroutines of run

	// gate is held for reading around every use of db, and for writing to close it.
	gate   sync.RWMutex
	closed bool // under gate

	mu struct {
		sync.Mutex
		logs   map[logIdentity]*Log
		nextID uint64
	}
}

// Open opens the store in o.Dir, or makes one. It returns ErrLocked if another
// process has it, ErrFormat if a newer version wrote it, ErrCorrupt if its content
// cannot be read; each names the directory, and none changes it.
func Open(o Options) (*Store, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return openTuned(o.withDefaults(), func(*pebble.Options) {})
}

// openTuned is Open with a last word on Pebble's options.
func openTuned(o Options, tune func(*pebble.Options)) (*Store, error) {
	s, err := open(o, tune)
	if err != nil {
		return nil, fmt.Errorf("open storage %s: %w", o.Dir, err)
	}
	return s, nil
}

// OpenOrQuarantine is Open, but a corrupt store is renamed aside to
// <dir>.quarantined-<time> and an empty one with a new DirectoryUUID is made.
func OpenOrQuarantine(o Options) (*Store, error) {
	s, err := Open(o)
	if !errors.Is(err, ErrCorrupt) {
		return s, err
	}
	o = o.withDefaults()
	aside := o.Dir + ".quarantined-" + time.Now().UTC().Format("20060102T150405.000Z")
	if renameErr := o.FS.Rename(o.Dir, aside); renameErr != nil {
		return nil, errors.Join(err, fmt.Errorf("quarantine %s: %w", o.Dir, renameErr))
	}
	o.Logger.Error("storage quarantined, its replicas must be rebuilt", "dir", o.Dir, "aside", aside, "error", err)
	if s, err = Open(o); err != nil {
		return nil, err
	}
	o.Logger.Warn("storage made anew", "dir", o.Dir, "directory_uuid", s.DirectoryUUID())
	return s, nil
}

func open(o Options, tune func(*pebble.Options)) (*Store, error) {
	if err := makeDir(o.FS, o.Dir); err != nil {
		return nil, err
	}
	lock, err := pebble.LockDirectory(o.Dir, o.FS)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLocked, err)
	}
	s, err := openLocked(o, lock, tune)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

// openLocked opens the store whose directory lock is held.
func openLocked(o Options, lock *pebble.Lock, tune func(*pebble.Options)) (*Store, error) {
	m, before, err := prepareMeta(o)
	if err != nil {
		return nil, err
	}
	s := &Store{
		dir: o.Dir, files: o.FS, lock: lock, log: o.Logger, meta: m,
		progress: new(atomic.Int64),
		reclaim:  newReclaimer(),
		onDamage: o.OnDamage,
		tails:    tailBudget{limit: o.MemoryBudget / 8},
	}
	s.flusher = newFlusher(s)
	s.failure = &failure{report: func(err error) {
		o.Logger.Error("storage failed, nothing more is acknowledged", "dir", o.Dir, "error", err)
		if o.OnFatal != nil {
			go o.OnFatal(err)
		}
	}}
	failed, err := newFailedFS(o.FS, o.Dir, s.failure)
	if err != nil {
		return nil, err
	}
	files := &walFS{
		FS: blockFS{failed}, walDir: o.FS.PathJoin(o.Dir, walDirName),
		flush: o.Flush, failure: s.failure, progress: s.progress,
	}
	po := pebbleOptions(o, files, pebbleLogger{o.Logger, s.failure}, pebbleEvents(o.Logger, s.failure, o.OnStall))
	po.Lock = lock
	po.ErrorIfNotExists = m.Ready
	tune(po)
	if s.db, err = openPebble(o.Dir, po); err != nil {
		return nil, err
	}
	if err := s.load(o, before); err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	s.failure.armed.Store(true)
	s.progress.Store(time.Now().UnixNano())
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.run(ctx)
	return s, nil
}

// prepareMeta reads store.json and, for a new store, writes the first one, which
// says that Pebble's files may not be there yet. before is what it found.
func prepareMeta(o Options) (m, before meta, err error) {
	before, err = readMeta(o.FS, o.Dir)
	if err != nil {
		return meta{}, meta{}, err
	}
	if before.UUID == "" {
		if desc, err := pebble.Peek(o.Dir, o.FS); err != nil || desc.Exists {
			return meta{}, meta{}, errors.Join(fmt.Errorf("data files without %s: %w", metaName, ErrCorrupt), err)
		}
	}
	if before.Ready && before.lost(o) {
		if err := afterMachineCrash(o); err != nil {
			return meta{}, meta{}, err
		}
	}
	m = before.opened(o)
	if m.Ready {
		return m, before, nil
	}
	return m, before, m.write(o.FS, o.Dir)
}

// afterMachineCrash makes a store openable that acknowledged what was only written.
func afterMachineCrash(o Options) error {
	o.Logger.Warn("the machine went down without a clean close in flush mode written: the directory gets another UUID", "dir", o.Dir)
	name, left, err := cutTornLog(o.FS, o.FS.PathJoin(o.Dir, walDirName))
	if err == nil && name != "" {
		o.Logger.Warn("log cut where it is torn", "file", name, "bytes_left", left)
	}
	return err
}

// load finishes opening: store.json says that the store is in use, and the logs'
// descriptions are read. before is what store.json said.
func (s *Store) load(o Options, before meta) error {
	if err := s.failure.get(); err != nil {
		return err
	}
	if err := s.checkMark(before); err != nil {
		return err
	}
	s.meta.Ready = true
	if err := s.meta.write(s.files, s.dir); err != nil {
		return err
	}
	s.mu.logs = make(map[logIdentity]*Log)
	if err := s.loadLogs(); err != nil {
		return err
	}
	if before.Ready && !before.Clean {
		s.recoveryScrub()
	}
	o.Logger.Info("storage open", "dir", o.Dir, "directory_uuid", s.meta.UUID,
		"flush", o.Flush.String(), "logs", len(s.mu.logs), "memory_budget", o.MemoryBudget)
	return nil
}

func (s *Store) loadLogs() error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefixKey(0, kindLog), UpperBound: kindEnd(0, kindNextID)})
	if err != nil {
		return err
	}
	defer it.Close()
	s.mu.nextID = 1
	for it.First(); it.Valid(); it.Next() {
		k := it.Key()
		v, err := it.ValueAndErr()
		if err != nil {
			return corruption("directory of logs", err)
		}
		switch {
		case k[8] == kindNextID && len(v) == 8:
			s.mu.nextID = binary.BigEndian.Uint64(v)
		case len(k) == logKeyLen && len(v) >= 8:
			l := newLog(s, binary.BigEndian.Uint64(v), decodeLogKey(k), string(v[8:]))
			s.mu.logs[l.identity] = l
		default:
			return fmt.Errorf("directory of logs: key %x, value of %d bytes: %w", k, len(v), ErrCorrupt)
		}
	}
	if err := it.Error(); err != nil {
		return corruption("directory of logs", err)
	}
	return s.loadStates()
}

// checkMark sees to it that what was written last before a clean close is there.
func (s *Store) checkMark(before meta) error {
	if !before.Clean || before.Mark == "" {
		return nil
	}
	v, closer, err := s.db.Get(prefixKey(0, kindMark))
	if err != nil && !errors.Is(err, pebble.ErrNotFound) {
		return corruption("mark of the clean close", err)
	}
	found := string(v)
	if closer != nil {
		err = closer.Close()
	}
	if found != before.Mark {
		return errors.Join(err, fmt.Errorf("the write-ahead log has lost its end since the store was closed cleanly: %w", ErrCorrupt))
	}
	return nil
}

// corruption translates an error of reading what opening needs.
func corruption(what string, err error) error {
	if pebble.IsCorruptionError(err) && !errors.Is(err, ErrCorrupt) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", what, err)
	}
	return err
}

// loadStates reads every log's description with one iterator.
func (s *Store) loadStates() error {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	defer it.Close()
	for _, l := range s.mu.logs {
		if l.id == 0 || l.id >= s.mu.nextID {
			return fmt.Errorf("log id %d, next is %d: %w", l.id, s.mu.nextID, ErrCorrupt)
		}
		if err := l.load(it); err != nil {
			return corruption("log "+l.label(), err)
		}
	}
	return nil
}

// DirectoryUUID identifies this copy of the data. It is made with the store, and
// another one is made when the store may have lost what it acknowledged: after a
// quarantine, or in FlushWritten when the machine went down without a clean close.
func (s *Store) DirectoryUUID() string { return s.meta.UUID }

// Healthy is nil, or an error that wraps ErrFailed once a write to disk has failed.
func (s *Store) Healthy() error { return s.failure.get() }

// enter lets a call use db until it calls leave.
func (s *Store) enter() error {
	s.gate.RLock()
	if s.closed {
		s.gate.RUnlock()
		return fmt.Errorf("storage %s: %w", s.dir, ErrClosed)
	}
	return nil
}

func (s *Store) leave() { s.gate.RUnlock() }

// enterWrite is enter for calls that change something.
func (s *Store) enterWrite() error {
	if err := s.failure.get(); err != nil {
		return err
	}
	return s.enter()
}

// Log opens the log of a partition, or makes an empty one. The name is kept for
// people; topic id and partition identify the log. Calls for one log return one *Log.
func (s *Store) Log(name string, topicID [16]byte, partition int32) (*Log, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	id := logIdentity{topicID, partition}
	if l, ok := s.mu.logs[id]; ok {
		return l, nil
	}
	if err := s.failure.get(); err != nil {
		return nil, err
	}
	l := newLog(s, s.mu.nextID, id, name)
	b := s.db.NewBatch()
	defer b.Close()
	b.Set(id.key(), append(binary.BigEndian.AppendUint64(nil, l.id), name...), nil)
	b.Set(prefixKey(0, kindNextID), binary.BigEndian.AppendUint64(nil, l.id+1), nil)
	b.Set(prefixKey(l.id, kindState), l.mu.state.encode(), nil)
	if err := s.commit(b, pebble.NoSync); err != nil {
		return nil, fmt.Errorf("create log %s: %w", l.label(), err)
	}
	s.mu.nextID++
	s.mu.logs[id] = l
	return l, nil
}

// commit applies a batch of metadata. With NoSync it is ordered, not durable: it
// reaches disk before anything that is committed later, at the latest with the next
// disk probe.
func (s *Store) commit(b *pebble.Batch, wo *pebble.WriteOptions) error {
	if err := s.db.Apply(b, wo); err != nil {
		return err
	}
	return s.failure.get()
}

// Logs lists the logs on disk, ordered by topic name and partition.
func (s *Store) Logs() []LogInfo {
	var infos []LogInfo
	for _, l := range s.allLogs() {
		infos = append(infos, l.Info())
	}
	slices.SortFunc(infos, func(a, b LogInfo) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), slices.Compare(a.TopicID[:], b.TopicID[:]), cmp.Compare(a.Partition, b.Partition))
	})
	return infos
}

func (s *Store) allLogs() []*Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	logs := make([]*Log, 0, len(s.mu.logs))
	for _, l := range s.mu.logs {
		logs = append(logs, l)
	}
	return logs
}

// DeleteLog removes a log, data and metadata, and frees its space in the
// background. Its *Log returns ErrLogDeleted from then on. Deleting a log that does
// not exist is no error. It is durable when it returns.
func (s *Store) DeleteLog(topicID [16]byte, partition int32) error {
	if err := s.enterWrite(); err != nil {
		return err
	}
	defer s.leave()
	id := logIdentity{topicID, partition}
	s.mu.Lock()
	l, ok := s.mu.logs[id]
	s.mu.Unlock()
	if !ok {
		return nil
	}
	l.write.Lock()
	defer l.write.Unlock()
	if l.deleted.Load() {
		return nil
	}
	// What readers find wrong with the log from here on is of no interest, as in Reset.
	l.nextGeneration()
	defer l.nextGeneration()
	b := s.db.NewBatch()
	defer b.Close()
	b.Delete(id.key(), nil)
	b.DeleteRange(prefixKey(l.id, 0), logEnd(l.id), nil)
	if err := s.commit(b, pebble.Sync); err != nil {
		return fmt.Errorf("delete log %s: %w", l.label(), err)
	}
	l.deleted.Store(true)
	l.dropTail(math.MaxUint64)
	s.mu.Lock()
	delete(s.mu.logs, id)
	s.mu.Unlock()
	s.reclaim.add(prefixKey(l.id, 0), logEnd(l.id))
	return nil
}

// Close makes everything durable, whatever the flush mode, and releases the
// directory. Pending appends are complete when it returns. Logs return ErrClosed.
func (s *Store) Close() error {
	s.stop()
	s.work.Wait()
	s.gate.Lock()
	defer s.gate.Unlock()
	if s.closed {
		return nil
	}
	failed := s.failure.get()
	var err error
	if failed == nil {
		s.checkpoint()
		s.meta.Mark = newUUID()
		err = s.db.Set(prefixKey(0, kindMark), []byte(s.meta.Mark), pebble.Sync)
	}
	s.closed = true
	err = errors.Join(err, s.db.Close())
	if failed == nil {
		failed = s.failure.get()
	}
	if failed == nil && err == nil {
		s.flusher.settle()
		s.meta.Clean = true
		err = s.meta.write(s.files, s.dir)
	}
	if err := errors.Join(failed, err, s.lock.Close()); err != nil {
		return fmt.Errorf("close storage %s: %w", s.dir, err)
	}
	s.log.Info("storage closed", "dir", s.dir)
	return nil
}
