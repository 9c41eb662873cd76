package partition

import (
	"context"
	"fmt"
)

// ReadOptions say what to read. Epochs are -1 where the reader does not know them.
type ReadOptions struct {
	From               int64
	MaxBytes           int
	CurrentLeaderEpoch int32
	LastFetchedEpoch   int32 // of the record before From
	// Replica reads up to the log end, for followers; others read what is committed.
	Replica bool
}

// ReadResult is what was read.
type ReadResult struct {
	Batches       []byte // whole batches, the caller's to keep; the first may begin before From
	Next          int64  // where to read on
	Start         int64
	HighWatermark int64
	Diverging     *EpochEnd // set: the reader's log diverges there, and nothing was read
}

// Read reads from the log that this broker leads. At least one batch is returned if there is one, however large.
func (p *Partition) Read(ctx context.Context, o ReadOptions) (ReadResult, error) {
	if err := ctx.Err(); err != nil {
		return ReadResult{}, fmt.Errorf("read %s: %w: %w", p, err, context.Cause(ctx)) // the cause alone need not say that it is a cancellation
	}
	p.mu.Lock()
	err := p.checkLeaderLocked(o.CurrentLeaderEpoch)
	epoch, hw := p.mu.epoch, p.mu.hw
	p.mu.Unlock()
	if err != nil {
		return ReadResult{}, err
	}
	if readsUnsettled {
		hw = p.log.End()
	}
	r := ReadResult{Next: o.From, Start: p.log.Start(), HighWatermark: hw}
	if r.Diverging, err = p.position(o.From, o.LastFetchedEpoch); err != nil || r.Diverging != nil {
		return r, err
	}
	below := hw
	if o.Replica {
		below = p.log.End()
	}
	if o.From >= below {
		return r, nil
	}
	chunk, err := p.log.Read(o.From, o.MaxBytes, below)
	if err != nil {
		return r, fmt.Errorf("read %s at %d: %w", p, o.From, translate(err))
	}
	// If the epoch ended during the read, what was read beyond the high watermark may be another leader's, which the comparison above does not cover.
	p.mu.Lock()
	err = p.checkLeaderLocked(epoch)
	p.mu.Unlock()
	if err != nil {
		return r, err
	}
	r.Batches, r.Next = chunk.Bytes, chunk.Next
	return r, nil
}

// Timestamped is an offset found by time.
type Timestamped struct {
	Offset    int64 // -1: no committed record is as new
	Timestamp int64 // Unix milliseconds
}

// OffsetForTimestamp finds the first committed record at or after ts (Unix milliseconds). ErrOffsetNotAvailable: it may be among those of which a new leader does
// not know yet that they are committed.
func (p *Partition) OffsetForTimestamp(ts int64, currentEpoch int32) (Timestamped, error) {
	info, err := p.LeaderAt(currentEpoch)
	if err != nil {
		return Timestamped{}, err
	}
	offset, at, found, err := p.log.OffsetForTimestamp(ts)
	switch {
	case err != nil:
		return Timestamped{}, fmt.Errorf("find time %d in %s: %w", ts, p, translate(err))
	case found && offset < info.HighWatermark:
		return Timestamped{Offset: offset, Timestamp: at}, nil
	case !info.Settled():
		return Timestamped{}, fmt.Errorf("find time %d in %s: %w", ts, p, ErrOffsetNotAvailable)
	}
	return Timestamped{Offset: -1, Timestamp: -1}, nil
}

// LeaderAt is Leader, for a caller that believes in a leader epoch (-1: any).
func (p *Partition) LeaderAt(epoch int32) (LeaderInfo, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.checkLeaderLocked(epoch); err != nil {
		return LeaderInfo{}, err
	}
	return p.infoLocked(), nil
}

// EpochEnd says which is the largest leader epoch up to epoch that the leader's log knows, and where it ends; both are -1 if it knows none, or none as
// large as epoch (KIP-101).
func (p *Partition) EpochEnd(epoch, currentEpoch int32) (EpochEnd, error) {
	if _, err := p.LeaderAt(currentEpoch); err != nil {
		return EpochEnd{}, err
	}
	if epoch > p.log.LatestEpoch() {
		return EpochEnd{Epoch: -1, EndOffset: -1}, nil
	}
	found, end := p.log.EpochEnd(epoch)
	if found < 0 {
		return EpochEnd{Epoch: epoch, EndOffset: p.log.Start()}, nil
	}
	return EpochEnd{Epoch: found, EndOffset: end}, nil
}
