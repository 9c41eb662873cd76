package partition

import (
	"context"
	"errors"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/controller"
)

// Controller commits changes of the ISR. controlloop.Client is one.
type Controller interface {
	// AlterPartition returns the controller's reply. Errors of package controller are refusals; any other means that the outcome is unknown.
	AlterPartition(context.Context, controller.AlterPartition) (controller.AlterPartitionReply, error)
}

// proposal is a change of the ISR on its way to the controller. There is one at a time per partition.
type proposal struct {
	members        []controller.ISRMember
	leaderEpoch    int32
	partitionEpoch int32
	parked         bool // the answer is in the View to come, asking again tells nothing
}

func (p *Partition) proposeLocked(isr []int32, now time.Time) {
	if p.mu.proposal != nil || now.Before(p.mu.proposeAfter) {
		return
	}
	pr := &proposal{leaderEpoch: p.mu.epoch, partitionEpoch: p.mu.partitionEpoch}
	for _, id := range isr {
		b, ok := p.set.broker(id)
		if !ok {
			return // the controller is about to take it out
		}
		epoch := b.Epoch
		if f := p.mu.followers[id]; f != nil && f.fetched {
			epoch = f.brokerEpoch
		}
		pr.members = append(pr.members, controller.ISRMember{ID: id, Epoch: epoch})
	}
	p.mu.proposal = pr
	p.set.proposed(p)
}

// open returns the proposal that the controller should be asked about.
func (p *Partition) open() *proposal {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.proposal == nil || p.mu.proposal.parked {
		return nil
	}
	return p.mu.proposal
}

// answered takes in the controller's answer. An answer to a proposal that a View has settled meanwhile is out of date (KAFKA-7786).
func (p *Partition) answered(pr *proposal, r controller.ISRResult, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.proposal != pr {
		return
	}
	switch {
	case r.Err == nil && r.Partition.LeaderEpoch == p.mu.epoch:
		p.mu.proposal = nil
		p.installLocked(r.Partition)
	case errors.Is(r.Err, controller.ErrIneligibleReplica), errors.Is(r.Err, controller.ErrInvalidRequest):
		// These are found only when the epochs match, so no earlier attempt was committed either.
		p.logger().Info("isr change refused", "epoch", pr.leaderEpoch, "err", r.Err)
		p.mu.proposal, p.mu.proposeAfter = nil, now.Add(refusedBackoff)
	default:
		pr.parked = true // the state has moved on, perhaps by an earlier attempt of this very proposal
		p.logger().Debug("isr change is out of date", "epoch", pr.leaderEpoch, "err", r.Err)
	}
	p.advanceLocked() // KAFKA-13091
}

const (
	refusedBackoff = 200 * time.Millisecond
	retryBackoff   = 50 * time.Millisecond
	alterTimeout   = 5 * time.Second
	maxChanges     = 256 // of one request, far below any backend's limit of one commit
)

// proposed asks the proposer to look at p.
func (s *Set) proposed(p *Partition) {
	s.mu.Lock()
	s.mu.proposing[p] = struct{}{}
	s.mu.Unlock()
	select {
	case s.propose <- struct{}{}:
	default: // it will look anyway
	}
}

// runProposer sends proposals, those of many partitions in one request, until ctx ends.
func (s *Set) runProposer(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.propose:
		}
		for s.sendProposals(ctx) {
		}
	}
}

// sendProposals sends one request, and reports whether there may be more to send.
func (s *Set) sendProposals(ctx context.Context) (more bool) {
	batch, request := s.takeProposals()
	if len(batch) == 0 || ctx.Err() != nil {
		return false
	}
	asking, cancel := context.WithTimeout(ctx, alterTimeout)
	reply, err := s.cfg.Control.AlterPartition(asking, request)
	cancel()
	now := s.cfg.Now()
	switch {
	case err == nil && len(reply.Results) == len(batch):
		for i, b := range batch {
			b.p.answered(b.pr, reply.Results[i], now)
		}
		return true
	case errors.Is(err, controller.ErrStaleBrokerEpoch):
		for _, b := range batch {
			b.p.answered(b.pr, controller.ISRResult{Err: err}, now)
		}
		return true
	}
	// The outcome is unknown: the same proposal again is harmless, if it was committed its partition epoch is over.
	s.cfg.Log.Debug("isr changes are open", "partitions", len(batch), "err", err)
	for _, b := range batch {
		s.proposed(b.p)
	}
	select {
	case <-time.After(retryBackoff):
	case <-ctx.Done():
	}
	return true
}

type proposing struct {
	p  *Partition
	pr *proposal
}

func (s *Set) takeProposals() ([]proposing, controller.AlterPartition) {
	s.mu.Lock()
	var ps []*Partition
	for p := range s.mu.proposing {
		if len(ps) == maxChanges {
			break
		}
		ps = append(ps, p)
		delete(s.mu.proposing, p)
	}
	s.mu.Unlock()
	self := s.identity.Load()
	request := controller.AlterPartition{Broker: self.ID, BrokerEpoch: self.Epoch}
	var batch []proposing
	for _, p := range ps {
		pr := p.open()
		if pr == nil {
			continue
		}
		batch = append(batch, proposing{p, pr})
		request.Changes = append(request.Changes, controller.ISRChange{
			TopicID: p.topicID, Partition: p.tp.Partition, LeaderEpoch: pr.leaderEpoch, PartitionEpoch: pr.partitionEpoch, ISR: pr.members,
		})
	}
	return batch, request
}

// broker is what the newest View tells of a broker.
func (s *Set) broker(id int32) (cluster.Broker, bool) {
	b, ok := s.view.Load().Brokers[id]
	return b, ok
}
