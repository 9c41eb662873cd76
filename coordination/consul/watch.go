package consul

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/regency-project/regency/coordination/backend"
)

// heartbeat is how long a blocking query waits for a change. With the sixteenth that the service may add, and the limit of a request, a frozen
// agent is left within backend.HeartbeatInterval.
const heartbeat = time.Second

// errWentBack: the service's index is lower than before. It was restored from a snapshot, or the agent follows a deposed leader.
var errWentBack = errors.New("index went back")

// Watch implements backend.Store.
func (s *Store) Watch(ctx context.Context, key string, fn func(backend.Entry)) error {
	return follow(ctx, "watch "+key, func(q *api.QueryOptions) (uint64, error) {
		entry, index, err := s.get(ctx, key, q)
		if err != nil {
			return 0, err
		}
		return index, told(q, index, func() { fn(entry) })
	})
}

// WatchDir implements backend.Store.
func (s *Store) WatchDir(ctx context.Context, dir string, fn func([]backend.Entry)) error {
	return follow(ctx, "watch directory "+dir, func(q *api.QueryOptions) (uint64, error) {
		entries, index, err := s.list(ctx, dir, q)
		if err != nil {
			return 0, err
		}
		return index, told(q, index, func() { fn(entries) })
	})
}

// follow runs look with a consistent read first, and then with blocking queries.
//
// Those are not consistent ones, which would cost the leader a round to a majority at every wake of every watcher: a leader that was deposed may answer for up to
// its lease. What it then knows is old, and shows a lower index than we have seen, since the index of a key or directory, deletions included,
// only grows; told drops it. New and wrong it cannot be: only what is committed is shown.
func follow(ctx context.Context, verb string, look func(*api.QueryOptions) (uint64, error)) error {
	q := &api.QueryOptions{RequireConsistent: true}
	for {
		index, err := look(q)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return translate(verb, err)
		}
		if index == 0 {
			return translate(verb, errors.New("the service told no index"))
		}
		q = &api.QueryOptions{WaitIndex: index, WaitTime: heartbeat}
	}
}

// told delivers what was read unless it is older than what was told before.
func told(q *api.QueryOptions, index uint64, deliver func()) error {
	if index < q.WaitIndex {
		return fmt.Errorf("%w from %d to %d", errWentBack, q.WaitIndex, index)
	}
	deliver()
	return nil
}
