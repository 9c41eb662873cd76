package controller

import (
	"cmp"
	"maps"
	"slices"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/coordination"
)

// eligible says whether ISR member i of p is live with the directory that the membership belongs to.
func eligible(p cluster.Partition, i int, brokers map[int32]cluster.Broker) bool {
	b, ok := brokers[p.ISR[i]]
	return ok && !b.Fenced && i < len(p.Directories) && b.DirectoryUUID == p.Directories[i]
}

// settle brings a partition in line with who is live. It is idempotent.
func settle(p cluster.Partition, brokers map[int32]cluster.Broker) (cluster.Partition, bool) {
	var isr []int32
	for i, id := range p.ISR {
		if eligible(p, i, brokers) {
			isr = append(isr, id)
		}
	}
	if len(isr) == 0 { // the last members stay: they have what was acknowledged
		return update(p, p.ISR, cluster.NoLeader, brokers)
	}
	leader := p.Leader
	if !slices.Contains(isr, leader) {
		leader = elect(p.Replicas, isr, brokers)
	}
	if p.Leader == cluster.NoLeader && leader != cluster.NoLeader {
		isr = []int32{leader} // all its members were away: what the others have is for the new leader to see
	}
	return update(p, isr, leader, brokers)
}

// elect picks the first replica, in order of preference, that is in the ISR and not about to stop.
func elect(replicas, isr []int32, brokers map[int32]cluster.Broker) int32 {
	for _, id := range replicas {
		if slices.Contains(isr, id) && !brokers[id].Stopping {
			return id
		}
	}
	return cluster.NoLeader
}

// update changes ISR and leader and counts the epochs. Members that stay keep their recorded directory, new ones get that of their broker.
func update(p cluster.Partition, isr []int32, leader int32, brokers map[int32]cluster.Broker) (cluster.Partition, bool) {
	if leader == p.Leader && slices.Equal(isr, p.ISR) {
		return p, false
	}
	n := p
	n.ISR, n.Directories = slices.Clone(isr), make([]string, len(isr))
	for i, id := range isr {
		if was := slices.Index(p.ISR, id); was >= 0 && was < len(p.Directories) {
			n.Directories[i] = p.Directories[was]
		} else {
			n.Directories[i] = brokers[id].DirectoryUUID
		}
	}
	if leader != p.Leader {
		n.Leader = leader
		n.LeaderEpoch++
	}
	n.Epoch++
	return n, true
}

// changes collects changed partitions on copies of their topics.
type changes struct {
	topics map[string]*cluster.Topic
	dirty  map[string][]int32
}

func newChanges() *changes {
	return &changes{topics: map[string]*cluster.Topic{}, dirty: map[string][]int32{}}
}

// get is the partition with the changes so far.
func (c *changes) get(t *cluster.Topic, i int32) cluster.Partition {
	if n := c.topics[t.Name]; n != nil {
		return n.Partitions[i]
	}
	return t.Partitions[i]
}

func (c *changes) set(t *cluster.Topic, i int32, p cluster.Partition) {
	n := c.topics[t.Name]
	if n == nil {
		copied := *t
		copied.Partitions = slices.Clone(t.Partitions)
		n = &copied
		c.topics[t.Name] = n
	}
	n.Partitions[i] = p
	c.dirty[t.Name] = append(c.dirty[t.Name], i)
}

func (c *changes) mutations() []coordination.Mutation {
	var ms []coordination.Mutation
	for _, name := range slices.Sorted(maps.Keys(c.dirty)) {
		ms = append(ms, cluster.PutPartitions(c.topics[name], c.dirty[name])...)
	}
	return ms
}

// each applies fn to every partition, in the order of names and numbers, and collects what it changes.
func each(v *cluster.View, fn func(tp cluster.TopicPartition, p cluster.Partition) (cluster.Partition, bool)) *changes {
	c := newChanges()
	for _, t := range sortedTopics(v) {
		for i, p := range t.Partitions {
			if n, changed := fn(cluster.TopicPartition{Topic: t.Name, Partition: int32(i)}, p); changed {
				c.set(t, int32(i), n)
			}
		}
	}
	return c
}

func sortedTopics(v *cluster.View) []*cluster.Topic {
	return slices.SortedFunc(maps.Values(v.Topics), func(a, b *cluster.Topic) int { return cmp.Compare(a.Name, b.Name) })
}
