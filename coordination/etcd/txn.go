package etcd

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

// sizeStep: the request limit is for a small transaction; each step of its size adds another. A large one that ran out of time would never be applied: it
// takes as long again the next time.
const sizeStep = 64 << 10

// Txn implements backend.Session: one etcd transaction. Its first compare is the session key. The else branch reads the keys of all
// guards, so that the answer can name the one that did not hold.
func (ses *session) Txn(ctx context.Context, guards []backend.Guard, ops []backend.Op) ([]uint64, error) {
	if err := ses.alive("txn"); err != nil {
		return nil, err
	}
	s := ses.store
	m, err := s.ms.connected(ctx)
	if err != nil {
		return nil, translateUnsent(ctx, "txn", err)
	}
	compares := []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(s.prefix+ses.key), ">", 0)}
	reads := []clientv3.Op{clientv3.OpGet(s.prefix+ses.key, clientv3.WithKeysOnly())}
	for _, g := range guards {
		compares = append(compares, clientv3.Compare(clientv3.ModRevision(s.prefix+g.Key), "=", int64(g.Version)))
		reads = append(reads, clientv3.OpGet(s.prefix+g.Key, clientv3.WithKeysOnly()))
	}
	writes := make([]clientv3.Op, len(ops))
	size := 0
	for i, op := range ops {
		size += len(op.Key) + len(op.Value)
		if writes[i], err = ses.write(op); err != nil {
			return nil, err
		}
	}
	tctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), s.cfg.Request*time.Duration(1+size/sizeStep))
	defer cancel()
	resp, err := m.client.Txn(tctx).If(compares...).Then(writes...).Else(reads...).Commit()
	if err != nil {
		return nil, ses.txnError(m, err)
	}
	if !resp.Succeeded {
		return nil, ses.conflict(guards, resp)
	}
	versions := make([]uint64, len(ops))
	for i, op := range ops {
		if op.Kind != backend.Delete {
			versions[i] = uint64(resp.Header.Revision)
		}
	}
	return versions, nil
}

func (ses *session) write(op backend.Op) (clientv3.Op, error) {
	key := ses.store.prefix + op.Key
	switch op.Kind {
	case backend.Create, backend.Set:
		return clientv3.OpPut(key, string(op.Value)), nil
	case backend.CreateEphemeral, backend.ReplaceEphemeral:
		// A put moves the key to the given lease: the old holder's end no longer deletes it.
		return clientv3.OpPut(key, string(op.Value), clientv3.WithLease(ses.lease)), nil
	case backend.Delete:
		return clientv3.OpDelete(key), nil
	}
	return clientv3.Op{}, fmt.Errorf("txn: operation kind %d on %q is unknown", op.Kind, op.Key)
}

// txnError also draws the consequences for what comes next: a member that let the request time out is not asked first again, and a
// refused token is dropped so that the next request fetches one.
func (ses *session) txnError(m *member, err error) error {
	if isLeaseGone(err) {
		return ses.lost("txn")
	}
	ms := ses.store.ms
	if ms.tokens != nil && needsToken(err) {
		ms.tokens.set("")
	} else {
		ms.demote(m)
	}
	return translateTxn(explain(ms.cfg, err))
}

// conflict finds the first guard that does not hold in what the else branch read.
func (ses *session) conflict(guards []backend.Guard, resp *clientv3.TxnResponse) error {
	version := func(i int) uint64 {
		if kvs := resp.Responses[i].GetResponseRange().GetKvs(); len(kvs) > 0 {
			return uint64(kvs[0].ModRevision)
		}
		return 0
	}
	if version(0) == 0 {
		return ses.lost("txn")
	}
	for i, g := range guards {
		if version(i+1) != g.Version {
			return fmt.Errorf("txn: %w", &coordination.ConflictError{Guard: i, Key: g.Key})
		}
	}
	return fmt.Errorf("txn: %w", &coordination.ConflictError{Guard: -1})
}
