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
	if e.abandons(p, change) {
		n, changed := abandon(p, e.Broker, v.Brokers)
		if changed {
			c.set(t, change.Partition, n)
		}
		return n, nil
	}
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

// abandons says that a replica, leader or not, takes itself and nobody else out of the ISR, in the state that it knows: its log is damaged. A replica outside the
// ISR says the same by naming the ISR as it is. What a replica says of itself is believed without an epoch of leadership.
func (e AlterPartition) abandons(p cluster.Partition, change ISRChange) bool {
	if p.Epoch != change.PartitionEpoch || p.LeaderEpoch != change.LeaderEpoch || !slices.Contains(p.Replicas, e.Broker) {
		return false
	}
	var stay []int32
	for _, id := range p.ISR {
		if id != e.Broker {
			stay = append(stay, id)
		}
	}
	if len(change.ISR) != len(stay) {
		return false
	}
	for i, m := range change.ISR {
		if m.ID != stay[i] {
			return false
		}
	}
	return true
}

// abandon takes a member with a damaged log out of the ISR, and begins a leader epoch in which it has fetched nothing. The last member stays, without a directory: it is nobody's copy any more, so that it is not elected, also
// not after a restart, and neither is a replica that was not in sync.
func abandon(p cluster.Partition, id int32, brokers map[int32]cluster.Broker) (cluster.Partition, bool) {
	if !slices.Contains(p.ISR, id) {
		n := p
		n.LeaderEpoch++ // what it fetched in this one does not count any more
		n.Epoch++
		return n, true
	}
	if len(p.ISR) == 1 {
		n := p
		n.Directories = []string{noDirectory}
		n.Epoch++
		if n.Leader != cluster.NoLeader {
			n.Leader = cluster.NoLeader
			n.LeaderEpoch++
		}
		return n, true
	}
	var isr, able []int32
	for i, member := range p.ISR {
		if member == id {
			continue
		}
		isr = append(isr, member)
		if eligible(p, i, brokers) {
			able = append(able, member)
		}
	}
	leader := p.Leader
	if leader == id {
		leader = elect(p.Replicas, able, brokers)
	}
	n, changed := update(p, isr, leader, brokers)
	if n.LeaderEpoch == p.LeaderEpoch {
		// A fetch that the member sent before it knew of the damage may still be on its way: in a new epoch it does not count.
		n.LeaderEpoch++
	}
	return n, changed
}

// noDirectory is the directory of a member whose copy is lost; no store has it.
const noDirectory = ""

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
