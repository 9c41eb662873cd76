// Package chain builds a coordination.Coordinator on a backend.Store: the domain logic of coordination, written once for every backend. It owns the
// chain record, the ring, and the rules for sessions, registration, leadership, lost answers and watches.
//
// Every write of controller-owned state is one transaction guarded on the chain record's version, and rewrites it:
//
//	guards: chain == version read or written last
//	ops:    chain := {epoch, seq+1, request id, mutations if small}
//	        ring/(seq+1 mod 64) := the same, with all mutations
//	        records/KEY := value …
//
// So a commit of a deposed leader, however late it arrives, meets another version and applies nothing.
package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

const (
	chainKey      = "chain"
	controllerKey = "controller"
	// RingSlots: a watch that lags behind by this many commits must read everything again.
	RingSlots = 64
	// inlineLimit: commits up to this size travel in the chain record itself, so that a watcher has them without another read.
	inlineLimit = 16 << 10
	// retryPause is between attempts while the service is not reachable.
	retryPause = 50 * time.Millisecond
)

// Options for New. The zero value is usable.
type Options struct {
	Logger *slog.Logger
	// RenewEvery is the renewal interval of sessions; default a quarter of the granted timeout.
	RenewEvery time.Duration
}

// Coordinator implements coordination.Coordinator.
type Coordinator struct {
	store  backend.Store
	opts   Options
	log    *slog.Logger
	ctx    context.Context // ends with Close
	cancel context.CancelCauseFunc
	keys   tracker
	seen   seen
}

var _ coordination.Coordinator = (*Coordinator)(nil)

// New takes over the store: Close closes it.
func New(store backend.Store, o Options) *Coordinator {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	return &Coordinator{store: store, opts: o, log: o.Logger, ctx: ctx, cancel: cancel}
}

// Capabilities are the store's.
func (c *Coordinator) Capabilities() coordination.Capabilities { return c.store.Capabilities() }

// Status reads the chain record.
func (c *Coordinator) Status(ctx context.Context) (coordination.Status, error) {
	h, _, err := c.readHead(ctx)
	if err != nil {
		return coordination.Status{}, err
	}
	if h == nil {
		return coordination.Status{Holder: -1}, nil
	}
	return h.status(), nil
}

func (h *head) status() coordination.Status {
	return coordination.Status{Exists: true, Lineage: h.lineage.String(), Epoch: h.epoch, Seq: h.seq, Holder: h.holder}
}

// readHead returns nil without error when there is no chain yet, and ErrLineage when the chain is not the continuation of what was seen before.
func (c *Coordinator) readHead(ctx context.Context) (*head, uint64, error) {
	before := c.seen.newest() // what others of this process see while the read is under way proves nothing about it
	if c.ctx.Err() != nil {
		return nil, 0, context.Cause(c.ctx)
	}
	e, err := c.store.Get(ctx, chainKey)
	if err != nil {
		return nil, 0, fmt.Errorf("read chain: %w", err)
	}
	return c.headOf(e, before)
}

// readHeadAnd reads another key with the chain in one request: the shorter a claim takes, the better are its chances against a holder that commits.
func (c *Coordinator) readHeadAnd(ctx context.Context, key string) (*head, uint64, backend.Entry, error) {
	before := c.seen.newest()
	if c.ctx.Err() != nil {
		return nil, 0, backend.Entry{}, context.Cause(c.ctx)
	}
	es, err := c.store.GetMany(ctx, []string{chainKey, key})
	if err != nil {
		return nil, 0, backend.Entry{}, fmt.Errorf("read chain: %w", err)
	}
	h, version, err := c.headOf(es[0], before)
	return h, version, es[1], err
}

func (c *Coordinator) headOf(e backend.Entry, before commitID) (*head, uint64, error) {
	if e.Version == 0 {
		return nil, 0, before.since(nil)
	}
	h, err := decodeHead(chainKey, e.Value)
	if err != nil {
		return nil, 0, err
	}
	if err := before.since(&h); err != nil {
		return nil, 0, fmt.Errorf("read chain: %w", err)
	}
	c.seen.note(h.id())
	return &h, e.Version, nil
}

// Close closes the store.
func (c *Coordinator) Close() error {
	c.cancel(coordination.ErrClosed)
	return c.store.Close()
}

// merge returns a context that ends with ctx or with the coordinator.
func (c *Coordinator) merge(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.ctx, func() { cancel(context.Cause(c.ctx)) })
	return ctx, func() { stop(); cancel(nil) }
}

func slotKey(seq uint64) string           { return fmt.Sprintf("ring/%02d", seq%RingSlots) }
func brokerKey(id int32) string           { return "brokers/" + strconv.Itoa(int(id)) }
func recordKey(key string) string         { return "records/" + url.PathEscape(key) }
func recordName(k string) (string, error) { return url.PathUnescape(strings.TrimPrefix(k, "records/")) }

// retryable says whether trying again can help.
func retryable(err error) bool {
	return errors.Is(err, coordination.ErrUnavailable) || errors.Is(err, coordination.ErrOutcomeUnknown) ||
		errors.Is(err, context.DeadlineExceeded)
}

// backoff is a pause that doubles.
type backoff struct {
	from, to, next time.Duration
}

func (b *backoff) reset() { b.next = 0 }

// wait pauses; false when ctx ended.
func (b *backoff) wait(ctx context.Context) bool {
	d := max(b.next, b.from)
	b.next = min(2*d, b.to)
	return pause(ctx, d)
}

// pause waits d, or until ctx ends; false then.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
