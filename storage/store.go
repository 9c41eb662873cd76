package storage

import "time"

// Store is one Pebble store, holding the logs of one broker's partitions. Its
// methods may be called from any goroutine.
type Store struct{}

// Open opens the store in o.Dir, or makes one. It returns ErrLocked if another
// process has it, ErrFormat if a newer version wrote it, ErrCorrupt if its content
// cannot be read; each names the directory, and none changes it.
func Open(o Options) (*Store, error) { panic("todo") }

// OpenOrQuarantine is Open, but a corrupt store is renamed aside to
// <dir>.quarantined-<time> and an empty one with a new DirectoryUUID is made.
func OpenOrQuarantine(o Options) (*Store, error) { panic("todo") }

// DirectoryUUID identifies this copy of the data. It is made with the store, and
// another one is made when the store may have lost what it acknowledged: after a
// quarantine, or in FlushWritten when the machine went down without a clean close.
func (s *Store) DirectoryUUID() string { panic("todo") }

// Healthy is nil, or an error that wraps ErrFailed once a write to disk has failed.
func (s *Store) Healthy() error { panic("todo") }

// LastProgress is when the disk last completed what the flush mode promises. An
// idle store probes its disk about twice a second, so that a value older than a
// few seconds means that the disk hangs.
func (s *Store) LastProgress() time.Time { panic("todo") }

// Log opens the log of a partition, or makes an empty one. The name is kept for
// people; topic id and partition identify the log. Calls for one log return one *Log.
func (s *Store) Log(name string, topicID [16]byte, partition int32) (*Log, error) { panic("todo") }

// Logs lists the logs on disk, ordered by topic name and partition.
func (s *Store) Logs() []LogInfo { panic("todo") }

// DeleteLog removes a log, data and metadata, and frees its space in the
// background. Its *Log returns ErrLogDeleted from then on. Deleting a log that does
// not exist is no error.
func (s *Store) DeleteLog(topicID [16]byte, partition int32) error { panic("todo") }

// Retain applies a retention policy to every log: it moves log starts, never past
// a high watermark, and frees the space in the background. It returns the logs whose
// start moved, as they are now.
func (s *Store) Retain(policy func(LogInfo) Policy, now time.Time) ([]LogInfo, error) { panic("todo") }

// Close makes everything durable, whatever the flush mode, and releases the
// directory. Pending appends are complete when it returns. Logs return ErrClosed.
func (s *Store) Close() error { panic("todo") }
