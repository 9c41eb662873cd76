package storage

import "time"

// Log is the log of one partition. One goroutine may append while any number
// read; calls that change it (Append*, Truncate, SetStart, Reset, AssignEpoch) are
// serialized. Offsets: Start ≤ HighWatermark ≤ End.
type Log struct{}

// Appended describes what an append put into the log.
type Appended struct {
	Base         int64 // offset of the first record
	Last         int64 // offset of the last record
	End          int64 // the log end afterwards: Last + 1
	MaxTimestamp int64 // the newest in these batches, Unix milliseconds
	Pending      *Pending
}

// Pending is an append on its way to disk.
type Pending struct{}

// Wait blocks until the append is durable as the flush mode promises, or returns
// an error that wraps ErrFailed: then it must not be acknowledged. Appends of many
// logs share one flush. It may be called from any goroutine and more than once.
// Appends of one log become durable in order.
func (p *Pending) Wait() error { panic("todo") }

// AppendLeader appends whole batches that the caller has validated, gives them the
// next offsets and leaderEpoch, and returns before they are durable; readers see
// them at once. batches is not modified or kept. A leaderEpoch that is new to the
// log is recorded as by AssignEpoch; one below the latest is ErrStaleEpoch. now
// stands in where a batch carries no timestamp.
func (l *Log) AppendLeader(batches []byte, leaderEpoch int32, now time.Time) (Appended, error) {
	panic("todo")
}

// AppendFollower appends whole batches with the offsets and epochs that the leader
// gave them. The first must start at or after End, each further one after its
// predecessor (gaps are legal: compaction leaves them), and epochs must not go
// back, else ErrOutOfOrder. Otherwise as AppendLeader.
func (l *Log) AppendFollower(batches []byte) (Appended, error) { panic("todo") }

// Chunk is a run of whole batches.
type Chunk struct {
	Bytes []byte // the caller's to keep; nil if there is nothing to read
	Next  int64  // where to read on; the offset asked for if there is nothing
}

// Read returns whole batches in order, starting with the one that contains from
// (or follows it, in a gap), as many as fit in maxBytes but at least one, and none
// whose last offset is at or above below. It returns ErrOffsetOutOfRange for from <
// Start or from > End. The first batch may begin before from, and before Start.
func (l *Log) Read(from int64, maxBytes int, below int64) (Chunk, error) { panic("todo") }

// Start is the first offset that may be read.
func (l *Log) Start() int64 { panic("todo") }

// End is the offset that the next record gets.
func (l *Log) End() int64 { panic("todo") }

// Info describes the log now.
func (l *Log) Info() LogInfo { panic("todo") }

// SetStart moves the log start forward and deletes what lies wholly below it. An
// offset at or below Start does nothing; one above HighWatermark is
// ErrAboveHighWatermark. It is durable when it returns.
func (l *Log) SetStart(offset int64) error { panic("todo") }

// HighWatermark is the last one set, on opening the last one that reached disk:
// it may then be behind what was known before a crash, never ahead.
func (l *Log) HighWatermark() int64 { panic("todo") }

// SetHighWatermark remembers the high watermark, brought between Start and End. It
// reaches disk with the next append, within a second or so, and on Close.
func (l *Log) SetHighWatermark(offset int64) { panic("todo") }

// Truncate removes what lies at or above to. A batch that contains to goes whole,
// so the new end may be lower than to. It is ErrBelowHighWatermark if that would be
// below the high watermark. An offset at or beyond End removes no batch; leader
// epochs that start at or above the new end are always forgotten, and producer
// state goes back with the data. It is durable when it returns.
func (l *Log) Truncate(to int64) (newEnd int64, err error) { panic("todo") }

// Reset empties the log and lets it start at offset, with no epochs and no
// producers, for a follower whose leader no longer has what would come next. It is
// durable when it returns.
func (l *Log) Reset(offset int64) error { panic("todo") }

// AssignEpoch records that epoch starts at startOffset. A new leader calls it with
// the log end before anything else (KAFKA-7415). Epochs that start at or beyond
// startOffset hold no records and are forgotten. The latest epoch again does
// nothing; a lower one is ErrStaleEpoch. It is durable when it returns.
func (l *Log) AssignEpoch(epoch int32, startOffset int64) error { panic("todo") }

// LatestEpoch is the newest leader epoch in the log, -1 if there is none.
func (l *Log) LatestEpoch() int32 { panic("todo") }

// EpochEnd returns the largest epoch ≤ epoch that the log knows, and the offset
// where it ends: the start of the next epoch, or End (KIP-101, KIP-279). It returns
// (-1, -1) if the log knows none.
func (l *Log) EpochEnd(epoch int32) (foundEpoch int32, endOffset int64) { panic("todo") }

// OffsetForTimestamp finds the first record at or after ts (Unix milliseconds)
// within Start and End. found is false if there is none.
func (l *Log) OffsetForTimestamp(ts int64) (offset, timestamp int64, found bool, err error) {
	panic("todo")
}

// Producer returns what the log knows of an idempotent producer; false if nothing.
func (l *Log) Producer(pid int64) (ProducerState, bool) { panic("todo") }

// Producers returns all known producers, ordered by id.
func (l *Log) Producers() []ProducerState { panic("todo") }
