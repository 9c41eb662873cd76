package partition

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/regency-project/regency/broker/cluster"
)

type role uint8

const (
	idle role = iota // nobody leads, or this broker may not
	following
	leading
)

// Partition is this broker's replica of one partition.
type Partition struct {
	tp      cluster.TopicPartition
	topicID [16]byte
	set     *Set
	log     Log

	// disk serializes what changes the log, so that an append of one epoch cannot land in another.
	disk sync.Mutex
	mu   struct {
		sync.Mutex
		role           role
		self           Self // leading: as what
		untold         bool // a leadership has ended, and the listener does not know
		leader         int32
		epoch          int32 // leader epoch
		partitionEpoch int32
		replicas       []int32
		isr            []int32 // as committed
		minISR         int
		maxBatch       int // bytes
		compacts       bool
		epochStart     int64 // leading: where this epoch begins
		hw             int64 // only grows while this process lives, but for a Reset of the log
		durable        int64 // the log is on disk up to here
		start          int64 // the log start that is on disk
		cut            int   // counts truncations, so that a flush that began before one says nothing about the log after it
		failed         error // the disk failed: nothing is acknowledged any more
		followers      map[int32]*follower
		proposal       *proposal // of another ISR, whose outcome is open
		proposeAfter   time.Time // the controller refused one: not again before
		committed      waiters   // acks=all
		written        waiters   // acks=1, and the follower's own appends
		started        waiters   // DeleteRecords: for the log starts of the ISR
		watchers       map[*Watcher]audience
	}
}

// LeaderInfo describes a partition that this broker leads.
type LeaderInfo struct {
	Epoch         int32
	Start         int64 // of the log
	HighWatermark int64
	End           int64 // of the log
	EpochStart    int64 // where the log ended when this epoch began
}

// Settled says that everything that was ever committed is below the high watermark that this leader knows.
func (i LeaderInfo) Settled() bool { return i.HighWatermark >= i.EpochStart }

func newPartition(s *Set, tp cluster.TopicPartition, topicID [16]byte, log Log) *Partition {
	p := &Partition{tp: tp, topicID: topicID, set: s, log: log}
	p.mu.leader, p.mu.epoch, p.mu.partitionEpoch = cluster.NoLeader, -1, -1
	p.mu.hw, p.mu.durable, p.mu.start = log.HighWatermark(), log.End(), log.Start()
	p.mu.watchers = map[*Watcher]audience{}
	return p
}

// TopicPartition names the partition.
func (p *Partition) TopicPartition() cluster.TopicPartition { return p.tp }

// TopicID is the id of its topic.
func (p *Partition) TopicID() [16]byte { return p.topicID }

// Leader describes the partition if this broker leads it; else the error is a *NotLeaderError.
func (p *Partition) Leader() (LeaderInfo, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.checkLeaderLocked(-1); err != nil {
		return LeaderInfo{}, err
	}
	return p.infoLocked(), nil
}

func (p *Partition) infoLocked() LeaderInfo {
	return LeaderInfo{Epoch: p.mu.epoch, Start: p.log.Start(), HighWatermark: p.mu.hw, End: p.log.End(), EpochStart: p.mu.epochStart}
}

// checkLeaderLocked checks that this broker leads, in the epoch that the caller believes in (-1: any).
func (p *Partition) checkLeaderLocked(epoch int32) error {
	switch {
	case epoch >= 0 && epoch < p.mu.epoch:
		return fmt.Errorf("%s: %w: %d, current is %d", p, ErrFencedLeaderEpoch, epoch, p.mu.epoch)
	case epoch >= 0 && epoch > p.mu.epoch:
		return fmt.Errorf("%s: %w: %d, current is %d", p, ErrUnknownLeaderEpoch, epoch, p.mu.epoch)
	case p.mu.role != leading:
		return fmt.Errorf("%s: %w", p, &NotLeaderError{Leader: p.mu.leader, Epoch: p.mu.epoch})
	case p.mu.failed != nil:
		return fmt.Errorf("%s: %w", p, p.mu.failed)
	}
	return nil
}

func (p *Partition) String() string { return fmt.Sprintf("%s-%d", p.tp.Topic, p.tp.Partition) }

func (p *Partition) logger() *slog.Logger {
	return p.set.cfg.Log.With("topic", p.tp.Topic, "partition", p.tp.Partition)
}

// target is what the View wants of the replica.
type target struct {
	cluster.Partition
	role     role
	self     Self // leading: as what
	minISR   int
	maxBatch int
	compacts bool
}

// release ends what the replica did in another epoch or role than t, and reports whether it led. It touches no disk.
func (p *Partition) release(t target) (led bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	led = p.mu.untold
	p.mu.untold = false
	if p.mu.role == t.role && p.mu.epoch == t.LeaderEpoch && p.mu.leader == t.Leader || p.defies(t) {
		return led
	}
	led = led || p.mu.role == leading
	p.mu.leader, p.mu.epoch = t.Leader, t.LeaderEpoch
	p.endLocked()
	return led
}

// stepDown is release by the loss of what this broker was.
func (p *Partition) stepDown() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.role == leading && p.mu.self.lost() && !p.defies(target{}) {
		p.mu.untold = true
		p.endLocked()
	}
}

func (p *Partition) endLocked() {
	p.mu.role = idle
	p.mu.followers, p.mu.proposal = nil, nil
	gone := fmt.Errorf("%s: %w", p, &NotLeaderError{Leader: p.mu.leader, Epoch: p.mu.epoch})
	p.mu.committed.fail(gone)
	p.mu.written.fail(gone)
	p.mu.started.fail(gone)
	p.wakeLocked(everybody)
}

// assume takes the role of t, after release. A refusal leaves the replica idle.
func (p *Partition) assume(t target, now time.Time) (changed bool, err error) {
	p.disk.Lock()
	defer p.disk.Unlock()
	p.mu.Lock()
	changed = p.mu.role != t.role
	defiant := p.defies(t)
	p.mu.Unlock()
	if defiant {
		return false, nil
	}
	if changed && t.role == leading {
		if err := p.openEpoch(t.LeaderEpoch); err != nil {
			return false, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.role == leading && t.self.lost() {
		return false, fmt.Errorf("lead %s in epoch %d: %w", p, t.LeaderEpoch, errSelfLost)
	}
	p.mu.self = t.self
	p.mu.replicas, p.mu.minISR, p.mu.maxBatch, p.mu.compacts = t.Replicas, t.minISR, t.maxBatch, t.compacts
	if changed {
		p.mu.role = t.role
		p.mu.partitionEpoch, p.mu.isr = t.Epoch, t.ISR
		if t.role == leading {
			p.leadLocked(now)
		}
		p.wakeLocked(everybody)
	} else {
		p.installLocked(t.Partition)
	}
	p.advanceLocked()
	return changed, nil
}

// openEpoch begins a leader epoch at the log end, and records it at once, also without records (KAFKA-7415).
func (p *Partition) openEpoch(epoch int32) error {
	// An epoch has one leader, and one start: a log that has seen it cannot begin it again. It happens if this broker led in it, lost its registration,
	// and is shown the old state after the new registration; the controller's next decision has a new epoch.
	if latest := p.log.LatestEpoch(); latest >= epoch {
		return fmt.Errorf("lead %s in epoch %d: the log has epoch %d already", p, epoch, latest)
	}
	if err := p.log.AssignEpoch(epoch, p.log.End()); err != nil {
		return fmt.Errorf("lead %s in epoch %d: %w", p, epoch, translate(err))
	}
	return nil
}

func (p *Partition) leadLocked(now time.Time) {
	p.mu.epochStart = p.log.End()
	p.mu.proposeAfter = time.Time{}
	p.mu.followers = map[int32]*follower{}
	for _, id := range p.mu.replicas {
		if id != p.set.self() {
			p.mu.followers[id] = &follower{caughtUp: now}
		}
	}
}

// installLocked takes over a newer committed state of the same leader epoch. It settles an open proposal: that was either this state, or based on an
// older one and can no longer be committed.
func (p *Partition) installLocked(s cluster.Partition) {
	if s.Epoch <= p.mu.partitionEpoch || s.LeaderEpoch != p.mu.epoch {
		return
	}
	changed := !slices.Equal(s.ISR, p.mu.isr)
	p.mu.partitionEpoch, p.mu.isr, p.mu.proposal = s.Epoch, s.ISR, nil
	if p.mu.role != leading {
		return
	}
	if changed {
		p.set.cfg.Events.Emit("partition.isr", "topic", p.tp.Topic, "partition", p.tp.Partition, "epoch", p.mu.epoch, "isr", s.ISR)
	}
	if len(p.mu.isr) < p.mu.minISR {
		p.mu.committed.fail(p.tooFewLocked())
	}
	p.advanceLocked()
	p.startedLocked()
}

// fail records that the disk failed. What waits is told; nothing is acknowledged afterwards.
func (p *Partition) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.failed == nil {
		p.mu.failed = fmt.Errorf("%w: %w", ErrStorage, err)
		p.logger().Error("append is not durable", "err", err)
	}
	p.mu.committed.fail(p.mu.failed)
	p.mu.written.fail(p.mu.failed)
	p.mu.started.fail(p.mu.failed)
	p.wakeLocked(everybody)
}
