package partition

import (
	"fmt"
	"slices"
	"time"
)

// follower is what a leader knows of another replica, from its fetches in this epoch.
type follower struct {
	fetched     bool
	brokerEpoch int64
	end         int64 // its durable log end: it fetches from there
	start       int64 // its log start
	// caughtUp is when it last had everything that the leader had at that time; at first, when the epoch began.
	caughtUp time.Time
	// The last fetch: when, and where the leader's log ended.
	fetchedAt time.Time
	leaderEnd int64
}

// note takes in a fetch. A follower that now has what the leader had at its previous fetch was caught up at that time: so one that is always a little behind
// under load is not taken for one that falls behind.
func (f *follower) note(r FollowerFetch, leaderEnd int64) {
	switch {
	case r.Offset >= leaderEnd:
		f.caughtUp = r.Now
	case f.fetched && r.Offset >= f.leaderEnd && f.fetchedAt.After(f.caughtUp):
		f.caughtUp = f.fetchedAt
	}
	f.fetched, f.brokerEpoch, f.end, f.start = true, r.BrokerEpoch, r.Offset, r.LogStart
	f.fetchedAt, f.leaderEnd = r.Now, leaderEnd
}

// FollowerFetch is a follower's request.
type FollowerFetch struct {
	Replica            int32
	BrokerEpoch        int64 // of the follower
	CurrentLeaderEpoch int32
	Offset             int64 // everything below is on the follower's disk
	LastFetchedEpoch   int32 // of the record before Offset; -1 for none
	LogStart           int64 // of the follower
	Now                time.Time
}

// EpochEnd says where a leader epoch ends in a log.
type EpochEnd struct {
	Epoch     int32
	EndOffset int64
}

// Follow takes in that a follower fetches: it may complete appends, and lead to a larger ISR. If the follower's log diverges from this one, the answer is
// where, and the follower's position says nothing yet. Read is called afterwards for the data.
func (p *Partition) Follow(r FollowerFetch) (diverging *EpochEnd, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.checkLeaderLocked(r.CurrentLeaderEpoch); err != nil {
		return nil, err
	}
	f := p.mu.followers[r.Replica]
	if f == nil {
		return nil, fmt.Errorf("%s: %w: broker %d", p, ErrUnknownReplica, r.Replica)
	}
	// A fetch of an earlier incarnation tells of a log that may be gone; one of a later tells of a broker that the ISR was not committed with.
	if b, ok := p.set.broker(r.Replica); !ok || b.Epoch != r.BrokerEpoch {
		return nil, fmt.Errorf("%s: %w: broker %d fetches with %d, known is %d", p, ErrStaleBrokerEpoch, r.Replica, r.BrokerEpoch, b.Epoch)
	}
	if diverging, err := p.position(r.Offset, r.LastFetchedEpoch); err != nil || diverging != nil {
		return diverging, err
	}
	f.note(r, p.log.End())
	p.advanceLocked()
	p.startedLocked()
	p.expandLocked(r.Replica, f, r.Now)
	return nil, nil
}

// position compares a reader's log, up to its offset, with this one: by the end of the epoch of its last record (KIP-595, truncation on fetch).
func (p *Partition) position(offset int64, lastEpoch int32) (*EpochEnd, error) {
	start, end := p.log.Start(), p.log.End()
	if offset < start {
		return nil, fmt.Errorf("%s: %w: %d, the log starts at %d", p, ErrOffsetOutOfRange, offset, start)
	}
	if lastEpoch >= 0 {
		found, foundEnd := p.log.EpochEnd(lastEpoch)
		if found < 0 { // this log begins with a later epoch
			found, foundEnd = lastEpoch, start
		}
		if found < lastEpoch || foundEnd < offset {
			return &EpochEnd{Epoch: found, EndOffset: foundEnd}, nil
		}
	}
	if offset > end {
		return nil, fmt.Errorf("%s: %w: %d, the log ends at %d", p, ErrOffsetOutOfRange, offset, end)
	}
	return nil, nil
}

// expandLocked proposes to take a follower into the ISR once it has everything that is committed and has reached this epoch.
func (p *Partition) expandLocked(id int32, f *follower, now time.Time) {
	if slices.Contains(p.mu.isr, id) || f.end < p.mu.hw || f.end < p.mu.epochStart {
		return
	}
	if b, ok := p.set.broker(id); !ok || b.Fenced || b.Stopping || b.Epoch != f.brokerEpoch {
		return
	}
	p.proposeLocked(append(slices.Clone(p.mu.isr), id), now)
}

// shrink proposes to leave out of the ISR the followers that have not been caught up for lag.
func (p *Partition) shrink(lag time.Duration, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.role != leading || ignoresBrokers {
		return
	}
	end := p.log.End()
	keep := slices.DeleteFunc(slices.Clone(p.mu.isr), func(id int32) bool {
		f := p.mu.followers[id]
		if f == nil {
			return id != p.set.self()
		}
		atEnd := f.fetched && f.end == end
		return !atEnd && now.Sub(f.caughtUp) > lag
	})
	if len(keep) < len(p.mu.isr) {
		p.proposeLocked(keep, now)
	}
}
