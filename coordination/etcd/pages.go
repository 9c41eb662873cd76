package etcd

import (
	"context"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/regency-project/regency/coordination/backend"
)

// pages reads a directory page by page, all at the first one's revision.
type pages struct {
	s         *Store
	from, end string // what is not read yet
	limit     int64  // of the next page
	rev       int64  // of the first page; 0: none is read yet
	by        *member
	entries   []backend.Entry
	done      bool
}

func (s *Store) pages(dir string) *pages {
	from := s.prefix + dir + "/"
	return &pages{s: s, from: from, end: clientv3.GetPrefixRangeEnd(from), limit: pageSize}
}

func (p *pages) left() bool { return !p.done }

func (p *pages) get(opts ...clientv3.OpOption) clientv3.Op {
	return clientv3.OpGet(p.from, append(opts, clientv3.WithRange(p.end), clientv3.WithLimit(p.limit))...)
}

// read reads the next page. The member that gave the first one has what there was at that revision and need not ask the others again; another one may lag behind.
func (p *pages) read(ctx context.Context) error {
	return p.s.ms.each(ctx, func(ctx context.Context, m *member) error {
		opts := []clientv3.OpOption{clientv3.WithRev(p.rev)}
		if m == p.by {
			opts = append(opts, clientv3.WithSerializable())
		}
		resp, err := m.client.Do(ctx, p.get(opts...))
		if err != nil {
			return err
		}
		p.take(m, resp.Get().Header.Revision, resp.Get().Kvs, resp.Get().More)
		return nil
	})
}

// readWith reads the first page and, at the same instant, a key.
func (p *pages) readWith(ctx context.Context, key string, e *backend.Entry) error {
	return p.s.ms.each(ctx, func(ctx context.Context, m *member) error {
		resp, err := m.client.Txn(ctx).Then(clientv3.OpGet(p.s.prefix+key), p.get()).Commit()
		if err != nil {
			return err
		}
		if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
			*e = p.s.entry(kvs[0])
		}
		page := resp.Responses[1].GetResponseRange()
		p.take(m, resp.Header.Revision, page.Kvs, page.More)
		return nil
	})
}

func (p *pages) take(m *member, rev int64, kvs []*mvccpb.KeyValue, more bool) {
	if p.rev == 0 {
		p.rev, p.by = rev, m
	}
	size := 1
	for _, kv := range kvs {
		p.entries = append(p.entries, p.s.entry(kv))
		size += len(kv.Key) + len(kv.Value)
	}
	if p.done = !more; more {
		p.from = string(kvs[len(kvs)-1].Key) + "\x00"
		p.limit = max(pageSize, int64(pageBytes/size*len(kvs)))
	}
}
