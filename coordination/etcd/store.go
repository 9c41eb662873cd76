// Package etcd is the coordination backend on an etcd v3 cluster.
//
// Keys lie under the configured prefix:
//
//	PREFIX/chain, PREFIX/controller, PREFIX/ring/NN, PREFIX/brokers/ID, PREFIX/records/KEY   see package backend
//	PREFIX/sessions/LEASE                                                                    one empty key per session, bound to its lease
//
// A version is the key's modification revision. The session key is a guard of each of the session's transactions: after the service ended
// the lease no transaction of that session applies, not even one that writes nothing ephemeral.
//
// Every member of the etcd cluster has a client of its own and each try is short, because a member that accepts and stays silent (stopped,
// black-holed) otherwise holds requests for seconds.
package etcd

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/chain"
)

const (
	sessionsDir = "sessions"
	// pageSize is how many entries the first answer of a directory read has at most, so that it fits in one try. Further ones have more where entries are so small that
	// pageBytes holds them.
	pageSize  = 2000
	pageBytes = 2 << 20
	// getBatch bounds one answer of GetMany likewise: each value may be as large as a request.
	getBatch = 16
)

// The service's limits as shipped: --max-request-bytes and --max-txn-ops.
const (
	maxRequestBytes = 3 << 19
	maxTxnOps       = 128
	// overhead covers the chain record with its inline copy, key names and the encoding.
	overhead = 64 << 10
)

// Store implements backend.Store.
type Store struct {
	cfg    Config
	caps   coordination.Capabilities
	prefix string
	ms     *members
}

// NewStore makes a store. It connects lazily: an unreachable service shows in the first request.
func NewStore(cfg Config) (*Store, error) {
	return NewNamedStore("etcd", cfg)
}

// NewNamedStore is NewStore for a backend that is etcd under another name.
func NewNamedStore(name string, cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("%s configuration: %w", name, err)
	}
	cfg, t, err := cfg.withDefaults().load()
	if err != nil {
		return nil, fmt.Errorf("%s configuration: %w", name, err)
	}
	ms, err := dialMembers(cfg, t)
	if err != nil {
		return nil, err
	}
	return &Store{cfg: cfg, prefix: cfg.Prefix + "/", ms: ms, caps: coordination.Capabilities{
		Backend:    name,
		MinTimeout: time.Second, Granularity: time.Second,
		ProvableDeadline: true, CrossProcess: true, Persistent: true,
		// A server checks that it still leads before it revokes leases, unless its raft ticked in the last three intervals (ensureLeadership of etcd 3.7.3),
		// which is the first thing it does when it wakes.
		WakingServerEndsSessions: true,
		// A commit writes its mutations twice, as records and in the ring, and the chain record as well.
		MaxCommitBytes: (maxRequestBytes - overhead - maxTxnOps*len(cfg.Prefix)) / 2, MaxCommitMutations: maxTxnOps - 2,
	}}, nil
}

// Open makes a coordinator over the service.
func Open(_ context.Context, cfg Config, logger *slog.Logger) (coordination.Coordinator, error) {
	store, err := NewStore(cfg)
	if err != nil {
		return nil, err
	}
	return chain.New(store, chain.Options{Logger: logger, RenewEvery: cfg.Renew}), nil
}

// Capabilities implements backend.Store.
func (s *Store) Capabilities() coordination.Capabilities { return s.caps }

// Close implements backend.Store.
func (s *Store) Close() error { return s.ms.close() }

func (s *Store) entry(kv *mvccpb.KeyValue) backend.Entry {
	return backend.Entry{Key: strings.TrimPrefix(string(kv.Key), s.prefix), Value: kv.Value, Version: uint64(kv.ModRevision)}
}

// Get implements backend.Store.
func (s *Store) Get(ctx context.Context, key string) (backend.Entry, error) {
	e, _, err := s.get(ctx, key)
	return e, err
}

// get also returns the store's revision of that read.
func (s *Store) get(ctx context.Context, key string) (e backend.Entry, rev int64, err error) {
	err = s.ms.each(ctx, func(ctx context.Context, m *member) error {
		resp, err := m.client.Get(ctx, s.prefix+key)
		if err != nil {
			return err
		}
		e, rev = backend.Entry{Key: key}, resp.Header.Revision
		if len(resp.Kvs) > 0 {
			e = s.entry(resp.Kvs[0])
		}
		return nil
	})
	if err != nil {
		return backend.Entry{}, 0, translateRead(ctx, "get "+key, err)
	}
	return e, rev, nil
}

// GetMany implements backend.Store by read transactions: each batch is one instant.
func (s *Store) GetMany(ctx context.Context, keys []string) ([]backend.Entry, error) {
	out := make([]backend.Entry, 0, len(keys))
	for start := 0; start < len(keys); start += getBatch {
		batch := keys[start:min(start+getBatch, len(keys))]
		ops := make([]clientv3.Op, len(batch))
		for i, k := range batch {
			ops[i] = clientv3.OpGet(s.prefix + k)
		}
		var resp *clientv3.TxnResponse
		err := s.ms.each(ctx, func(ctx context.Context, m *member) (err error) {
			resp, err = m.client.Txn(ctx).Then(ops...).Commit()
			return err
		})
		if err != nil {
			return nil, translateRead(ctx, fmt.Sprintf("get %d keys", len(keys)), err)
		}
		for i, r := range resp.Responses {
			e := backend.Entry{Key: batch[i]}
			if kvs := r.GetResponseRange().GetKvs(); len(kvs) > 0 {
				e = s.entry(kvs[0])
			}
			out = append(out, e)
		}
	}
	return out, nil
}

// List implements backend.Store. All pages are read at the first one's revision: the result is one instant.
func (s *Store) List(ctx context.Context, dir string) ([]backend.Entry, error) {
	entries, _, err := s.list(ctx, dir)
	return entries, err
}

func (s *Store) list(ctx context.Context, dir string) (entries []backend.Entry, rev int64, err error) {
	p := s.pages(dir)
	for p.left() {
		if err := p.read(ctx); err != nil {
			return nil, 0, translateRead(ctx, "list "+dir, err)
		}
	}
	return p.entries, p.rev, nil
}

// Load implements backend.Store. The key is read with the first page: the result is one instant.
func (s *Store) Load(ctx context.Context, key, dir string, begun func(backend.Entry)) (backend.Entry, []backend.Entry, error) {
	p := s.pages(dir)
	e := backend.Entry{Key: key}
	err := p.readWith(ctx, key, &e)
	if err == nil {
		begun(e)
	}
	for err == nil && p.left() {
		err = p.read(ctx)
	}
	if err != nil {
		return backend.Entry{}, nil, translateRead(ctx, "load "+dir, err)
	}
	return e, p.entries, nil
}

var _ backend.Store = (*Store)(nil)
