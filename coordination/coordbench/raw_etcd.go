package coordbench

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/regency-project/regency/coordination/backend"
)

// rawTTL is the life of a raw session: nothing renews it, and no run lasts as long.
const rawTTL = 6 * time.Hour

var errRefused = errors.New("the transaction was refused")

type rawEtcd struct {
	client *clientv3.Client
	prefix string
	known  *versions
}

func openRawEtcd(endpoint, prefix string) (rawClient, error) {
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return nil, fmt.Errorf("raw etcd client: %w", err)
	}
	return &rawEtcd{client: c, prefix: prefix + "/", known: newVersions()}, nil
}

func (r *rawEtcd) Close() { _ = r.client.Close() }

type rawEtcdSession struct {
	*rawEtcd
	lease clientv3.LeaseID
	key   string
	owned []string // ephemeral keys that it made
}

func (r *rawEtcd) OpenSession(ctx context.Context) (rawSession, error) {
	grant, err := r.client.Grant(ctx, int64(rawTTL/time.Second))
	if err != nil {
		return nil, err
	}
	s := &rawEtcdSession{rawEtcd: r, lease: grant.ID, key: fmt.Sprintf("%ssessions/%016x", r.prefix, uint64(grant.ID))}
	_, err = r.client.Put(ctx, s.key, "", clientv3.WithLease(s.lease))
	return s, err
}

func (s *rawEtcdSession) Txn(ctx context.Context, guards []backend.Guard, ops []backend.Op) (uint64, error) {
	compares := []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(s.key), ">", 0)}
	reads := []clientv3.Op{clientv3.OpGet(s.key, clientv3.WithKeysOnly())}
	for _, g := range guards {
		compares = append(compares, clientv3.Compare(clientv3.ModRevision(s.prefix+g.Key), "=", int64(s.known.get(g.Key))))
		reads = append(reads, clientv3.OpGet(s.prefix+g.Key, clientv3.WithKeysOnly()))
	}
	var writes []clientv3.Op
	for _, op := range ops {
		switch op.Kind {
		case backend.Delete:
			writes = append(writes, clientv3.OpDelete(s.prefix+op.Key))
		case backend.CreateEphemeral, backend.ReplaceEphemeral:
			writes = append(writes, clientv3.OpPut(s.prefix+op.Key, string(op.Value), clientv3.WithLease(s.lease)))
			s.owned = append(s.owned, op.Key)
		default:
			writes = append(writes, clientv3.OpPut(s.prefix+op.Key, string(op.Value)))
		}
	}
	resp, err := s.client.Txn(ctx).If(compares...).Then(writes...).Else(reads...).Commit()
	if err != nil {
		return 0, err
	}
	if !resp.Succeeded {
		return 0, errRefused
	}
	version := uint64(resp.Header.Revision)
	for _, op := range ops {
		if op.Kind == backend.Delete {
			s.known.set(op.Key, 0)
		} else {
			s.known.set(op.Key, version)
		}
	}
	return version, nil
}

func (s *rawEtcdSession) Close(ctx context.Context) error {
	_, err := s.client.Revoke(ctx, s.lease)
	s.known.forget(s.owned)
	return err
}

func (r *rawEtcd) Watch(ctx context.Context, key string, fn func(uint64)) error {
	got, err := r.client.Get(ctx, r.prefix+key)
	if err != nil {
		return err
	}
	fn(0)
	for resp := range r.client.Watch(clientv3.WithRequireLeader(ctx), r.prefix+key, clientv3.WithRev(got.Header.Revision+1)) {
		if err := resp.Err(); err != nil {
			return err
		}
		for _, e := range resp.Events {
			fn(uint64(e.Kv.ModRevision))
		}
	}
	return context.Cause(ctx)
}

func (r *rawEtcd) List(ctx context.Context, prefix string) (int, error) {
	resp, err := r.client.Get(ctx, prefix+"/records/", clientv3.WithPrefix())
	if err != nil {
		return 0, err
	}
	return len(resp.Kvs), nil
}
