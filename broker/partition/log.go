package partition

import (
	"time"

	"github.com/regency-project/regency/storage"
)

// Durable is an append on its way to disk. Wait returns when it is there, as the flush mode promises, or an error: then it must not be acknowledged.
// Appends of one log become durable in order. Each is waited for.
type Durable interface{ Wait() error }

// Appended describes an append: the offsets of its first and last record, and the log end after it.
type Appended struct {
	Base, Last, End int64
	Durable         Durable
}

// Log is the log of one replica, by the contract of storage.Log.
type Log interface {
	AppendLeader(batches []byte, leaderEpoch int32, now time.Time) (Appended, error)
	AppendFollower(batches []byte) (Appended, error)
	Read(from int64, maxBytes int, below int64) (storage.Chunk, error)
	Start() int64
	End() int64
	SetStart(offset int64) error
	HighWatermark() int64
	SetHighWatermark(offset int64)
	Truncate(to int64) (newEnd int64, err error)
	Reset(offset int64) error
	AssignEpoch(epoch int32, startOffset int64) error
	LatestEpoch() int32
	EpochEnd(epoch int32) (foundEpoch int32, endOffset int64)
	OffsetForTimestamp(ts int64) (offset, timestamp int64, found bool, err error)
	Producer(pid int64) (storage.ProducerState, bool)
	DeleteRecords(offset int64) (start int64, err error)
	Damage() error
	Sync() error
}

// Logs holds the logs of a broker, by the contract of storage.Store.
type Logs interface {
	// Log opens a log, or makes it.
	Log(topic string, topicID [16]byte, partition int32) (Log, error)
	// Logs lists the logs on disk.
	Logs() []storage.LogInfo
	DeleteLog(topicID [16]byte, partition int32) error
	// Damaged lists the logs that must be reset; none while the store has failed, for then nothing can be.
	Damaged() []*storage.DamageError
}

// Storage presents a store as Logs.
func Storage(s *storage.Store) Logs { return store{s} }

type store struct{ *storage.Store }

func (s store) Log(topic string, topicID [16]byte, partition int32) (Log, error) {
	l, err := s.Store.Log(topic, topicID, partition)
	if err != nil {
		return nil, err
	}
	return storedLog{l}, nil
}

func (s store) Damaged() []*storage.DamageError {
	if s.Healthy() != nil {
		return nil
	}
	return s.Store.Damaged()
}

type storedLog struct{ *storage.Log }

func (l storedLog) AppendLeader(batches []byte, leaderEpoch int32, now time.Time) (Appended, error) {
	return appended(l.Log.AppendLeader(batches, leaderEpoch, now))
}

func (l storedLog) AppendFollower(batches []byte) (Appended, error) {
	return appended(l.Log.AppendFollower(batches))
}

func appended(a storage.Appended, err error) (Appended, error) {
	if err != nil {
		return Appended{}, err
	}
	return Appended{Base: a.Base, Last: a.Last, End: a.End, Durable: a.Pending}, nil
}
