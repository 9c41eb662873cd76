package coordtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/regency-project/regency/coordination"
)

// told is a commit as a watch told it.
type told struct {
	epoch  int32
	holder int32
	edit   string // canonical text of the mutations
	values []coordination.Mutation
}

// stream is what one watch told during a history. The embedded view checks its order.
type stream struct {
	view
	name string
	all  struct {
		sync.Mutex
		commits   map[uint64]told
		snapshots []coordination.Event
	}
}

func newStream(name string) *stream {
	s := &stream{name: name}
	s.all.commits = map[uint64]told{}
	return s
}

// follow watches until ctx ends.
func (s *stream) follow(ctx context.Context, co coordination.Coordinator) error {
	err := co.Watch(ctx, func(ev coordination.Event) {
		s.event(ev)
		s.all.Lock()
		defer s.all.Unlock()
		switch ev.Kind {
		case coordination.Delta:
			s.all.commits[ev.Seq] = told{epoch: ev.Epoch, holder: ev.Holder, edit: canonical(ev.Mutations), values: ev.Mutations}
		case coordination.Snapshot:
			s.all.snapshots = append(s.all.snapshots, ev)
		}
	})
	if ctx.Err() != nil || errors.Is(err, coordination.ErrClosed) {
		return nil
	}
	return fmt.Errorf("watch of %s ended: %w", s.name, err)
}

func (s *stream) at() uint64 {
	seq, _, _, _ := s.state()
	return seq
}

func canonical(ms []coordination.Mutation) string {
	var b strings.Builder
	for _, m := range ms {
		if m.Value == nil {
			fmt.Fprintf(&b, "-%q ", m.Key)
		} else {
			fmt.Fprintf(&b, "+%q=%q ", m.Key, m.Value)
		}
	}
	return b.String()
}

func (ed edit) mutations() []coordination.Mutation {
	var ms []coordination.Mutation
	if ed.Key >= 0 {
		ms = append(ms, put(historyKey(ed.Key), ed.New))
	}
	if ed.Remove >= 0 {
		ms = append(ms, remove(historyKey(ed.Remove)))
	}
	return ms
}

// verifyHistory returns everything that contradicts the contract: in the streams among themselves, between them and what the processes were told, and, by the model, in
// the order of operations.
func verifyHistory(streams []*stream, ops []operation, limit time.Duration) (errs []error) {
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	chain, resynced := merge(streams, fault)
	last := uint64(0)
	for seq := range chain {
		last = max(last, seq)
	}
	whole := checkChain(chain, last, resynced, fault)
	if whole {
		checkSnapshots(chain, streams, fault)
	}
	ops = attribute(chain, whole, ops, fault)
	if err := linearizable(ops, limit); err != nil {
		errs = append(errs, err)
	}
	return errs
}

// merge makes one chain of what all watches told.
func merge(streams []*stream, fault func(string, ...any)) (chain map[uint64]told, resynced bool) {
	chain = map[uint64]told{}
	for _, s := range streams {
		s.mu.Lock()
		for _, err := range s.mu.faults {
			fault("watch of %s: %w", s.name, err)
		}
		resynced = resynced || s.mu.resyncs > 0
		s.mu.Unlock()
		s.all.Lock()
		for seq, c := range s.all.commits {
			if known, ok := chain[seq]; ok && (known.epoch != c.epoch || known.holder != c.holder || known.edit != c.edit) {
				fault("commit %d is of epoch %d by %d [%s] for %s, of epoch %d by %d [%s] for another watch",
					seq, c.epoch, c.holder, c.edit, s.name, known.epoch, known.holder, known.edit)
			}
			chain[seq] = c
		}
		s.all.Unlock()
	}
	return chain, resynced
}

// checkChain: numbers and epochs are dense, an epoch has one holder and begins with a claim, which changes no record. It says whether the chain is whole.
func checkChain(chain map[uint64]told, last uint64, resynced bool, fault func(string, ...any)) bool {
	whole := true
	for seq := uint64(1); seq <= last; seq++ {
		c, ok := chain[seq]
		if !ok {
			if !resynced {
				fault("commit %d of %d was told by no watch, and no watch had a gap", seq, last)
			}
			whole = false
			continue
		}
		before, ok := chain[seq-1]
		switch {
		case !ok && seq > 1: // nothing to compare with
		case c.epoch == before.epoch+1:
			if c.edit != "" {
				fault("commit %d is the first of epoch %d and changes records: [%s]", seq, c.epoch, c.edit)
			}
		case c.epoch != before.epoch:
			fault("commit %d is of epoch %d, the one before it of epoch %d", seq, c.epoch, before.epoch)
		case c.holder != before.holder:
			fault("epoch %d has two holders: %d at commit %d, %d before", c.epoch, c.holder, seq, before.holder)
		}
	}
	return whole
}

// checkSnapshots: every snapshot that a watch began with is the replay of the commits up to it.
func checkSnapshots(chain map[uint64]told, streams []*stream, fault func(string, ...any)) {
	at := map[uint64][]coordination.Event{}
	for _, s := range streams {
		s.all.Lock()
		for _, ev := range s.all.snapshots {
			at[ev.Seq] = append(at[ev.Seq], ev)
		}
		s.all.Unlock()
	}
	records := map[string][]byte{}
	for seq := uint64(0); seq <= uint64(len(chain)); seq++ {
		for _, m := range chain[seq].values {
			if m.Value == nil {
				delete(records, m.Key)
			} else {
				records[m.Key] = m.Value
			}
		}
		for _, ev := range at[seq] {
			if !equalRecords(ev.Records, records) {
				fault("a snapshot at %d holds %q, the commits up to it make %q", seq, ev.Records, records)
			}
		}
	}
}

// attribute gives every operation whose outcome nobody was told the number that the chain shows, drops those that never were applied, and adds what happened without
// an operation of its own: claims whose answer was lost, and the no-ops that settle a commit.
func attribute(chain map[uint64]told, whole bool, ops []operation, fault func(string, ...any)) []operation {
	byValue := map[string][]uint64{}
	for seq, c := range chain {
		for _, m := range c.values {
			if m.Value != nil {
				byValue[string(m.Value)] = append(byValue[string(m.Value)], seq)
			}
		}
	}
	owner := map[uint64]bool{}
	lostClaims := map[int32][]time.Duration{}
	var kept []operation
	for _, op := range ops {
		seqs := byValue[op.edit.New]
		if op.edit.Key >= 0 && len(seqs) > 1 {
			fault("%v was applied %d times, as commits %v", op, len(seqs), seqs)
		}
		switch {
		case (op.kind == opRefused || op.kind == opFenced) && op.edit.Key >= 0 && len(seqs) > 0:
			fault("%v was refused, and applied as commit %d", op, seqs[0])
		case op.kind == opRefused:
			continue
		case op.kind == opClaim && op.unknown:
			lostClaims[int32(op.client)] = append(lostClaims[int32(op.client)], op.call)
			continue
		case op.kind == opCommit && op.unknown && op.edit.Key < 0:
			continue // if it was applied, it is a no-op like others
		case op.kind == opCommit && op.unknown && len(seqs) == 1:
			op.seq, op.unknown = seqs[0], false
		case op.kind == opCommit && op.unknown && whole:
			continue
		}
		if (op.kind == opCommit || op.kind == opClaim) && !op.unknown {
			c, ok := chain[op.seq]
			if ok && (c.epoch != op.epoch || c.edit != canonical(op.edit.mutations()) || c.holder != int32(op.client)) {
				fault("%v, but the watches saw commit %d of epoch %d by %d: [%s]", op, op.seq, c.epoch, c.holder, c.edit)
			}
			if owner[op.seq] {
				fault("%v: commit %d was given to another, too", op, op.seq)
			}
			owner[op.seq] = true
		}
		kept = append(kept, op)
	}
	for seq, c := range chain {
		if owner[seq] {
			continue
		}
		before, known := chain[seq-1]
		switch {
		case (known || seq == 1) && before.epoch != c.epoch:
			calls := lostClaims[c.holder]
			if len(calls) == 0 {
				fault("commit %d is a claim of %d, which never made one without an answer", seq, c.holder)
				continue
			}
			kept = append(kept, operation{client: int(c.holder), kind: opClaim, epoch: c.epoch, seq: seq, call: slices.Min(calls), open: true, edit: noEdit})
		case c.edit == "":
			kept = append(kept, operation{client: int(c.holder), kind: opCommit, epoch: c.epoch, seq: seq, open: true, edit: noEdit})
		default:
			fault("commit %d of epoch %d by %d has effects that nobody asked for: [%s]", seq, c.epoch, c.holder, c.edit)
		}
	}
	return kept
}
