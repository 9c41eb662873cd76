//go:build regency_mutation

package partition

import (
	"os"

	"github.com/regency-project/regency/storage/record"
)

// Broken modes, one of which REGENCY_MUTATION chooses, for programs that the harness tests itself with: its checks must find each of them out.
var (
	mutation        = os.Getenv("REGENCY_MUTATION")
	acksEarly       = mutation == "ack-early"          // acks=all is answered when the leader alone has the record
	readsUnsettled  = mutation == "read-uncommitted"   // consumers are given what is not replicated
	ignoresBrokers  = mutation == "isr-never-waits"    // the high watermark waits for no follower, and all of them stay in the ISR
	neverTruncates  = mutation == "no-truncation"      // a follower goes on from its own end, whatever epochs it has there
	forgetsSequence = mutation == "producer-forgotten" // a retry is appended again
)

// appendWakes wakes consumers for what is not committed, if they are to be given it.
var appendWakes = map[bool]audience{false: replicas, true: everybody}[readsUnsettled]

// appendable leaves out the batches that this log, which never truncates, has others in the place of.
func (p *Partition) appendable(fetched []byte) []byte {
	if !neverTruncates {
		return fetched
	}
	kept := fetched
	for b, err := range record.Batches(fetched, record.CheckLengths) {
		if err != nil || b.BaseOffset() >= p.log.End() {
			break
		}
		kept = kept[len(b):]
	}
	return kept
}

// defies lets a deposed leader go on as if nothing had happened, with itself as the ISR.
func (p *Partition) defies(t target) bool {
	if mutation != "no-fencing" || p.mu.role != leading || (t.role == leading && t.LeaderEpoch == p.mu.epoch) {
		return false
	}
	p.mu.isr, p.mu.minISR, p.mu.proposal = []int32{p.set.self()}, 1, nil
	p.advanceLocked()
	return true
}
