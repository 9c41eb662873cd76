package coordtest

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// The model of a history: the chain as one register, {epoch, seq, records}. A claim and a commit are compare-and-sets on it, a status and a snapshot read it. An
// operation takes effect at one instant between its call and its return; one whose outcome nobody was told may do so at any time later, or never.

// historyKeys is how many records a history writes; few, so that writers meet.
const historyKeys = 5

func historyKey(i int) string { return fmt.Sprintf("history/%d", i) }

// chainState is comparable.
type chainState struct {
	epoch  int32
	seq    uint64
	values [historyKeys]string // "" where absent
}

type opKind string

const (
	opClaim    opKind = "claim"    // by campaign or usurpation: it made (epoch, seq)
	opCommit   opKind = "commit"   // of the leader of epoch: it made seq
	opFenced   opKind = "fenced"   // a commit of the leader of epoch, refused for a newer epoch
	opOver     opKind = "over"     // an attempt to usurp epoch, refused because that was over
	opStatus   opKind = "status"   // showed (epoch, seq)
	opSnapshot opKind = "snapshot" // showed (epoch, seq, values)
	opRefused  opKind = "refused"  // a commit that was certainly not applied, for whatever reason
)

// operation is one entry of a history.
type operation struct {
	client    int
	kind      opKind
	epoch     int32
	seq       uint64 // 0 where the caller was not told
	edit      edit
	values    [historyKeys]string
	call, ret time.Duration
	open      bool // nobody was told of its end: it may have taken effect at any time since its call
	unknown   bool // nor is it known whether it did, or as which number
}

// edit is a commit's effect: compare-and-set of one record, and the deletion of another.
type edit struct {
	Key      int // of the record that is set; -1: none
	Old, New string
	Remove   int // -1: none
}

var noEdit = edit{Key: -1, Remove: -1}

func (ed edit) apply(values [historyKeys]string) ([historyKeys]string, bool) {
	if ed.Key >= 0 {
		if values[ed.Key] != ed.Old {
			return values, false
		}
		values[ed.Key] = ed.New
	}
	if ed.Remove >= 0 {
		values[ed.Remove] = ""
	}
	return values, true
}

// step says whether the operation is possible in a state, and what state follows.
func (op operation) step(s chainState) (bool, chainState) {
	switch op.kind {
	case opClaim:
		return s.epoch+1 == op.epoch && s.seq+1 == op.seq, chainState{epoch: s.epoch + 1, seq: s.seq + 1, values: s.values}
	case opCommit:
		values, ok := op.edit.apply(s.values)
		ok = ok && s.epoch == op.epoch && (op.unknown || s.seq+1 == op.seq)
		if !ok {
			return op.unknown, s // it came too late, and changed nothing
		}
		return true, chainState{epoch: s.epoch, seq: s.seq + 1, values: values}
	case opFenced:
		return s.epoch > op.epoch, s
	case opOver:
		return s.epoch != op.epoch, s
	case opStatus:
		return s.epoch == op.epoch && s.seq == op.seq, s
	case opSnapshot:
		return s == chainState{epoch: op.epoch, seq: op.seq, values: op.values}, s
	}
	return false, s
}

func (op operation) String() string {
	text := fmt.Sprintf("process %d: %s of epoch %d, seq %d", op.client, op.kind, op.epoch, op.seq)
	if op.edit.Key >= 0 {
		text += fmt.Sprintf(", %s: %q to %q", historyKey(op.edit.Key), op.edit.Old, op.edit.New)
	}
	if op.open {
		return fmt.Sprintf("%s, from %v, end unknown", text, op.call)
	}
	return fmt.Sprintf("%s, %v to %v", text, op.call, op.ret)
}

var chainModel = porcupine.Model{
	Init: func() any { return chainState{} },
	Step: func(state, input, _ any) (bool, any) {
		ok, next := input.(operation).step(state.(chainState))
		return ok, next
	},
	DescribeOperation: func(input, _ any) string { return input.(operation).String() },
}

// linearizable checks a history that begins with an empty, bootstrapped chain.
func linearizable(ops []operation, limit time.Duration) error {
	history := make([]porcupine.Operation, len(ops))
	for i, op := range ops {
		ret := int64(op.ret)
		if op.open {
			ret = math.MaxInt64
		}
		history[i] = porcupine.Operation{ClientId: op.client, Input: op, Call: int64(op.call), Return: ret}
	}
	result, info := porcupine.CheckOperationsVerbose(chainModel, history, limit)
	switch result {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("no decision on %d operations within %v", len(ops), limit)
	}
	return fmt.Errorf("the history of %d operations is not linearizable: %s", len(ops), stuck(info, history))
}

// stuck tells how far the longest order got, and which operations had to come next.
func stuck(info porcupine.LinearizationInfo, history []porcupine.Operation) string {
	var longest []porcupine.Operation
	for _, partition := range info.PartialLinearizationsOperations() {
		for _, order := range partition {
			if len(order) > len(longest) {
				longest = order
			}
		}
	}
	done := map[operation]bool{}
	for _, o := range longest {
		done[o.Input.(operation)] = true
	}
	text := fmt.Sprintf("an order explains %d of them, up to", len(longest))
	for _, o := range longest[max(0, len(longest)-4):] {
		text += "\n  " + o.Input.(operation).String()
	}
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	text += "\nbut then none of"
	listed := 0
	for _, o := range history {
		if op := o.Input.(operation); !done[op] && listed < 4 {
			text += "\n  " + op.String()
			listed++
		}
	}
	return text
}
