package coordtest

import (
	"context"
	"encoding/binary"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/chain"
	"github.com/regency-project/regency/coordination/memory"
)

// The check must find what it is there for: each of these breaks one promise, in the store or above it, and the history must show it.

// broken is a store whose transactions are changed on their way.
type broken struct {
	backend.Store
	change func(guards []backend.Guard, ops []backend.Op) ([]backend.Guard, []backend.Op)
}

type brokenSession struct {
	backend.Session
	s *broken
}

func (b *broken) OpenSession(ctx context.Context) (backend.Session, error) {
	s, err := b.Store.OpenSession(ctx)
	return &brokenSession{s, b}, err
}

func (s *brokenSession) Txn(ctx context.Context, guards []backend.Guard, ops []backend.Op) ([]uint64, error) {
	guards, ops = s.s.change(guards, ops)
	return s.Session.Txn(ctx, guards, ops)
}

func has(ops []backend.Op, key string) bool {
	for _, op := range ops {
		if op.Key == key {
			return true
		}
	}
	return false
}

// commitWithoutGuard lets a deposed leader's commits, and late ones, through.
func commitWithoutGuard(guards []backend.Guard, ops []backend.Op) ([]backend.Guard, []backend.Op) {
	if has(ops, "chain") && !has(ops, controller) {
		return nil, ops
	}
	return guards, ops
}

// claimKeepsEpoch is a claim that does not raise the epoch.
func claimKeepsEpoch(guards []backend.Guard, ops []backend.Op) ([]backend.Guard, []backend.Op) {
	if !has(ops, "chain") || !has(ops, controller) {
		return guards, ops
	}
	const epochAt = 17
	for i, op := range ops {
		if op.Key == "chain" || strings.HasPrefix(op.Key, "ring/") {
			value := append([]byte(nil), op.Value...)
			if epoch := binary.BigEndian.Uint32(value[epochAt:]); epoch > 1 {
				binary.BigEndian.PutUint32(value[epochAt:], epoch-1)
			}
			ops[i].Value = value
		}
	}
	return guards, ops
}

// halfCommit loses one record of a commit, while the ring has it.
func halfCommit(guards []backend.Guard, ops []backend.Op) ([]backend.Guard, []backend.Op) {
	kept := ops[:0:0]
	for _, op := range ops {
		if op.Key != "records/"+strings.ReplaceAll(historyKey(0), "/", "%2F") {
			kept = append(kept, op)
		}
	}
	return guards, kept
}

// forgetful is a coordinator whose watch leaves out one commit and numbers on.
type forgetful struct{ coordination.Coordinator }

func (f forgetful) Watch(ctx context.Context, fn func(coordination.Event)) error {
	n := 0
	return f.Coordinator.Watch(ctx, func(ev coordination.Event) {
		if ev.Kind == coordination.Delta {
			if n++; n == 20 {
				return
			}
		}
		fn(ev)
	})
}

// stale is a coordinator whose Status is the one before.
type stale struct {
	coordination.Coordinator
	last *coordination.Status
}

func (s stale) Status(ctx context.Context) (coordination.Status, error) {
	st, err := s.Coordinator.Status(ctx)
	if err != nil {
		return st, err
	}
	st, *s.last = *s.last, st
	return st, nil
}

func TestHistoryCheckFindsWhatIsBroken(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func([]backend.Guard, []backend.Op) ([]backend.Guard, []backend.Op)
		watch  func(coordination.Coordinator) coordination.Coordinator
		open   func(coordination.Coordinator) coordination.Coordinator
		finds  bool
	}{
		{name: "nothing", finds: false},
		{name: "commit without its guard", change: commitWithoutGuard, finds: true},
		{name: "claim that keeps the epoch", change: claimKeepsEpoch, finds: true},
		{name: "commit that loses a record", change: halfCommit, finds: true},
		{name: "watch that leaves out a commit", watch: func(co coordination.Coordinator) coordination.Coordinator { return forgetful{co} }, finds: true},
		{name: "status from before", open: func(co coordination.Coordinator) coordination.Coordinator {
			return stale{co, &coordination.Status{}}
		}, finds: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := memory.NewServer(500 * time.Millisecond)
			store := func() backend.Store {
				if c.change == nil {
					return server.Store()
				}
				return &broken{Store: server.Store(), change: c.change}
			}
			e := newEnv(t, Harness{
				Open: func(_ context.Context, _ string, log *slog.Logger) (coordination.Coordinator, error) {
					return chain.New(store(), chain.Options{Logger: log}), nil
				},
				OpenStore: func(context.Context, string, *slog.Logger) (backend.Store, error) { return store(), nil },
			})
			errs := e.history(historyOptions{seed: 7, length: time.Second, patience: 2 * time.Second, watch: c.watch, decorate: c.open})
			if c.finds != (len(errs) > 0) {
				t.Errorf("the check found %v, want something: %v", errs, c.finds)
			}
			for _, err := range errs {
				t.Logf("found: %.300v", err)
			}
		})
	}
}
