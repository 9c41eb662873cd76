// Package embedded is coordination without a service of its own: the brokers themselves run an etcd ensemble inside their processes. The
// first 1, 3 or 5 brokers listed are its members; further brokers are its clients. What the brokers do with it is package etcd's.
//
// A member lives in the broker's data directory under "coordination". A start without a quorum waits and says for whom. A member whose disk
// was lost is removed by the survivors and joins again as a learner, because raft must not meet a voter that has forgotten its votes.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/backend/options"
	"github.com/regency-project/regency/coordination/chain"
	"github.com/regency-project/regency/coordination/etcd"
)

const (
	// probePause is between two looks for a quorum, tellPause between two log lines about its absence.
	probePause = 50 * time.Millisecond
	tellPause  = 5 * time.Second
)

// coordinator is a client of the ensemble that also owns this process's member of it, if there is one.
type coordinator struct {
	*chain.Coordinator
	member *member // nil where the broker is only a client
	once   sync.Once
	err    error
}

// Open starts this process's member, if it is to run one, and waits until the ensemble has a quorum or ctx ends.
func Open(ctx context.Context, cfg Config, logger *slog.Logger, decorators ...backend.Decorator) (coordination.Coordinator, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("embedded coordination: %w", err)
	}
	client := cfg.Client()
	var m *member
	var err error
	if _, is := cfg.self(); is {
		if m, err = startMember(ctx, cfg, logger); err != nil {
			return nil, fmt.Errorf("embedded coordination: member %d: %w", cfg.ID, err)
		}
	}
	store, err := etcd.NewNamedStore("embedded", client)
	if err != nil {
		return nil, errors.Join(err, m.close())
	}
	if err := awaitQuorum(ctx, cfg, store, logger); err != nil {
		return nil, errors.Join(fmt.Errorf("embedded coordination: %w", err), store.Close(), m.close())
	}
	if err := cfg.checkEnsemble(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("embedded coordination: %w", err), store.Close(), m.close())
	}
	if err := m.promote(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("embedded coordination: member %d: %w", cfg.ID, err), store.Close(), m.close())
	}
	return &coordinator{Coordinator: chain.New(backend.Decorate(store, decorators...), chain.Options{Logger: logger, RenewEvery: cfg.Renew}), member: m}, nil
}

// Close ends the client, then the member.
func (c *coordinator) Close() error {
	c.once.Do(func() { c.err = errors.Join(c.Coordinator.Close(), c.member.close()) })
	return c.err
}

// awaitQuorum returns when a linearizable read succeeds.
func awaitQuorum(ctx context.Context, cfg Config, store *etcd.Store, logger *slog.Logger) error {
	var told time.Time
	began := time.Now()
	var faults options.Faults
	for {
		_, err := store.Get(ctx, "chain")
		if err == nil {
			return nil
		}
		if fault := faults.Final(err, time.Now()); fault != nil {
			return fmt.Errorf("%w: %w", coordination.ErrUnavailable, fault)
		}
		if time.Since(told) >= tellPause && time.Since(began) > time.Second {
			told = time.Now()
			logger.Info("waiting for a quorum of the coordination members", "members", len(cfg.Members()), "unreachable", cfg.unreachable(ctx))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no quorum of %d members; not reachable: %v: %w: %w", len(cfg.Members()), cfg.unreachable(context.WithoutCancel(ctx)),
				coordination.ErrUnavailable, context.Cause(ctx))
		case <-time.After(probePause):
		}
	}
}

// unreachable names the members whose peer port refuses.
func (c Config) unreachable(ctx context.Context) []string {
	members := c.Members()
	missing := make([]string, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() {
			d := net.Dialer{Timeout: 300 * time.Millisecond}
			conn, err := d.DialContext(ctx, "tcp", m.peerAddress())
			if err != nil {
				missing[i] = fmt.Sprintf("%d@%s", m.ID, m.peerAddress())
				return
			}
			_ = conn.Close()
		})
	}
	wg.Wait()
	names := missing[:0]
	for _, n := range missing {
		if n != "" {
			names = append(names, n)
		}
	}
	return names
}
