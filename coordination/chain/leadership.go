package chain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

// leadership is one term.
type leadership struct {
	s      *session
	claim  head
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu struct {
		sync.Mutex
		newest  head // the newest commit known to be ours
		version uint64
		keys    map[string]struct{} // records that exist; nil before the first commit
		pending *head               // a commit whose outcome is not settled
	}
}

// lead starts the term that the claim opened. Which records exist is found out at the first commit: the process's own watch needs a moment to reach the claim.
func (s *session) lead(claim head, version uint64) *leadership {
	l := &leadership{s: s, claim: claim}
	l.ctx, l.cancel = context.WithCancelCause(s.ctx)
	l.mu.newest, l.mu.version = claim, version
	s.c.seen.note(claim.id())
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		l.observe()
	}()
	return l
}

// trackLimit bounds how long a new leader waits for the process's own watch. Its receiver may be slow, or may be waiting for this very claim.
const trackLimit = 500 * time.Millisecond

// existingKeys returns the record keys at seq: from the process's own watch if one runs and is in time, else by a list. Nobody else writes records after our claim.
func (c *Coordinator) existingKeys(ctx context.Context, seq uint64) (map[string]struct{}, error) {
	late := time.NewTimer(trackLimit)
	defer late.Stop()
	for {
		keys, tracking, changed := c.keys.at(seq)
		switch {
		case keys != nil:
			return keys, nil
		case !tracking:
			return c.listKeys(ctx)
		}
		select {
		case <-changed:
		case <-late.C:
			return c.listKeys(ctx)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (c *Coordinator) listKeys(ctx context.Context) (map[string]struct{}, error) {
	entries, err := c.store.List(ctx, "records")
	if err != nil {
		return nil, fmt.Errorf("list records: %w", err)
	}
	keys := make(map[string]struct{}, len(entries))
	for _, e := range entries {
		name, err := recordName(e.Key)
		if err != nil {
			return nil, fmt.Errorf("list records: key %q: %w", e.Key, err)
		}
		keys[name] = struct{}{}
	}
	return keys, nil
}

func (l *leadership) Epoch() int32          { return l.claim.epoch }
func (l *leadership) Seq() uint64           { return l.claim.seq }
func (l *leadership) Done() <-chan struct{} { return l.ctx.Done() }

func (l *leadership) Err() error {
	switch {
	case l.s.ctx.Err() != nil:
		return l.s.Err()
	case l.ctx.Err() != nil:
		return context.Cause(l.ctx)
	}
	return nil
}

// settleLimit is how long after the end of its term a commit may look for what became of it.
const settleLimit = 2 * time.Second

// Commit implements coordination.Leadership.
func (l *leadership) Commit(ctx context.Context, m []coordination.Mutation) (uint64, error) {
	// The end of the term cuts off what is being sent, but not at once the look at what became of it: who is fenced in the middle of a commit is to know
	// whether that was the last one.
	look, stop := outlast(ctx, l.ctx, settleLimit)
	defer stop()
	ctx, cancel := outlast(ctx, l.ctx, 0)
	defer cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.check(m); err != nil {
		return 0, err
	}
	if err := l.findKeysLocked(ctx); err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	if l.mu.pending != nil {
		if _, err := l.settleLocked(look); err != nil {
			return 0, err
		}
	}
	for l.ctx.Err() == nil {
		seq, err := l.commitOnceLocked(ctx, m)
		switch {
		case err == nil:
			return seq, nil
		case errors.Is(err, coordination.ErrConflict):
			// Our guard is the newest version we wrote; only another leader's claim, or a late original of ours (settled above), can have moved it.
			return 0, l.deposedLocked(look, err)
		case !errors.Is(err, coordination.ErrOutcomeUnknown):
			return 0, fmt.Errorf("commit: %w", err)
		}
		applied, err := l.settleLocked(look)
		if err != nil {
			return 0, err
		}
		if applied {
			return l.mu.newest.seq, nil
		}
	}
	return 0, fmt.Errorf("commit: %w", l.Err())
}

// outlast returns a context that ends with ctx, or when the term has been over for d.
func outlast(ctx, term context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(term, func() {
		if d == 0 {
			cancel(context.Cause(term))
			return
		}
		t := time.AfterFunc(d, func() { cancel(context.Cause(term)) })
		context.AfterFunc(ctx, func() { t.Stop() })
	})
	return ctx, func() { stop(); cancel(nil) }
}

// findKeysLocked learns which records exist. Nobody else writes any after our claim; if somebody does, ours has been followed by another's, and the commit is fenced.
func (l *leadership) findKeysLocked(ctx context.Context) error {
	if l.mu.keys != nil {
		return nil
	}
	keys, err := l.s.c.existingKeys(ctx, l.claim.seq)
	if err != nil && l.ctx.Err() == nil {
		return fmt.Errorf("%w: %w", coordination.ErrUnavailable, err) // nothing was sent
	}
	if err != nil {
		return err
	}
	l.mu.keys = keys
	return nil
}

// check refuses what must not be sent at all.
func (l *leadership) check(m []coordination.Mutation) error {
	if l.ctx.Err() != nil {
		return fmt.Errorf("commit: %w", l.Err())
	}
	if s := l.s.State(); s != coordination.Valid {
		return fmt.Errorf("commit: session is %s: %w", s, coordination.ErrUnavailable)
	}
	caps := l.s.c.Capabilities()
	size := 0
	seen := make(map[string]bool, len(m))
	for _, x := range m {
		size += len(x.Key) + len(x.Value)
		if x.Key == "" {
			return errors.New("commit: a mutation has no key")
		}
		if seen[x.Key] {
			return fmt.Errorf("commit: key %q occurs twice", x.Key)
		}
		seen[x.Key] = true
	}
	if len(m) > caps.MaxCommitMutations || size > caps.MaxCommitBytes {
		return fmt.Errorf("commit of %d mutations, %d bytes (%s allows %d and %d): %w",
			len(m), size, caps.Backend, caps.MaxCommitMutations, caps.MaxCommitBytes, coordination.ErrTooLarge)
	}
	return nil
}

// commitOnceLocked sends one transaction. After ErrOutcomeUnknown the commit is l.mu.pending.
func (l *leadership) commitOnceLocked(ctx context.Context, m []coordination.Mutation) (uint64, error) {
	next := head{
		lineage: l.claim.lineage, epoch: l.claim.epoch, holder: l.claim.holder,
		seq: l.mu.newest.seq + 1, request: uuid.New(), inline: true, mutations: m,
	}
	slot := next.encode()
	record := slot
	if len(slot) > inlineLimit {
		bare := next
		bare.inline, bare.mutations = false, nil
		record = bare.encode()
	}
	ops := []backend.Op{
		{Kind: backend.Set, Key: chainKey, Value: record},
		{Kind: backend.Set, Key: slotKey(next.seq), Value: slot},
	}
	for _, x := range m {
		if op, ok := l.opLocked(x); ok {
			ops = append(ops, op)
		}
	}
	versions, err := l.s.s.Txn(ctx, []backend.Guard{{Key: chainKey, Version: l.mu.version}}, ops)
	if err == nil {
		l.appliedLocked(next, versions[0])
		return next.seq, nil
	}
	if errors.Is(err, coordination.ErrOutcomeUnknown) {
		l.mu.pending = &next
	}
	return 0, err
}

func (l *leadership) opLocked(m coordination.Mutation) (backend.Op, bool) {
	_, exists := l.mu.keys[m.Key]
	op := backend.Op{Kind: backend.Set, Key: recordKey(m.Key), Value: m.Value}
	switch {
	case m.Value == nil:
		op.Kind = backend.Delete
		return op, exists
	case !exists:
		op.Kind = backend.Create
	}
	return op, true
}

func (l *leadership) appliedLocked(h head, version uint64) {
	l.mu.newest, l.mu.version, l.mu.pending = h, version, nil
	l.s.c.seen.note(h.id())
	for _, m := range h.mutations {
		if m.Value == nil {
			delete(l.mu.keys, m.Key)
		} else {
			l.mu.keys[m.Key] = struct{}{}
		}
	}
}

// settleLocked finds out what became of the pending commit. If the chain has not moved, a no-op is committed in its place, after which the late
// original meets another version and can never apply.
func (l *leadership) settleLocked(ctx context.Context) (applied bool, err error) {
	for {
		h, version, err := l.s.c.readHead(ctx)
		switch {
		case err == nil && h == nil:
			return false, fmt.Errorf("commit: the chain record vanished: %w", coordination.ErrLineage)
		case err == nil && h.request == l.mu.pending.request:
			l.appliedLocked(*l.mu.pending, version)
			return true, nil
		case err == nil && version == l.mu.version:
			// A no-op at the pending number: if its own answer is lost, the next read finds it, or the original.
			original := l.mu.pending
			if _, err = l.commitOnceLocked(ctx, nil); err == nil {
				return false, nil
			}
			l.mu.pending = original
		case err == nil && h.epoch == l.claim.epoch:
			// In our epoch only we write: this is one of our no-ops, applied although its answer was lost.
			l.appliedLocked(*h, version)
			return false, nil
		case err == nil:
			return l.settleFromRingLocked(ctx, *h)
		}
		if errors.Is(err, coordination.ErrLineage) {
			l.cancel(fmt.Errorf("epoch %d: %w", l.claim.epoch, err))
		}
		if ctx.Err() != nil || !(retryable(err) || errors.Is(err, coordination.ErrConflict)) {
			return false, unknown(*l.mu.pending, err)
		}
		pause(ctx, retryPause)
	}
}

// settleFromRingLocked: the chain is at by, written by nobody known; the ring record of our sequence number decides.
func (l *leadership) settleFromRingLocked(ctx context.Context, by head) (applied bool, err error) {
	pending := *l.mu.pending
	e, err := l.s.c.store.Get(ctx, slotKey(pending.seq))
	if err != nil {
		return false, unknown(pending, err)
	}
	slot, err := decodeHead(e.Key, e.Value)
	if err != nil {
		return false, unknown(pending, err)
	}
	l.fence(by)
	switch {
	case slot.request == pending.request:
		l.appliedLocked(pending, 0)
		return true, nil
	case slot.seq == pending.seq:
		return false, fmt.Errorf("commit %d: %w", pending.seq, l.Err())
	}
	return false, fmt.Errorf("commit %d: %w; the ring has moved past it: %w", pending.seq, l.Err(), coordination.ErrOutcomeUnknown)
}

// unknown is the error of a commit whose outcome could not be found out. The cause is only told: that a read was not answered (ErrUnavailable) or that a
// no-op was refused (ErrConflict) would read as if the commit had not been applied.
func unknown(pending head, cause error) error {
	return fmt.Errorf("commit %d: %w: %v", pending.seq, coordination.ErrOutcomeUnknown, cause)
}

// deposedLocked turns a conflict on the chain into the end of the term.
func (l *leadership) deposedLocked(ctx context.Context, conflict error) error {
	h, _, err := l.s.c.readHead(ctx)
	if err == nil && h != nil && h.epoch > l.claim.epoch {
		l.fence(*h)
		return fmt.Errorf("commit: %w", l.Err())
	}
	if errors.Is(err, coordination.ErrLineage) {
		l.cancel(fmt.Errorf("epoch %d: %w", l.claim.epoch, err))
		return fmt.Errorf("commit: %w", err)
	}
	l.cancel(fmt.Errorf("epoch %d: the chain moved under us: %w", l.claim.epoch, coordination.ErrFenced))
	return fmt.Errorf("commit: %w: %v", coordination.ErrFenced, conflict)
}

// Resign deletes the controller key if it is ours; the epoch stays until the next claim.
func (l *leadership) Resign(ctx context.Context) error {
	l.cancel(fmt.Errorf("resigned: %w", coordination.ErrFenced))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.pending != nil { // cut off by the line above, perhaps: it may still be on its way
		if _, err := l.settleLocked(ctx); err != nil && !errors.Is(err, coordination.ErrFenced) {
			return fmt.Errorf("resign: %w", err)
		}
	}
	e, err := l.s.c.store.Get(ctx, controllerKey)
	if err != nil {
		return fmt.Errorf("resign: %w", err)
	}
	if e.Version == 0 || string(e.Value) != l.s.holderValue() {
		return nil
	}
	h, version, err := l.s.c.readHead(ctx)
	if err != nil || h == nil || h.epoch != l.claim.epoch {
		return err
	}
	// Guarded on the chain too: after a successor's claim the key is the successor's.
	_, err = l.s.s.Txn(ctx, []backend.Guard{{Key: chainKey, Version: version}, {Key: controllerKey, Version: e.Version}},
		[]backend.Op{{Kind: backend.Delete, Key: controllerKey}})
	if errors.Is(err, coordination.ErrConflict) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("resign: %w", err)
	}
	return nil
}
