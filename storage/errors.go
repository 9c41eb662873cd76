package storage

import "errors"

var (
	// ErrFailed: a write or sync of the disk failed. Nothing that is not yet
	// acknowledged will be; stop leading, close the store, let the operator look.
	ErrFailed = errors.New("storage failed")
	// ErrClosed: the store was closed. Stop using it.
	ErrClosed = errors.New("storage closed")
	// ErrLocked: another process has the data directory open. Stop.
	ErrLocked = errors.New("data directory is in use by another process")
	// ErrCorrupt: the store cannot be opened, or a value in it cannot be read.
	// Restore the directory, or let OpenOrQuarantine set it aside.
	ErrCorrupt = errors.New("storage corrupt")
	// ErrFormat: a newer version of this program wrote the store. Upgrade; the
	// directory is untouched.
	ErrFormat = errors.New("storage format too new")
	// ErrOffsetOutOfRange: the offset is below the log start or beyond the log
	// end. A consumer resets, a follower truncates or starts over.
	ErrOffsetOutOfRange = errors.New("offset out of range")
	// ErrOutOfOrder: appended batches do not continue the log. Truncate by leader
	// epoch and fetch again.
	ErrOutOfOrder = errors.New("batch out of order")
	// ErrBelowHighWatermark: the truncation would remove committed records. Never
	// retry it; the replica and its leader disagree about committed data.
	ErrBelowHighWatermark = errors.New("truncation below the high watermark")
	// ErrAboveHighWatermark: the log start would pass the high watermark. Use a
	// lower offset, or Reset for a replica that starts over.
	ErrAboveHighWatermark = errors.New("log start above the high watermark")
	// ErrStaleEpoch: a leader epoch below the latest of the log. The caller is no
	// longer the leader it believes it is.
	ErrStaleEpoch = errors.New("leader epoch below the latest of the log")
	// ErrLogDeleted: the log was deleted while the caller held it. Drop it.
	ErrLogDeleted = errors.New("log deleted")
	// ErrOutOfOrderSequence: an idempotent producer's batch leaves a gap or repeats
	// an old one. The producer decides; nothing was appended.
	ErrOutOfOrderSequence = errors.New("out of order sequence number")
	// ErrInvalidProducerEpoch: an older incarnation of the producer. It is fenced.
	ErrInvalidProducerEpoch = errors.New("invalid producer epoch")
)
