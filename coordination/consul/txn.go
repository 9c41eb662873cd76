package consul

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

// txn is one transaction in the making.
type txn struct {
	s     *Session
	ops   api.TxnOps
	origs []origin // of each of ops
	size  int      // at most that of the request's body
}

// origin tells what a failed operation means.
type origin struct {
	guard int // index of the guard that it checks, or -1
	key   string
	own   bool // the check that the session lives
}

// Txn implements backend.Session. Its first operation checks that the session holds its own key, so it applies nothing after the session's end.
func (s *Session) Txn(ctx context.Context, guards []backend.Guard, ops []backend.Op) ([]uint64, error) {
	if err := s.alive(); err != nil {
		return nil, err
	}
	t, err := s.build(guards, ops)
	if err != nil {
		return nil, err
	}
	if len(t.ops) > maxOps || t.size > maxBody {
		return nil, fmt.Errorf("transaction of %d operations and up to %d bytes, the limits are %d and %d: %w",
			len(t.ops), t.size, maxOps, maxBody, coordination.ErrTooLarge)
	}
	var ok bool
	var resp *api.TxnResponse
	err = s.store.agents.unsent(ctx, t.limit(), func(ctx context.Context, c *api.Client) (err error) {
		ok, resp, _, err = c.Txn().Txn(t.ops, (&api.QueryOptions{}).WithContext(ctx))
		return err
	})
	switch {
	case err != nil:
		return nil, translateWrite("transaction", err)
	case !ok:
		return nil, t.failure(resp.Errors)
	}
	return t.versions(ops, resp.Results)
}

// build makes the transaction: the session's check, the guards that no write carries, and the writes.
func (s *Session) build(guards []backend.Guard, ops []backend.Op) (*txn, error) {
	t := &txn{s: s}
	t.add(origin{guard: -1, own: true}, api.KVTxnOp{Verb: api.KVCheckSession, Key: s.proofKey(), Session: s.id})
	kinds := make(map[string]backend.OpKind, len(ops))
	for _, op := range ops {
		kinds[op.Key] = op.Kind
	}
	carried := make(map[string]int, len(guards)) // guards that the write of the same key checks
	for i, g := range guards {
		o := origin{guard: i, key: g.Key}
		kind := kinds[g.Key]
		switch {
		case g.Version == 0 && (kind == backend.Create || kind == backend.CreateEphemeral), g.Version != 0 && kind == backend.Set:
			carried[g.Key] = i
		case g.Version == 0:
			t.add(o, api.KVTxnOp{Verb: api.KVCheckNotExists, Key: s.store.key(g.Key)})
		default:
			// A deletion is not made to carry it: delete-cas of an absent key succeeds.
			t.add(o, api.KVTxnOp{Verb: api.KVCheckIndex, Key: s.store.key(g.Key), Index: g.Version})
		}
	}
	for i, op := range ops {
		o := origin{guard: -1, key: op.Key}
		index := uint64(0)
		if g, ok := carried[op.Key]; ok {
			o.guard, index = g, guards[g].Version
		}
		if !t.op(o, op, index) {
			return nil, fmt.Errorf("op %d on %q: unknown kind %d", i, op.Key, op.Kind)
		}
	}
	return t, nil
}

func (t *txn) op(o origin, op backend.Op, index uint64) bool {
	key := t.s.store.key(op.Key)
	lock := api.KVTxnOp{Verb: api.KVLock, Key: key, Value: op.Value, Session: t.s.id}
	switch op.Kind {
	case backend.Create:
		t.add(o, api.KVTxnOp{Verb: api.KVCAS, Key: key, Value: op.Value, Index: 0}) // 0: only if absent
	case backend.Set:
		verb := api.KVSet
		if index != 0 {
			verb = api.KVCAS
		}
		t.add(o, api.KVTxnOp{Verb: verb, Key: key, Value: op.Value, Index: index})
	case backend.Delete:
		t.add(o, api.KVTxnOp{Verb: api.KVDelete, Key: key})
	case backend.CreateEphemeral:
		t.add(o, api.KVTxnOp{Verb: api.KVCheckNotExists, Key: key})
		t.add(o, lock)
	case backend.ReplaceEphemeral:
		// A lock held by another session cannot be taken, but its key can be deleted: locks are advisory.
		t.add(o, api.KVTxnOp{Verb: api.KVDelete, Key: key})
		t.add(o, lock)
	default:
		return false
	}
	return true
}

func (t *txn) add(o origin, op api.KVTxnOp) {
	t.ops = append(t.ops, &api.TxnOp{KV: &op})
	t.origs = append(t.origs, o)
	t.size += opOverhead + len(op.Key) + base64.StdEncoding.EncodedLen(len(op.Value))
}

// limit bounds the transaction: the request limit is for a small one; each 64 KiB add another.
func (t *txn) limit() time.Duration {
	return t.s.store.cfg.Request * time.Duration(1+t.size/(64<<10))
}

// failure says what a transaction that was rolled back means: the service names every operation that failed, and one failure can make others follow,
// so the first that explains it counts.
func (t *txn) failure(errs api.TxnErrors) error {
	var conflict *coordination.ConflictError
	for _, e := range errs {
		if e.OpIndex < 0 || e.OpIndex >= len(t.origs) {
			continue
		}
		o := t.origs[e.OpIndex]
		switch {
		case o.own && isState(e.What), strings.Contains(e.What, "invalid session"):
			t.s.lose()
			return fmt.Errorf("transaction on session %s: %w: %s", t.s.id, coordination.ErrSessionLost, e.What)
		case !isState(e.What):
			// Lock-delay, and rights that are missing.
			return fmt.Errorf("transaction: %s: %w: %s", o.key, coordination.ErrUnavailable, e.What)
		case conflict == nil || conflict.Guard < 0 && o.guard >= 0:
			conflict = &coordination.ConflictError{Guard: o.guard, Key: o.key}
		}
	}
	if conflict == nil {
		return fmt.Errorf("transaction: %w: refused: %s", coordination.ErrUnavailable, whats(errs))
	}
	return conflict
}

// isState tells a condition on keys that does not hold from other reasons to refuse.
func isState(what string) bool {
	return !strings.Contains(what, "lock delay") && !strings.Contains(what, "ermission denied") && !strings.Contains(what, "ACL not found")
}

// versions: all that one transaction writes has the index of its Raft entry. Checks are answered too, with the index of what they found.
func (t *txn) versions(ops []backend.Op, results api.TxnResults) ([]uint64, error) {
	index := uint64(0)
	for _, r := range results {
		if r.KV != nil {
			index = max(index, r.KV.ModifyIndex)
		}
	}
	versions := make([]uint64, len(ops))
	for i, op := range ops {
		if op.Kind != backend.Delete {
			versions[i] = index
		}
	}
	return versions, nil
}
