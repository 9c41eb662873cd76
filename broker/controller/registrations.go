package controller

import (
	"cmp"
	"maps"
	"slices"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/coordination"
)

// maxAdmissions bounds the brokers admitted in one step, so that their records fit the one commit whose sequence number is their epoch.
const maxAdmissions = 32

// step does the first of two things that has anything to do: fence and settle, or admit. Partitions are settled against the fenced state before anything is
// admitted, also those that an earlier controller left over; afterwards a live broker in an ISR is there with its present incarnation.
func (e RegistrationsChanged) step(v *cluster.View) Result {
	present := map[int32]coordination.Registered{}
	for _, r := range e.Present {
		present[r.ID] = r
	}
	brokers := maps.Clone(v.Brokers)
	ms := fence(brokers, present)
	ms = append(ms, settleAll(v, brokers)...)
	if len(ms) > 0 {
		return Result{Mutations: ms, Again: len(admissible(brokers, present)) > 0}
	}
	return admit(v, brokers, admissible(brokers, present))
}

func fence(brokers map[int32]cluster.Broker, present map[int32]coordination.Registered) []coordination.Mutation {
	var ms []coordination.Mutation
	for _, id := range slices.Sorted(maps.Keys(brokers)) {
		b := brokers[id]
		if r, ok := present[id]; b.Fenced || (ok && r.Incarnation == b.Incarnation) {
			continue
		}
		b.Fenced = true
		brokers[id] = b
		ms = append(ms, cluster.PutBroker(b))
	}
	return ms
}

func settleAll(v *cluster.View, brokers map[int32]cluster.Broker) []coordination.Mutation {
	return each(v, func(_ cluster.TopicPartition, p cluster.Partition) (cluster.Partition, bool) {
		return settle(p, brokers)
	}).mutations()
}

// admissible are the registrations of brokers that are not live, ordered by id. One whose attributes cannot be read is left out.
func admissible(brokers map[int32]cluster.Broker, present map[int32]coordination.Registered) []coordination.Registered {
	var rs []coordination.Registered
	for id, r := range present {
		b, known := brokers[id]
		if _, err := cluster.ParseAttributes(r.Attributes); err == nil && (!known || b.Fenced) {
			rs = append(rs, r)
		}
	}
	slices.SortFunc(rs, func(a, b coordination.Registered) int { return cmp.Compare(a.ID, b.ID) })
	return rs
}

func admit(v *cluster.View, brokers map[int32]cluster.Broker, rs []coordination.Registered) Result {
	again := len(rs) > maxAdmissions
	rs = rs[:min(len(rs), maxAdmissions)]
	var ms []coordination.Mutation
	for _, r := range rs {
		a, err := cluster.ParseAttributes(r.Attributes)
		if err != nil {
			continue // admissible left these out
		}
		b := cluster.Broker{
			ID: r.ID, Epoch: int64(v.Seq + 1), Incarnation: r.Incarnation, DirectoryUUID: r.DirectoryUUID,
			Client: a.Client, Peer: a.Peer, Rack: a.Rack,
		}
		brokers[b.ID] = b
		ms = append(ms, cluster.PutBroker(b))
	}
	if len(ms) == 0 {
		return Result{}
	}
	return Result{Mutations: append(ms, settleAll(v, brokers)...), Again: again}
}
