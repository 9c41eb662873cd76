package coordbench

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/regency-project/regency/coordination/backend"
)

type rawConsul struct {
	client *api.Client
	http   *http.Transport
	prefix string
	known  *versions
}

func openRawConsul(ctx context.Context, endpoint, prefix string) (rawClient, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: 32}
	c, err := api.NewClient(&api.Config{Address: endpoint, HttpClient: &http.Client{Transport: transport}})
	if err != nil {
		return nil, fmt.Errorf("raw consul client: %w", err)
	}
	r := &rawConsul{client: c, http: transport, prefix: prefix + "/", known: newVersions()}
	_, err = c.Catalog().Register(&api.CatalogRegistration{
		Node: r.node(), Address: "192.0.2.1", NodeMeta: map[string]string{"external-node": "true"},
	}, (&api.WriteOptions{}).WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("raw consul client: register the sessions' node: %w", err)
	}
	return r, nil
}

// node is registered by the layer as well, once for a cluster.
func (r *rawConsul) node() string {
	return "raw-" + strings.ReplaceAll(strings.TrimSuffix(r.prefix, "/"), "/", "-")
}

func (r *rawConsul) Close() { r.http.CloseIdleConnections() }

type rawConsulSession struct {
	*rawConsul
	id    string
	owned []string // ephemeral keys that it made
}

func (r *rawConsul) OpenSession(ctx context.Context) (rawSession, error) {
	id, _, err := r.client.Session().CreateNoChecks(&api.SessionEntry{
		Name: "regency", Node: r.node(), TTL: rawTTL.String(), Behavior: api.SessionBehaviorDelete, LockDelay: time.Nanosecond,
	}, (&api.WriteOptions{}).WithContext(ctx))
	if err != nil {
		return nil, err
	}
	s := &rawConsulSession{rawConsul: r, id: id}
	_, err = s.send(ctx, api.TxnOps{{KV: &api.KVTxnOp{Verb: api.KVLock, Key: s.proof(), Session: id}}})
	return s, err
}

func (s *rawConsulSession) proof() string { return s.prefix + "sessions/" + s.id }

func (s *rawConsulSession) send(ctx context.Context, ops api.TxnOps) (uint64, error) {
	ok, resp, _, err := s.client.Txn().Txn(ops, (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, fmt.Errorf("%w: %s", errRefused, resp.Errors[0].What)
	}
	version := uint64(0)
	for _, result := range resp.Results {
		if result.KV != nil {
			version = max(version, result.KV.ModifyIndex)
		}
	}
	return version, nil
}

func (s *rawConsulSession) Txn(ctx context.Context, guards []backend.Guard, ops []backend.Op) (uint64, error) {
	txn := api.TxnOps{{KV: &api.KVTxnOp{Verb: api.KVCheckSession, Key: s.proof(), Session: s.id}}}
	add := func(op api.KVTxnOp) { txn = append(txn, &api.TxnOp{KV: &op}) }
	guarded := map[string]bool{}
	writes := map[string]backend.OpKind{}
	for _, op := range ops {
		writes[op.Key] = op.Kind
	}
	for _, g := range guards {
		guarded[g.Key] = true
		switch version, kind := s.known.get(g.Key), writes[g.Key]; {
		case version == 0 && (kind == backend.Create || kind == backend.CreateEphemeral), version != 0 && kind == backend.Set:
		case version == 0:
			add(api.KVTxnOp{Verb: api.KVCheckNotExists, Key: s.prefix + g.Key})
		default:
			add(api.KVTxnOp{Verb: api.KVCheckIndex, Key: s.prefix + g.Key, Index: version})
		}
	}
	for _, op := range ops {
		key := s.prefix + op.Key
		switch op.Kind {
		case backend.Create:
			add(api.KVTxnOp{Verb: api.KVCAS, Key: key, Value: op.Value})
		case backend.Set:
			if guarded[op.Key] {
				add(api.KVTxnOp{Verb: api.KVCAS, Key: key, Value: op.Value, Index: s.known.get(op.Key)})
			} else {
				add(api.KVTxnOp{Verb: api.KVSet, Key: key, Value: op.Value})
			}
		case backend.Delete:
			add(api.KVTxnOp{Verb: api.KVDelete, Key: key})
		case backend.CreateEphemeral:
			add(api.KVTxnOp{Verb: api.KVCheckNotExists, Key: key})
			add(api.KVTxnOp{Verb: api.KVLock, Key: key, Value: op.Value, Session: s.id})
			s.owned = append(s.owned, op.Key)
		case backend.ReplaceEphemeral:
			add(api.KVTxnOp{Verb: api.KVDelete, Key: key})
			add(api.KVTxnOp{Verb: api.KVLock, Key: key, Value: op.Value, Session: s.id})
			s.owned = append(s.owned, op.Key)
		}
	}
	version, err := s.send(ctx, txn)
	if err != nil {
		return 0, err
	}
	for _, op := range ops {
		if op.Kind == backend.Delete {
			s.known.set(op.Key, 0)
		} else {
			s.known.set(op.Key, version)
		}
	}
	return version, nil
}

func (s *rawConsulSession) Close(ctx context.Context) error {
	s.known.forget(s.owned)
	_, err := s.client.Session().Destroy(s.id, (&api.WriteOptions{}).WithContext(ctx))
	return err
}

func (r *rawConsul) Watch(ctx context.Context, key string, fn func(uint64)) error {
	q := &api.QueryOptions{RequireConsistent: true}
	for {
		pair, meta, err := r.client.KV().Get(r.prefix+key, q.WithContext(ctx))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		if pair == nil {
			fn(0)
		} else {
			fn(pair.ModifyIndex)
		}
		q = &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: time.Second}
	}
}

func (r *rawConsul) List(ctx context.Context, prefix string) (int, error) {
	pairs, _, err := r.client.KV().List(prefix+"/records/", (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
	return len(pairs), err
}
