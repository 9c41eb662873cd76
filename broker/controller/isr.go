package controller

import (
	"fmt"
	"slices"

	"github.com/regency-project/regency/broker/cluster"
)

func (e AlterPartition) step(v *cluster.View) Result {
	if err := current(v, e.Broker, e.BrokerEpoch); err != nil {
		return refuse(err)
	}
	c := newChanges()
	reply := AlterPartitionReply{Results: make([]ISRResult, len(e.Changes))}
	for i, change := range e.Changes {
		p, err := e.apply(v, c, change)
		reply.Results[i] = ISRResult{Err: err, Partition: p}
	}
	return Result{Mutations: c.mutations(), Reply: reply}
}

func (e AlterPartition) apply(v *cluster.View, c *changes, change ISRChange) (cluster.Partition, error) {
	t := v.Topics[v.TopicNames[change.TopicID]]
	if t == nil || change.Partition < 0 || int(change.Partition) >= len(t.Partitions) {
		return cluster.Partition{}, ErrUnknownTopic
	}
	p := c.get(t, change.Partition)
	isr, err := e.check(v, p, change)
	if err != nil {
		return cluster.Partition{}, fmt.Errorf("%s-%d: %w", t.Name, change.Partition, err)
	}
	n, changed := update(p, isr, p.Leader, v.Brokers)
	if changed {
		c.set(t, change.Partition, n)
	}
	return n, nil
}

// check returns the proposed ISR in the order of the replicas.
func (e AlterPartition) check(v *cluster.View, p cluster.Partition, change ISRChange) ([]int32, error) {
	switch {
	case p.Leader != e.Broker:
		return nil, fmt.Errorf("%w: that is %d in epoch %d", ErrNotLeader, p.Leader, p.LeaderEpoch)
	case p.LeaderEpoch != change.LeaderEpoch:
		return nil, fmt.Errorf("%w: %d, current is %d", ErrFencedLeaderEpoch, change.LeaderEpoch, p.LeaderEpoch)
	case p.Epoch != change.PartitionEpoch:
		return nil, fmt.Errorf("%w: %d, current is %d", ErrInvalidUpdateVersion, change.PartitionEpoch, p.Epoch)
	}
	proposed := map[int32]bool{}
	for _, m := range change.ISR {
		if proposed[m.ID] || !slices.Contains(p.Replicas, m.ID) {
			return nil, fmt.Errorf("%w: ISR member %d is no replica, or named twice", ErrInvalidRequest, m.ID)
		}
		proposed[m.ID] = true
		b, ok := v.Brokers[m.ID]
		// A stopping leader may keep itself while nobody can take over.
		if !ok || b.Fenced || b.Epoch != m.Epoch || (b.Stopping && m.ID != e.Broker) {
			return nil, fmt.Errorf("%w: %d with epoch %d", ErrIneligibleReplica, m.ID, m.Epoch)
		}
	}
	if !proposed[e.Broker] {
		return nil, fmt.Errorf("%w: the ISR is without the leader", ErrInvalidRequest)
	}
	var isr []int32
	for _, id := range p.Replicas {
		if proposed[id] {
			isr = append(isr, id)
		}
	}
	return isr, nil
}

// current checks that the sender is the admitted incarnation of its broker.
func current(v *cluster.View, id int32, epoch int64) error {
	b, ok := v.Brokers[id]
	if !ok || b.Fenced || b.Epoch != epoch {
		return fmt.Errorf("%w: broker %d with epoch %d", ErrStaleBrokerEpoch, id, epoch)
	}
	return nil
}
