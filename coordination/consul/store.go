// Package consul is the Consul backend of the coordination.
//
// # Layout
//
//	KV PREFIX/chain, PREFIX/ring/NN, PREFIX/records/KEY   keys without a lock
//	KV PREFIX/controller, PREFIX/brokers/ID               keys locked by the session that made them, and deleted with it
//	KV PREFIX/sessions/SID                                empty, locked by session SID: proves to a transaction that the session lives
//	catalog node regency-PREFIX (slashes as dashes)       what all sessions of the cluster are bound to
//
// Versions are ModifyIndex, the index of the Raft entry that wrote the key. Directories do not exist.
//
// # Sessions
//
// A session lives by renewals alone. It has a TTL and no checks: serfHealth, which the service adds unasked, would end it by the gossip of the agents. It is
// bound to a catalog node of the cluster's own that no agent runs. Bound to the agent's node, as by default, it ends when that node is deregistered, which autopilot
// does by itself to a server that died, and an operator by removing an agent.
//
// The leader ends a session two TTLs after its last renewal, by its own timer, and a new leader starts all timers in full. A leader that was
// deposed and does not know it answers renewals for up to its lease (500 ms × raft_multiplier), while the new one's timers run already. So
// at the answer to a renewal that was sent at t, the service holds the session until t + 2 TTL less that lease at least; t + TTL is provable where
// a TTL is longer than the lease, as it must be for a session to survive a change of leaders anyway. (An operator can destroy any session at any time,
// on every backend.)
//
// # Sessions kept by a check
//
// With check=400ms a session has no TTL. It is bound to a TTL check at the first host of the URL, an agent beside this process, which this
// process passes again and again; the transaction that marks the check critical ends the session. There is no floor of 10 s and no wait for twice the TTL, and servers
// need no setting. In return nothing bounds such a session's life from below (Capabilities.ProvableDeadline is false):
//
//   - Each process needs an agent of its own, named first: a check, and with it the session, ends with its agent. A dead agent cannot say so itself. The session is
//     therefore bound to serfHealth as well: it ends when the agents' gossip has found the agent dead, in seconds, or in 0.4 s with gossip_lan
//     probe_interval 100ms, probe_timeout 50ms, suspicion_mult 2, gossip_interval 20ms. An agent that is away for
//     longer than the check's TTL ends it, too: its checks begin as critical then.
//   - The further hosts serve reads and transactions when the first does not, and say that the session is over when the first cannot.
//   - While the servers have no leader nothing ends. An agent's report of a critical check waits up to rpc_hold_timeout (7 s) for one; later it is
//     repeated at the agent's next full synchronisation only, about a minute on.
//   - What a crash leaves at the agent is a critical check; the next session of the same prefix at that agent removes it.
//
// # Rights
//
// With ACLs that deny by default, a token needs this policy, for a prefix "cluster-a" (slashes of a prefix become dashes in regency-…):
//
//	key_prefix "cluster-a/"         { policy = "write" }
//	session    "regency-cluster-a" { policy = "write" }
//	node       "regency-cluster-a" { policy = "write" }
//
// With check= instead, the names in the last two rules are that of the agent's node. The agents need nothing more.
//
// TLS is towards an agent's ports.https; ca= verifies the agent, cert= and key= serve an agent with verify_incoming.
package consul

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

const (
	// maxOps and maxBody are the service's limits on one transaction: maxTxnOps (agent/txn_endpoint.go), and txn_max_req_len, by default as
	// large as kv_max_value_size. The body is JSON, values in it base64.
	maxOps  = 128
	maxBody = 512 << 10
	// opOverhead bounds the encoding of an operation without its key and value.
	opOverhead = 200
	// listFactor is by how much a read of many keys may take longer than one request.
	listFactor = 10
	// batchReads is how many keys one reading transaction asks for.
	batchReads = 64
)

const sessionDir = "sessions"

// Store implements backend.Store.
type Store struct {
	cfg    Config
	agents *agents
	logger *slog.Logger
}

// NewStore checks the configuration and reads the files that it names; it connects at first use.
func NewStore(cfg Config, logger *slog.Logger) (backend.Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("consul: %w", err)
	}
	cfg, tlsConfig, err := cfg.withDefaults().load()
	if err != nil {
		return nil, fmt.Errorf("consul: %w", err)
	}
	return newStore(cfg, tlsConfig, logger)
}

func newStore(cfg Config, tlsConfig *tls.Config, logger *slog.Logger) (*Store, error) {
	first := rand.Uint32N(uint32(len(cfg.Hosts)))
	if cfg.Check > 0 {
		first = 0 // our own agent
	}
	a, err := newAgents(cfg, tlsConfig, first)
	if err != nil {
		return nil, fmt.Errorf("consul: %w", err)
	}
	return &Store{cfg: cfg, agents: a, logger: logger}, nil
}

// Capabilities: the service grants any TTL from session_ttl_min on, which is the servers' to know; it refuses a shorter one.
//
// Beside the mutations, a commit's transaction has the session's check, the chain record, which repeats mutations of up to 16 KiB, the ring record, which
// repeats any, and guards; and all values grow by a third on the way.
func (s *Store) Capabilities() coordination.Capabilities {
	shortest := min(DefaultSession, s.cfg.Session)
	if s.cfg.Check > 0 {
		shortest = minCheck
	}
	perOp := opOverhead + len(s.key("records/"))
	maxCommitBytes := (maxBody - maxOps*perOp - 24<<10) * 3 / 4 / 2
	return coordination.Capabilities{
		Backend: "consul", MinTimeout: shortest, Granularity: time.Nanosecond,
		ProvableDeadline: s.cfg.Check == 0, CrossProcess: true, Persistent: true,
		MaxCommitBytes: maxCommitBytes, MaxCommitMutations: maxOps - 8,
	}
}

func (s *Store) key(key string) string { return s.cfg.Prefix + "/" + key }

// entry turns a pair of the service into one of ours. A key that is absent comes without a ModifyIndex, or not at all.
func (s *Store) entry(key string, pair *api.KVPair) backend.Entry {
	if pair == nil || pair.ModifyIndex == 0 {
		return backend.Entry{Key: key}
	}
	return backend.Entry{Key: key, Value: pair.Value, Version: pair.ModifyIndex}
}

// Get implements backend.Store.
func (s *Store) Get(ctx context.Context, key string) (backend.Entry, error) {
	entries, err := s.GetMany(ctx, []string{key})
	if err != nil {
		return backend.Entry{}, err
	}
	return entries[0], nil
}

// GetMany implements backend.Store by reading transactions: one request instead of one for each key, and keys travel in the body, where no
// path rules apply to them.
func (s *Store) GetMany(ctx context.Context, keys []string) ([]backend.Entry, error) {
	entries := make([]backend.Entry, 0, len(keys))
	for start := 0; start < len(keys); start += batchReads {
		batch := keys[start:min(start+batchReads, len(keys))]
		var ops api.TxnOps
		for _, key := range batch {
			ops = append(ops, &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVGetOrEmpty, Key: s.key(key)}})
		}
		results, err := s.readTxn(ctx, ops)
		if err != nil {
			return nil, translate("get "+batch[0], err)
		}
		for i, key := range batch {
			entries = append(entries, s.entry(key, results[i].KV))
		}
	}
	return entries, nil
}

// readTxn reads in one transaction. Each operation but that of a directory has one result.
func (s *Store) readTxn(ctx context.Context, ops api.TxnOps) (api.TxnResults, error) {
	limit := s.cfg.Request
	if len(ops) > 1 {
		limit *= listFactor
	}
	tree := ops[len(ops)-1].KV.Verb == api.KVGetTree
	var results api.TxnResults
	err := s.agents.repeat(ctx, limit, func(ctx context.Context, c *api.Client) error {
		ok, resp, _, err := c.Txn().Txn(ops, (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
		switch {
		case err != nil:
			return err
		case !ok:
			return fmt.Errorf("reading transaction refused: %s", whats(resp.Errors))
		case !tree && len(resp.Results) != len(ops), tree && len(resp.Results) < len(ops)-1:
			return fmt.Errorf("%d results for %d reads", len(resp.Results), len(ops))
		}
		results = resp.Results
		return nil
	})
	return results, err
}

// Load implements backend.Store: one look at the key, and then a transaction that reads it again together with the directory, at one instant.
func (s *Store) Load(ctx context.Context, key, dir string, begun func(backend.Entry)) (backend.Entry, []backend.Entry, error) {
	e, err := s.Get(ctx, key)
	if err != nil {
		return backend.Entry{}, nil, err
	}
	begun(e)
	prefix := s.key(dir) + "/"
	results, err := s.readTxn(ctx, api.TxnOps{
		{KV: &api.KVTxnOp{Verb: api.KVGetOrEmpty, Key: s.key(key)}},
		{KV: &api.KVTxnOp{Verb: api.KVGetTree, Key: prefix}},
	})
	if err != nil {
		return backend.Entry{}, nil, translate("load "+dir, err)
	}
	entries := make([]backend.Entry, 0, len(results)-1)
	for _, r := range results[1:] {
		entries = append(entries, s.entry(dir+"/"+strings.TrimPrefix(r.KV.Key, prefix), r.KV))
	}
	return s.entry(key, results[0].KV), entries, nil
}

func whats(errs api.TxnErrors) string {
	var list []string
	for _, e := range errs {
		list = append(list, fmt.Sprintf("operation %d: %s", e.OpIndex, e.What))
	}
	return strings.Join(list, "; ")
}

// List implements backend.Store.
func (s *Store) List(ctx context.Context, dir string) ([]backend.Entry, error) {
	entries, _, err := s.list(ctx, dir, &api.QueryOptions{RequireConsistent: true})
	return entries, translate("list "+dir, err)
}

// list reads a directory; with a WaitIndex it blocks.
func (s *Store) list(ctx context.Context, dir string, q *api.QueryOptions) (entries []backend.Entry, index uint64, err error) {
	prefix := s.key(dir) + "/"
	err = s.read(ctx, s.cfg.Request*listFactor, q, func(c *api.Client, q *api.QueryOptions) (*api.QueryMeta, error) {
		pairs, meta, err := c.KV().List(prefix, q)
		if err != nil {
			return meta, err
		}
		entries = make([]backend.Entry, 0, len(pairs))
		for _, p := range pairs {
			entries = append(entries, s.entry(dir+"/"+strings.TrimPrefix(p.Key, prefix), p))
		}
		index = meta.LastIndex
		return meta, nil
	})
	return entries, index, err
}

// get reads a key; with a WaitIndex it blocks.
func (s *Store) get(ctx context.Context, key string, q *api.QueryOptions) (entry backend.Entry, index uint64, err error) {
	err = s.read(ctx, s.cfg.Request, q, func(c *api.Client, q *api.QueryOptions) (*api.QueryMeta, error) {
		pair, meta, err := c.KV().Get(s.key(key), q)
		if err != nil {
			return meta, err
		}
		entry, index = s.entry(key, pair), meta.LastIndex
		return meta, nil
	})
	return entry, index, err
}

// read runs a query. One that blocks is tried at one agent only: after a failure its index is not to be trusted elsewhere without a look.
func (s *Store) read(ctx context.Context, limit time.Duration, q *api.QueryOptions, fn func(*api.Client, *api.QueryOptions) (*api.QueryMeta, error)) error {
	run := s.agents.repeat
	if q.WaitIndex > 0 {
		run = s.agents.once
		limit += q.WaitTime + q.WaitTime/16 // the service waits up to a sixteenth longer
	}
	return run(ctx, limit, func(ctx context.Context, c *api.Client) error {
		meta, err := fn(c, q.WithContext(ctx))
		if err == nil && !meta.KnownLeader {
			return errors.New("the agent knows no leader")
		}
		return err
	})
}

// Close implements backend.Store. Sessions that were opened are not ended.
func (s *Store) Close() error {
	s.agents.close()
	return nil
}
