package partition

import (
	"errors"
	"fmt"

	"github.com/regency-project/regency/storage"
	"github.com/regency-project/regency/storage/record"
)

var (
	// ErrNotLeader: this broker does not lead the partition, or stopped leading it before the answer was certain. A *NotLeaderError says who does.
	ErrNotLeader = errors.New("not the leader")
	// ErrFencedLeaderEpoch: the caller's leader epoch is over. It refreshes its metadata.
	ErrFencedLeaderEpoch = errors.New("leader epoch is fenced")
	// ErrUnknownLeaderEpoch: the caller's leader epoch is newer than this broker's. It retries: this broker is about to learn it.
	ErrUnknownLeaderEpoch = errors.New("leader epoch is unknown")
	// ErrOffsetOutOfRange: nothing can be read there. A consumer resets its position, a follower starts over.
	ErrOffsetOutOfRange = errors.New("offset out of range")
	// ErrOffsetNotAvailable: a new leader does not yet know what is committed. Retry soon.
	ErrOffsetNotAvailable = errors.New("committed offset is not known yet")
	// ErrNotEnoughReplicas: the ISR is too small for acks=all. Nothing was appended; retry.
	ErrNotEnoughReplicas = errors.New("not enough in-sync replicas")
	// ErrNotEnoughReplicasAfterAppend: the ISR became too small after the append. The records may become committed or not.
	ErrNotEnoughReplicasAfterAppend = errors.New("not enough in-sync replicas after the append")
	// ErrOutOfOrderSequence: the producer's batch leaves a gap or repeats an old one. Nothing was appended.
	ErrOutOfOrderSequence = errors.New("out of order sequence number")
	// ErrInvalidProducerEpoch: a newer incarnation of the producer exists. Nothing was appended.
	ErrInvalidProducerEpoch = errors.New("invalid producer epoch")
	// ErrCorrupt: the batches do not agree with their checksum or lengths. Nothing was appended.
	ErrCorrupt = errors.New("corrupt batch")
	// ErrInvalidRecord: the batches are well formed, but not what a client may produce. Nothing was appended.
	ErrInvalidRecord = errors.New("invalid batch")
	// ErrUnsupportedFormat: the batches are not in message format v2, or compressed by an unknown codec. Nothing was appended.
	ErrUnsupportedFormat = errors.New("unsupported batch format")
	// ErrTooLarge: the batch is larger than the topic allows. Nothing was appended.
	ErrTooLarge = errors.New("batch too large")
	// ErrStaleBrokerEpoch: the follower is another incarnation than the one that the cluster knows. It retries when the views agree.
	ErrStaleBrokerEpoch = errors.New("broker epoch is not current")
	// ErrUnknownReplica: the follower is not a replica of the partition.
	ErrUnknownReplica = errors.New("not a replica of the partition")
	// ErrTimedOut: the wait ended before the answer was certain. The records may become committed or not.
	ErrTimedOut = errors.New("timed out waiting for replicas")
	// ErrStorage: this broker's disk failed. The outcome of what was pending is unknown.
	ErrStorage = errors.New("storage failed")
	// ErrStale: the answer of a leader came after the epoch or the log it was for had changed. It was ignored; fetch again.
	ErrStale = errors.New("answer is out of date")

	errSelfLost = errors.New("the registration is lost")
)

// NotLeaderError is ErrNotLeader with what this broker knows of the leader.
type NotLeaderError struct {
	Leader int32 // cluster.NoLeader if there is none
	Epoch  int32
}

func (e *NotLeaderError) Error() string {
	return fmt.Sprintf("%v: that is broker %d in epoch %d", ErrNotLeader, e.Leader, e.Epoch)
}

// Is makes it an ErrNotLeader.
func (e *NotLeaderError) Is(target error) bool { return target == ErrNotLeader }

// translations are from the errors of storage to those of this package.
var translations = []struct{ from, to error }{
	{record.ErrMagic, ErrUnsupportedFormat},
	{record.ErrCompression, ErrUnsupportedFormat},
	{record.ErrTruncated, ErrCorrupt},
	{record.ErrCorrupt, ErrCorrupt},
	{record.ErrInvalid, ErrInvalidRecord},
	{storage.ErrOutOfOrderSequence, ErrOutOfOrderSequence},
	{storage.ErrInvalidProducerEpoch, ErrInvalidProducerEpoch},
	{storage.ErrOffsetOutOfRange, ErrOffsetOutOfRange},
	{storage.ErrStaleEpoch, ErrNotLeader},
	{storage.ErrLogDeleted, ErrNotLeader},
	{storage.ErrFailed, ErrStorage},
	{storage.ErrClosed, ErrStorage},
	{storage.ErrCorrupt, ErrStorage},
}

// translate gives an error of storage its meaning here. What has none stays as it is.
func translate(err error) error {
	for _, t := range translations {
		if errors.Is(err, t.from) {
			return fmt.Errorf("%w: %w", t.to, err)
		}
	}
	return err
}
