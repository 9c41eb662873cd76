package controller

import (
	"fmt"
	"maps"
	"slices"

	"github.com/regency-project/regency/broker/cluster"
)

// usable are the brokers that may get new replicas, ordered by id.
func usable(v *cluster.View) []int32 {
	var ids []int32
	for _, id := range slices.Sorted(maps.Keys(v.Brokers)) {
		if b := v.Brokers[id]; !b.Fenced && !b.Stopping {
			ids = append(ids, id)
		}
	}
	return ids
}

// assign spreads n partitions, numbered from first, over the brokers, as Kafka's AdminUtils does without racks: preferred leaders go round from a start that the
// seed chooses, and the distance from a leader to its followers grows with each round, so that a dead broker's load falls on all the others.
func assign(brokers []int32, first, n, factor int, seed uint64) ([][]int32, error) {
	if factor < 1 || factor > len(brokers) {
		return nil, fmt.Errorf("%w: %d, with %d live brokers", ErrInvalidReplicationFactor, factor, len(brokers))
	}
	size := len(brokers)
	start, shift := int(seed%uint64(size)), int(seed>>32%uint64(size))
	assignment := make([][]int32, n)
	for i := range assignment {
		p := first + i
		leader := start + p
		replicas := []int32{brokers[leader%size]}
		for j := range factor - 1 {
			replicas = append(replicas, brokers[(leader+1+(shift+p/size+j)%(size-1))%size])
		}
		assignment[i] = replicas
	}
	return assignment, nil
}

// checkAssignment checks an assignment that the requester chose.
func checkAssignment(assignment [][]int32, factor int, brokers map[int32]cluster.Broker) error {
	for i, replicas := range assignment {
		if len(replicas) == 0 || len(replicas) != factor {
			return fmt.Errorf("%w: partition %d of the assignment has %d replicas, want %d", ErrInvalidAssignment, i, len(replicas), factor)
		}
		live := false
		for j, id := range replicas {
			b, known := brokers[id]
			if !known || slices.Contains(replicas[:j], id) {
				return fmt.Errorf("%w: partition %d of the assignment: broker %d is unknown, or named twice", ErrInvalidAssignment, i, id)
			}
			live = live || !b.Fenced && !b.Stopping
		}
		if !live {
			return fmt.Errorf("%w: partition %d of the assignment has no live broker", ErrInvalidAssignment, i)
		}
	}
	return nil
}

// newPartition is a partition whose live replicas are in sync: they are all empty.
func newPartition(replicas []int32, brokers map[int32]cluster.Broker) cluster.Partition {
	p := cluster.Partition{Replicas: replicas, Leader: cluster.NoLeader}
	for _, id := range replicas {
		if b := brokers[id]; !b.Fenced && !b.Stopping {
			p.ISR = append(p.ISR, id)
			p.Directories = append(p.Directories, b.DirectoryUUID)
		}
	}
	p.Leader = elect(replicas, p.ISR, brokers)
	return p
}
