package partition

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/regency-project/regency/storage"
	"github.com/regency-project/regency/storage/record"
)

// Acks of an append, with Kafka's numbers.
const (
	AcksNone   int16 = 0
	AcksLeader int16 = 1
	AcksAll    int16 = -1
)

// AppendOptions say how to append.
type AppendOptions struct {
	Acks int16
	// FromClient: the batches come from a producer: exactly one batch, checked as untrusted, with the idempotence rules.
	FromClient bool
	// ExpectedEpoch refuses the append in another leader epoch; -1 is any.
	ExpectedEpoch int32
	// Now stands in for timestamps that the batches lack; zero is the present.
	Now time.Time
}

// Append appends batches to the log that this broker leads. It returns before the disk has them; Pending.Wait says when they are acknowledged. Errors from
// here mean that nothing was appended, except ErrStorage. batches is not kept.
func (p *Partition) Append(batches []byte, o AppendOptions) (*Pending, error) {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	first, err := p.checkBatches(batches, o.FromClient)
	if err != nil {
		return nil, fmt.Errorf("append to %s: %w", p, err)
	}
	pending, u, err := p.append(batches, first, o)
	if u != nil {
		p.set.flush(*u)
	}
	return pending, err
}

func (p *Partition) append(batches []byte, first record.Batch, o AppendOptions) (*Pending, *unflushed, error) {
	p.disk.Lock()
	defer p.disk.Unlock()
	if acksEarly && o.Acks == AcksAll {
		o.Acks = AcksLeader
	}
	epoch, err := p.admit(len(first), o)
	if err != nil {
		return nil, nil, err
	}
	if o.FromClient {
		if dup, err := p.checkSequence(first); err != nil {
			return nil, nil, fmt.Errorf("append to %s: %w", p, err)
		} else if dup != nil {
			return p.pending(Appended{Base: dup.BaseOffset, Last: dup.LastOffset, End: dup.LastOffset + 1}, epoch, o.Acks), nil, nil
		}
	}
	a, err := p.log.AppendLeader(batches, epoch, o.Now)
	if err != nil {
		return nil, nil, p.appendError(err)
	}
	return p.pending(a, epoch, o.Acks), p.unflushed(a), nil
}

// checkBatches checks the bytes and returns the first batch.
func (p *Partition) checkBatches(batches []byte, fromClient bool) (record.Batch, error) {
	check := record.CheckReplica
	if fromClient {
		check = record.CheckClient
	}
	var first record.Batch
	for b, err := range record.Batches(batches, check) {
		switch {
		case err != nil:
			return nil, translate(err)
		case first == nil:
			first = b
		case fromClient:
			return nil, fmt.Errorf("%w: more than one batch", ErrInvalidRecord)
		}
	}
	if first == nil {
		return nil, fmt.Errorf("%w: no batch", ErrInvalidRecord)
	}
	if fromClient && p.compacts() {
		if err := requireKeys(first); err != nil {
			return nil, err
		}
	}
	if fromClient && first.IsTransactional() {
		return nil, fmt.Errorf("%w: transactional batch, transactions are not served", ErrInvalidRecord)
	}
	return first, nil
}

func (p *Partition) compacts() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.compacts
}

// maxExpanded bounds the memory that a compressed batch may take when its records are looked at.
const maxExpanded = 64 << 20

// requireKeys refuses records that compaction could not keep.
func requireKeys(b record.Batch) error {
	missing := false
	err := record.ForEach(b, maxExpanded, func(r record.Record) bool {
		missing = r.Key == nil
		return !missing
	})
	if err != nil {
		return translate(err)
	}
	if missing {
		return fmt.Errorf("%w: a record without a key, in a topic that is compacted", ErrInvalidRecord)
	}
	return nil
}

// admit says in which epoch an append may be made now.
func (p *Partition) admit(size int, o AppendOptions) (epoch int32, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.checkLeaderLocked(o.ExpectedEpoch); err != nil {
		return 0, err
	}
	if o.FromClient && size > p.mu.maxBatch {
		return 0, fmt.Errorf("append to %s: %w: %d bytes, the topic allows %d", p, ErrTooLarge, size, p.mu.maxBatch)
	}
	if o.Acks == AcksAll && len(p.mu.isr) < p.mu.minISR {
		return 0, fmt.Errorf("append to %s: %w: %d of %d", p, ErrNotEnoughReplicas, len(p.mu.isr), p.mu.minISR)
	}
	return p.mu.epoch, nil
}

// checkSequence applies the rules of idempotent producers; a batch that is in the log already is returned as such.
func (p *Partition) checkSequence(b record.Batch) (dup *storage.BatchMeta, err error) {
	if b.ProducerID() < 0 || forgetsSequence {
		return nil, nil
	}
	state, _ := p.log.Producer(b.ProducerID())
	dup, err = state.Check(b.ProducerEpoch(), b.BaseSequence(), b.LastSequence())
	return dup, translate(err)
}

func (p *Partition) appendError(err error) error {
	if errors.Is(err, storage.ErrFailed) || errors.Is(err, storage.ErrClosed) {
		p.fail(err)
	}
	return fmt.Errorf("append to %s: %w", p, translate(err))
}

// pending registers who waits for an append of epoch. An append that its epoch did not survive, although it reached the log, is nobody's any more.
func (p *Partition) pending(a Appended, epoch int32, acks int16) *Pending {
	d := &Pending{BaseOffset: a.Base, LastOffset: a.Last, LogStart: p.log.Start(), p: p}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wakeLocked(appendWakes)
	switch acks {
	case AcksAll:
		d.ws = &p.mu.committed
	case AcksLeader:
		d.ws = &p.mu.written
	default:
		return d
	}
	d.w = d.ws.add(a.End)
	p.mu.committed.reached(p.mu.hw)
	p.mu.written.reached(p.mu.durable)
	switch {
	case p.mu.role != leading || p.mu.epoch != epoch:
		d.ws.drop(d.w, fmt.Errorf("%s: %w", p, &NotLeaderError{Leader: p.mu.leader, Epoch: p.mu.epoch}))
	case p.mu.failed != nil:
		d.ws.drop(d.w, fmt.Errorf("%s: %w", p, p.mu.failed))
	case acks == AcksAll && len(p.mu.isr) < p.mu.minISR:
		d.ws.drop(d.w, p.tooFewLocked())
	}
	return d
}

func (p *Partition) tooFewLocked() error {
	return fmt.Errorf("%s: %w: %d of %d", p, ErrNotEnoughReplicasAfterAppend, len(p.mu.isr), p.mu.minISR)
}

// unflushed is what the Set's flusher must know to tell when the append is on disk.
func (p *Partition) unflushed(a Appended) *unflushed {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &unflushed{p: p, durable: a.Durable, end: a.End, cut: p.mu.cut}
}

// flushed learns that the log is on disk up to end, and its start, unless it was truncated since.
func (p *Partition) flushed(end, start int64, cut int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cut != p.mu.cut {
		return
	}
	p.mu.start = max(p.mu.start, start)
	if end <= p.mu.durable {
		return
	}
	p.mu.durable = end
	p.mu.written.reached(end)
	p.advanceLocked()
}

// maximalISRLocked is what the ISR may be by now: as committed, and as proposed. The leader cannot know whether a proposal was committed before it is told,
// so a record is committed only when both have it.
func (p *Partition) maximalISRLocked() []int32 {
	if p.mu.proposal == nil {
		return p.mu.isr
	}
	isr := slices.Clone(p.mu.isr)
	for _, m := range p.mu.proposal.members {
		if !slices.Contains(isr, m.ID) {
			isr = append(isr, m.ID)
		}
	}
	return isr
}

// advanceLocked moves the high watermark to the smallest durable end of the maximal ISR. A member that has not fetched in this epoch holds it: what it has is
// unknown. So does an ISR below the minimum: what is committed must not depend on fewer replicas than the topic asks for.
func (p *Partition) advanceLocked() {
	if p.mu.role != leading || p.mu.failed != nil || len(p.mu.isr) < p.mu.minISR {
		return
	}
	hw := p.mu.durable
	for _, id := range p.maximalISRLocked() {
		if id == p.set.self() || ignoresBrokers {
			continue
		}
		f := p.mu.followers[id]
		if f == nil || !f.fetched {
			return
		}
		hw = min(hw, f.end)
	}
	if hw <= p.mu.hw {
		return
	}
	p.mu.hw = hw
	p.log.SetHighWatermark(hw)
	p.mu.committed.reached(hw)
	p.wakeLocked(consumers)
}
