package check

import (
	"cmp"
	"fmt"
	"slices"
)

// Replica is one broker's copy of a partition, as it lies on its disk.
type Replica struct {
	Broker        int32
	InSync        bool // a member of the ISR when the broker was stopped
	Start         int64
	HighWatermark int64 // that the replica remembers: it may be older than the last it knew
	End           int64
	Batches       []Batch // by offset
}

// Batch is what of a batch must be the same in every copy. Two of equal Sum hold the same bytes.
type Batch struct {
	Base, Last  int64
	LeaderEpoch int32
	Sum         string
}

// Replicas compares the copies of a partition that is not compacted: from the larger log start up to the smaller high watermark they hold the same batches
// with the same epochs. A member of the ISR has everything below committed, the high watermark that the leader told before the brokers were stopped. It
// returns how many batches were compared as well.
func Replicas(p Partition, committed int64, copies []Replica) (compared int, found []Violation) {
	r := newReport()
	copies = slices.Clone(copies)
	// What is committed is known best by the longest of those that must have it.
	slices.SortStableFunc(copies, func(a, b Replica) int {
		return cmp.Or(-cmp.Compare(a.settled(committed), b.settled(committed)), cmp.Compare(a.Broker, b.Broker))
	})
	for i, c := range copies {
		if c.InSync && c.End < committed {
			r.violate("", ReplicaShort, "%s: broker %d is in the ISR and its log ends at %d; committed is up to %d", p, c.Broker, c.End, committed)
		}
		if i > 0 {
			compared += compare(r, p, committed, copies[0], c)
		}
	}
	return compared, r.violations
}

// settled is up to where the copy must agree with the others.
func (c Replica) settled(committed int64) int64 {
	if c.InSync {
		return min(c.End, max(committed, c.HighWatermark))
	}
	return min(c.End, c.HighWatermark)
}

func compare(r *report, p Partition, committed int64, a, b Replica) (compared int) {
	from, to := max(a.Start, b.Start), min(a.settled(committed), b.settled(committed))
	within := func(c Replica) []Batch {
		return slices.DeleteFunc(slices.Clone(c.Batches), func(x Batch) bool { return x.Base < from || x.Last >= to })
	}
	left, right := within(a), within(b)
	for i := range max(len(left), len(right)) {
		switch {
		case i >= len(left):
			r.violate("", ReplicasDiffer, "%s: broker %d has a batch %d-%d of epoch %d that broker %d lacks", p, b.Broker, right[i].Base, right[i].Last, right[i].LeaderEpoch, a.Broker)
			return compared
		case i >= len(right):
			r.violate("", ReplicasDiffer, "%s: broker %d has a batch %d-%d of epoch %d that broker %d lacks", p, a.Broker, left[i].Base, left[i].Last, left[i].LeaderEpoch, b.Broker)
			return compared
		case left[i] != right[i]:
			r.violate("", ReplicasDiffer, "%s: broker %d has batch %d-%d of epoch %d with checksum %s, broker %d has %d-%d of epoch %d with %s", p,
				a.Broker, left[i].Base, left[i].Last, left[i].LeaderEpoch, left[i].Sum, b.Broker, right[i].Base, right[i].Last, right[i].LeaderEpoch, right[i].Sum)
			return compared
		}
		compared++
	}
	return compared
}

// DiskFaultOf is the violation of a log that contradicts itself.
func DiskFaultOf(broker int32, fault string) Violation {
	return Violation{Check: DiskFault, Detail: fmt.Sprintf("broker %d: %s", broker, fault)}
}
