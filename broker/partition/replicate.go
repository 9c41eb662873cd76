package partition

import (
	"fmt"

	"github.com/regency-project/regency/storage/record"
)

// Position is where a follower goes on fetching.
type Position struct {
	LeaderEpoch int32
	Offset      int64
	LastEpoch   int32 // of the log before Offset, -1 for none
	Start       int64 // of the log, as it is on disk
}

// Position says where this replica fetches from its leader. ok is false if it does not follow that leader, or cannot fetch yet: part of its log is on its way to
// disk, or damaged, and a fetch would claim that it is there.
func (p *Partition) Position(leader int32) (pos Position, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	end := p.log.End()
	if p.mu.role != following || p.mu.leader != leader || p.mu.failed != nil || p.mu.durable != end || p.log.Damage() != nil {
		return Position{}, false
	}
	last := p.log.LatestEpoch()
	if neverTruncates {
		last = -1
	}
	return Position{LeaderEpoch: p.mu.epoch, Offset: end, LastEpoch: last, Start: p.mu.start}, true
}

// Fetched is a leader's answer for one partition.
type Fetched struct {
	Position      Position // that was sent
	Batches       []byte
	HighWatermark int64
	LogStart      int64
	Diverging     *EpochEnd
	// OutOfRange: the leader has nothing at the position; LogStart is where its log starts.
	OutOfRange bool
}

// Replicate applies an answer of the leader: it truncates where the logs diverge, or appends. An error may come with a result. It returns before the disk has what was appended; Wait on the
// result, nil if there is nothing to wait for. ErrStale: the answer was ignored.
func (p *Partition) Replicate(f Fetched) (*Pending, error) {
	if err := p.checkFetched(f); err != nil {
		return nil, fmt.Errorf("replicate %s: %w", p, err)
	}
	pending, u, err := p.replicate(f)
	if u != nil {
		p.set.flush(*u)
	}
	return pending, err
}

func (p *Partition) replicate(f Fetched) (*Pending, *unflushed, error) {
	p.disk.Lock()
	defer p.disk.Unlock()
	// Under disk only this changes the log, so what holds now still holds below. The role may change meanwhile: then this is an append of the epoch that is
	// over, which the next leader's epochs judge like any other.
	if !p.awaits(f.Position) {
		return nil, nil, fmt.Errorf("replicate %s: %w", p, ErrStale)
	}
	switch {
	case f.Diverging != nil:
		return nil, nil, p.truncate(*f.Diverging)
	case f.OutOfRange:
		return nil, nil, p.startOver(f)
	}
	var pending *Pending
	var u *unflushed
	f.Batches = p.appendable(f.Batches)
	if len(f.Batches) > 0 {
		a, err := p.log.AppendFollower(f.Batches)
		if err != nil {
			return nil, nil, p.appendError(err)
		}
		pending, u = p.replicated(a, f.Position.LeaderEpoch), p.unflushed(a)
	}
	p.learn(f)
	moved, err := p.followStart(f.LogStart)
	if u == nil {
		u = moved
	} else if moved != nil {
		u.start = moved.start // behind the append in the log's order: what flushes the start flushes both
		u.durable = moved.durable
	}
	return pending, u, err
}

// Damaged says that the log waits to be rebuilt.
func (p *Partition) Damaged() bool { return p.log.Damage() != nil }

// checkFetched checks what comes over the wire: a damaged batch is not appended, it is fetched again.
func (p *Partition) checkFetched(f Fetched) error {
	for b, err := range record.Batches(f.Batches, record.CheckReplica) {
		if err != nil {
			return translate(err)
		}
		if b.LeaderEpoch() > f.Position.LeaderEpoch {
			return fmt.Errorf("batch of epoch %d in epoch %d: %w", b.LeaderEpoch(), f.Position.LeaderEpoch, ErrStale)
		}
	}
	return nil
}

// awaits says that the replica still is where the fetch was sent from (KAFKA-7786).
func (p *Partition) awaits(pos Position) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.role == following && p.mu.epoch == pos.LeaderEpoch && p.mu.failed == nil && p.log.End() == pos.Offset && p.mu.durable == pos.Offset
}

// truncate cuts the log where it may agree with the leader's: at the end of the leader's epoch, or, if this log lacks that epoch, at the end of the largest
// smaller one; the next fetch then compares that one (KIP-279). If all of this log's epochs are larger, nothing of it agrees.
func (p *Partition) truncate(leader EpochEnd) error {
	to := leader.EndOffset
	switch found, end := p.log.EpochEnd(leader.Epoch); {
	case found < 0:
		to = p.log.Start()
	case found < leader.Epoch || end < to:
		to = end
	}
	before := p.log.End()
	end, err := p.log.Truncate(to)
	if err != nil {
		return fmt.Errorf("truncate %s to %d: %w", p, to, translate(err))
	}
	p.cutTo(end, false)
	p.logger().Info("log truncated", "epoch", leader.Epoch, "offset", end, "was", before)
	return nil
}

// startOver drops the log for one that starts where the leader's does, if retention at the leader has passed this replica's end.
func (p *Partition) startOver(f Fetched) error {
	if f.LogStart <= p.log.End() {
		return fmt.Errorf("replicate %s at %d: %w: the leader's log starts at %d", p, f.Position.Offset, ErrOffsetOutOfRange, f.LogStart)
	}
	before := p.log.End()
	if err := p.log.Reset(f.LogStart); err != nil {
		return fmt.Errorf("reset %s to %d: %w", p, f.LogStart, translate(err))
	}
	p.cutTo(f.LogStart, true)
	p.logger().Warn("log started over: the leader has dropped what would come next", "offset", f.LogStart, "was", before)
	return nil
}

func (p *Partition) cutTo(end int64, reset bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.cut++
	p.mu.durable = end
	if reset {
		p.mu.hw, p.mu.start = end, end
	}
}

func (p *Partition) replicated(a Appended, epoch int32) *Pending {
	d := &Pending{BaseOffset: a.Base, LastOffset: a.Last, p: p, ws: &p.mu.written}
	p.mu.Lock()
	defer p.mu.Unlock()
	d.w = d.ws.add(a.End)
	if p.mu.role != following || p.mu.epoch != epoch {
		d.ws.drop(d.w, fmt.Errorf("replicate %s: %w", p, ErrStale))
	}
	d.ws.reached(p.mu.durable)
	return d
}

// learn takes over the leader's high watermark as far as this log reaches.
func (p *Partition) learn(f Fetched) {
	p.mu.Lock()
	defer p.mu.Unlock()
	hw := min(f.HighWatermark, p.log.End())
	if p.mu.role != following || p.mu.epoch != f.Position.LeaderEpoch || hw <= p.mu.hw {
		return
	}
	p.mu.hw = hw
	p.log.SetHighWatermark(hw)
}

// followStart moves the log start to the leader's. The leader is told of it once it is on disk: DeleteRecords promises it.
func (p *Partition) followStart(leader int64) (*unflushed, error) {
	p.mu.Lock()
	start := min(leader, p.mu.hw)
	p.mu.Unlock()
	if start <= p.log.Start() {
		return nil, nil
	}
	if err := p.log.SetStart(start); err != nil {
		return nil, fmt.Errorf("move the start of %s to %d: %w", p, start, translate(err))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return &unflushed{p: p, durable: synced{p.log}, end: p.mu.durable, start: start, cut: p.mu.cut}, nil
}

// synced is everything that was done to a log so far.
type synced struct{ log Log }

func (s synced) Wait() error { return s.log.Sync() }
