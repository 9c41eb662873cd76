package controller

import (
	"slices"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/coordination"
)

func (e ControlledShutdown) step(v *cluster.View) Result {
	if err := current(v, e.Broker, e.BrokerEpoch); err != nil {
		return refuse(err)
	}
	brokers := v.Brokers
	var ms []coordination.Mutation
	if b := v.Brokers[e.Broker]; !b.Stopping {
		b.Stopping = true
		brokers = withBroker(v.Brokers, b)
		ms = append(ms, cluster.PutBroker(b))
	}
	remaining := []cluster.TopicPartition{}
	c := each(v, func(tp cluster.TopicPartition, p cluster.Partition) (cluster.Partition, bool) {
		n, changed := release(p, e.Broker, brokers)
		if n.Leader == e.Broker {
			remaining = append(remaining, tp)
		}
		return n, changed
	})
	return Result{Mutations: append(ms, c.mutations()...), Reply: remaining}
}

// release takes a broker out of a partition's ISR, unless nobody else could lead it.
func release(p cluster.Partition, id int32, brokers map[int32]cluster.Broker) (cluster.Partition, bool) {
	if !slices.Contains(p.ISR, id) {
		return p, false
	}
	var isr []int32
	for i, member := range p.ISR {
		if member != id && eligible(p, i, brokers) {
			isr = append(isr, member)
		}
	}
	leader := p.Leader
	if leader == id {
		leader = elect(p.Replicas, isr, brokers)
	}
	if leader == cluster.NoLeader {
		return p, false
	}
	return update(p, isr, leader, brokers)
}

func withBroker(brokers map[int32]cluster.Broker, b cluster.Broker) map[int32]cluster.Broker {
	n := make(map[int32]cluster.Broker, len(brokers))
	for id, old := range brokers {
		n[id] = old
	}
	n[b.ID] = b
	return n
}

func (Rebalance) step(v *cluster.View) Result {
	c := each(v, func(_ cluster.TopicPartition, p cluster.Partition) (cluster.Partition, bool) {
		if !misplaced(v, p) {
			return p, false
		}
		return update(p, p.ISR, p.Replicas[0], v.Brokers)
	})
	return Result{Mutations: c.mutations()}
}

// misplaced says that a partition is led, but not by its preferred replica, which could.
func misplaced(v *cluster.View, p cluster.Partition) bool {
	if p.Leader == cluster.NoLeader || len(p.Replicas) == 0 || p.Leader == p.Replicas[0] {
		return false
	}
	i := slices.Index(p.ISR, p.Replicas[0])
	return i >= 0 && eligible(p, i, v.Brokers) && !v.Brokers[p.Replicas[0]].Stopping
}

// WantsRebalance says that a Rebalance would move something, and that all replicas on live brokers are in their ISRs: nothing else is about to change.
func WantsRebalance(v *cluster.View) bool {
	wants := false
	for _, t := range v.Topics {
		for _, p := range t.Partitions {
			for _, id := range p.Replicas {
				if b, ok := v.Brokers[id]; ok && !b.Fenced && !b.Stopping && !slices.Contains(p.ISR, id) {
					return false
				}
			}
			wants = wants || misplaced(v, p)
		}
	}
	return wants
}

// producerIDBlock is how many producer ids are handed out at once.
const producerIDBlock = 1000

func (e AllocateProducerIDs) step(v *cluster.View) Result {
	if err := current(v, e.Broker, e.BrokerEpoch); err != nil {
		return refuse(err)
	}
	next := v.ProducerIDs.Next
	return Result{
		Mutations: []coordination.Mutation{cluster.PutProducerIDs(cluster.ProducerIDs{Next: next + producerIDBlock})},
		Reply:     ProducerIDBlock{First: next, Len: producerIDBlock},
	}
}
