package check

import (
	"fmt"
	"sync"
)

// Partition names a partition of a topic.
type Partition struct {
	Topic string
	ID    int32
}

func (p Partition) String() string { return fmt.Sprintf("%s-%d", p.Topic, p.ID) }

// Producer says what may be expected of a producer's records.
type Producer struct {
	Name string
	// Idempotent: each record stands at most once, and in the order of sending. False for probes, which are sent once over several connections.
	Idempotent bool
}

// Ledger holds every record that was sent and what was acknowledged. Its methods may be called from any goroutine.
type Ledger struct {
	run uint64
	mu  struct {
		sync.Mutex
		trial     uint32
		trials    []string // names, by number
		producers []Producer
		lanes     map[laneKey]*laneLedger
	}
}

type laneKey struct {
	producer uint32
	Partition
}

// laneLedger is indexed by sequence.
type laneLedger struct {
	trial  []uint32
	offset []int64 // notAcked, else where the broker said it put the record
}

const notAcked = -1

// NewLedger makes an empty one. Run goes into every tag: records of another run on the same topic are foreign.
func NewLedger(run uint64) *Ledger {
	l := &Ledger{run: run}
	l.mu.lanes = make(map[laneKey]*laneLedger)
	return l
}

// Register adds a producer and returns its number.
func (l *Ledger) Register(p Producer) uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.producers = append(l.mu.producers, p)
	return uint32(len(l.mu.producers) - 1)
}

// SetTrial attributes what is sent from now on.
func (l *Ledger) SetTrial(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.trials = append(l.mu.trials, name)
	l.mu.trial = uint32(len(l.mu.trials) - 1)
}

// Next returns the tag of the producer's next record on the partition. Callers that need order on the wire call it in that order.
func (l *Ledger) Next(producer uint32, p Partition, intended int64) Tag {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := laneKey{producer, p}
	lane := l.mu.lanes[key]
	if lane == nil {
		lane = &laneLedger{}
		l.mu.lanes[key] = lane
	}
	tag := Tag{Run: l.run, Trial: l.mu.trial, Producer: producer, Partition: p.ID, Seq: uint64(len(lane.trial)), Intended: intended}
	lane.trial = append(lane.trial, l.mu.trial)
	lane.offset = append(lane.offset, notAcked)
	return tag
}

// Acked notes that the broker acknowledged the record at that offset.
func (l *Ledger) Acked(producer uint32, p Partition, seq uint64, offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lane := l.mu.lanes[laneKey{producer, p}]; lane != nil && seq < uint64(len(lane.offset)) {
		lane.offset[seq] = offset
	}
}

// Ends returns, for each partition with acknowledged records, the offset after the last of them: a reader must get there.
func (l *Ledger) Ends() map[Partition]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	ends := make(map[Partition]int64)
	for key, lane := range l.mu.lanes {
		for _, offset := range lane.offset {
			if offset != notAcked {
				ends[key.Partition] = max(ends[key.Partition], offset+1)
			}
		}
	}
	return ends
}
