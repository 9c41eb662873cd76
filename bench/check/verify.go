package check

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Names of checks.
const (
	Lost             = "acknowledged-lost"
	Moved            = "acknowledged-moved" // acknowledged at one offset, found at another
	Duplicate        = "duplicate"
	Order            = "order"
	Corrupt          = "corrupt"
	Unread           = "unreadable" // the reader did not get to the end of what was acknowledged
	OffsetRegress    = "offset-regress"
	ReadsDiffer      = "reads-differ"
	DoubleLeader     = "double-leader"
	DoubleController = "double-controller"
	ZombieWrite      = "zombie-write"
	ZombieCommit     = "zombie-commit"   // a controller committed after its successor's claim
	EpochRegress     = "epoch-regress"   // an epoch went back
	Skipped          = "skipped"         // a consumer went past an acknowledged record without being given it
	OffsetTwice      = "offset-twice"    // two records were acknowledged at one offset
	ReplicasDiffer   = "replicas-differ" // two replicas' logs hold different committed bytes
	ReplicaShort     = "replica-short"   // a member of the ISR lacks what is committed
	DiskFault        = "disk-fault"      // a replica's log contradicts itself
)

// Violation is a broken promise. Trial is empty where it cannot be told.
type Violation struct {
	Trial, Check, Detail string
}

// Counts of one trial.
type Counts struct {
	Acknowledged, Read, Lost, Duplicated, Reordered, Corrupt, Unknown int64
}

// maxDetails bounds how many violations of one kind and trial are told one by one; the counts hold all.
const maxDetails = 5

// Verifier compares a reading from the beginning with the ledger, which must not change any more. One goroutine owns it.
type Verifier struct {
	ledger *Ledger
	seen   map[laneKey][]uint8 // copies read, by sequence, up to 255
	last   map[laneKey]int64   // highest sequence read
	next   map[Partition]int64 // offset after the last record read
	report *report
	live   map[Partition]reading // what a consumer read while the cluster was being broken
}

// report collects findings by trial.
type report struct {
	counts     map[string]*Counts
	violations []Violation
	told       map[[2]string]int
}

func newReport() *report {
	return &report{counts: make(map[string]*Counts), told: make(map[[2]string]int)}
}

func (r *report) of(trial string) *Counts {
	c := r.counts[trial]
	if c == nil {
		c = &Counts{}
		r.counts[trial] = c
	}
	return c
}

func (r *report) violate(trial, check, format string, args ...any) {
	key := [2]string{trial, check}
	r.told[key]++
	if r.told[key] <= maxDetails {
		r.violations = append(r.violations, Violation{Trial: trial, Check: check, Detail: fmt.Sprintf(format, args...)})
	}
}

// NewVerifier makes a verifier. live, which may be nil, is what a Watcher read earlier.
func NewVerifier(l *Ledger, live *Watcher) *Verifier {
	v := &Verifier{
		ledger: l, seen: make(map[laneKey][]uint8), last: make(map[laneKey]int64),
		next: make(map[Partition]int64), report: newReport(),
	}
	if live != nil {
		v.live = live.readings()
	}
	return v
}

// Read takes the records of a partition in the order in which the broker serves them.
func (v *Verifier) Read(p Partition, offset int64, value []byte) {
	l := v.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if offset < v.next[p] {
		v.report.violate("", OffsetRegress, "%s: the reader got offset %d after %d", p, offset, v.next[p]-1)
	}
	v.next[p] = max(v.next[p], offset+1)
	tag, err := DecodeTag(value)
	if errors.Is(err, errNotOurs) || (err == nil && tag.Run != l.run) {
		v.report.of("").Corrupt++
		v.report.violate("", Corrupt, "%s offset %d holds %d bytes that no producer of this run wrote", p, offset, len(value))
		return
	}
	if err != nil {
		v.report.of("").Corrupt++
		v.report.violate("", Corrupt, "%s offset %d: %v", p, offset, err)
		return
	}
	v.readTagLocked(p, offset, tag)
	if sums := v.live[p].sums; offset < int64(len(sums)) && sums[offset] != 0 && sums[offset] != sum(value) {
		v.report.violate(l.trialName(tag.Trial), ReadsDiffer, "%s offset %d was read twice with different content", p, offset)
	}
}

func (v *Verifier) readTagLocked(p Partition, offset int64, tag Tag) {
	l := v.ledger
	trial := l.trialName(tag.Trial)
	key := laneKey{tag.Producer, p}
	lane := l.mu.lanes[key]
	if lane == nil || tag.Seq >= uint64(len(lane.trial)) || tag.Partition != p.ID {
		v.report.of(trial).Corrupt++
		v.report.violate(trial, Corrupt, "%s offset %d holds record %d of producer %d for partition %d, which was never sent there", p, offset, tag.Seq, tag.Producer, tag.Partition)
		return
	}
	counts := v.report.of(trial)
	counts.Read++
	if v.seen[key] == nil {
		v.seen[key] = make([]uint8, len(lane.trial))
		v.last[key] = -1
	}
	seen := &v.seen[key][tag.Seq]
	if *seen < 255 {
		*seen++
	}
	name := l.mu.producers[tag.Producer]
	if *seen > 1 && name.Idempotent {
		counts.Duplicated++
		v.report.violate(trial, Duplicate, "%s offset %d repeats record %d of producer %s", p, offset, tag.Seq, name.Name)
		return
	}
	if name.Idempotent && int64(tag.Seq) < v.last[key] {
		counts.Reordered++
		v.report.violate(trial, Order, "%s offset %d: record %d of producer %s stands after its record %d", p, offset, tag.Seq, name.Name, v.last[key])
	}
	v.last[key] = max(v.last[key], int64(tag.Seq))
	switch at := lane.offset[tag.Seq]; at {
	case notAcked:
		counts.Unknown++
	case offset:
	default:
		if name.Idempotent {
			v.report.violate(trial, Moved, "%s: record %d of producer %s was acknowledged at offset %d and stands at %d", p, tag.Seq, name.Name, at, offset)
		}
	}
}

// Finish says what became of everything that was acknowledged. unread, which may be nil, says why the reading ended early.
func (v *Verifier) Finish(unread error) (map[string]Counts, []Violation) {
	l := v.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if unread != nil {
		v.report.violate("", Unread, "%v", unread)
	}
	keys := slices.SortedFunc(maps.Keys(l.mu.lanes), func(a, b laneKey) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.ID, b.ID), cmp.Compare(a.producer, b.producer))
	})
	given := make(map[Partition]map[int64]bool)
	for _, key := range keys {
		lane := l.mu.lanes[key]
		seen := v.seen[key]
		if given[key.Partition] == nil {
			given[key.Partition] = make(map[int64]bool)
		}
		for seq, offset := range lane.offset {
			if offset == notAcked {
				continue
			}
			trial := l.trialName(lane.trial[seq])
			v.report.of(trial).Acknowledged++
			if given[key.Partition][offset] {
				v.report.violate(trial, OffsetTwice, "%s offset %d was given to two acknowledged records, one of them record %d of producer %s",
					key.Partition, offset, seq, l.mu.producers[key.producer].Name)
			}
			given[key.Partition][offset] = true
			if v.live[key.Partition].skipped(offset) {
				v.report.violate(trial, Skipped, "%s: a consumer that had read from %d to %d was not given offset %d, which was acknowledged to producer %s",
					key.Partition, v.live[key.Partition].first, v.live[key.Partition].next-1, offset, l.mu.producers[key.producer].Name)
			}
			if seen == nil || seen[seq] == 0 {
				v.report.of(trial).Lost++
				v.report.violate(trial, Lost, "record %d of producer %s was acknowledged at %s offset %d and is not there",
					seq, l.mu.producers[key.producer].Name, key.Partition, offset)
			}
		}
	}
	counts := make(map[string]Counts, len(v.report.counts))
	for trial, c := range v.report.counts {
		counts[trial] = *c
	}
	return counts, v.report.violations
}

func (l *Ledger) trialName(n uint32) string {
	if n < uint32(len(l.mu.trials)) {
		return l.mu.trials[n]
	}
	return ""
}
