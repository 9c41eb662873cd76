package metered

import (
	"context"
	"sync"
	"time"

	"github.com/regency-project/regency/coordination/backend"
)

// store decorates a backend.Store.
type store struct {
	backend.Store
	m     *Metrics
	name  string
	inbox deliveries
}

// Store decorates s. It has the signature of a backend.Decorator.
func (m *Metrics) Store(s backend.Store) backend.Store {
	return &store{Store: s, m: m, name: s.Capabilities().Backend}
}

// done observes an operation that began at the given time.
func (s *store) done(operation string, began time.Time, err error) {
	s.m.latency.WithLabelValues(s.name, operation).Observe(time.Since(began).Seconds())
	if err != nil {
		s.m.errors.WithLabelValues(s.name, operation, Kind(err)).Inc()
	}
}

func (s *store) Get(ctx context.Context, key string) (backend.Entry, error) {
	began := time.Now()
	e, err := s.Store.Get(ctx, key)
	s.done("get", began, err)
	return e, err
}

func (s *store) GetMany(ctx context.Context, keys []string) ([]backend.Entry, error) {
	began := time.Now()
	es, err := s.Store.GetMany(ctx, keys)
	s.done("get_many", began, err)
	return es, err
}

func (s *store) List(ctx context.Context, dir string) ([]backend.Entry, error) {
	began := time.Now()
	es, err := s.Store.List(ctx, dir)
	s.done("list", began, err)
	return es, err
}

func (s *store) Load(ctx context.Context, key, dir string, first func(backend.Entry)) (backend.Entry, []backend.Entry, error) {
	began := time.Now()
	e, es, err := s.Store.Load(ctx, key, dir, first)
	s.done("load", began, err)
	return e, es, err
}

func (s *store) Watch(ctx context.Context, key string, fn func(backend.Entry)) error {
	events := s.m.events.WithLabelValues(s.name, "watch")
	err := s.Store.Watch(ctx, key, func(e backend.Entry) {
		events.Inc()
		s.told(e)
		fn(e)
	})
	s.brokeOff(ctx, "watch", err)
	return err
}

func (s *store) WatchDir(ctx context.Context, dir string, fn func([]backend.Entry)) error {
	events := s.m.events.WithLabelValues(s.name, "watch_dir")
	err := s.Store.WatchDir(ctx, dir, func(es []backend.Entry) {
		events.Inc()
		fn(es)
	})
	s.brokeOff(ctx, "watch_dir", err)
	return err
}

func (s *store) brokeOff(ctx context.Context, operation string, err error) {
	if err != nil && ctx.Err() == nil {
		s.m.errors.WithLabelValues(s.name, operation, Kind(err)).Inc()
	}
}

func (s *store) told(e backend.Entry) {
	if took, ok := s.inbox.told(delivered{e.Key, e.Version}, time.Now()); ok {
		s.m.delivery.WithLabelValues(s.name).Observe(took.Seconds())
	}
}

func (s *store) OpenSession(ctx context.Context) (backend.Session, error) {
	began := time.Now()
	x, err := s.Store.OpenSession(ctx)
	s.done("open_session", began, err)
	if err != nil {
		return nil, err
	}
	return &storeSession{Session: x, s: s}, nil
}

// storeSession decorates a backend.Session.
type storeSession struct {
	backend.Session
	s *store
}

func (x *storeSession) Renew(ctx context.Context) (time.Time, error) {
	began := time.Now()
	deadline, err := x.Session.Renew(ctx)
	x.s.done("renew", began, err)
	return deadline, err
}

func (x *storeSession) Txn(ctx context.Context, guards []backend.Guard, ops []backend.Op) ([]uint64, error) {
	began := time.Now()
	versions, err := x.Session.Txn(ctx, guards, ops)
	x.s.done("txn", began, err)
	if err != nil {
		return nil, err
	}
	for i, op := range ops {
		if op.Kind == backend.Delete {
			continue
		}
		if took, ok := x.s.inbox.wrote(delivered{op.Key, versions[i]}, began); ok {
			x.s.m.delivery.WithLabelValues(x.s.name).Observe(took.Seconds())
		}
	}
	return versions, nil
}

func (x *storeSession) Close(ctx context.Context) error {
	began := time.Now()
	err := x.Session.Close(ctx)
	x.s.done("close_session", began, err)
	return err
}

// delivered is a version of a key, which one transaction wrote.
type delivered struct {
	key     string
	version uint64
}

// keepDeliveries bounds what waits for its other half. Most never meets it (a record that nobody watches), so it is overwritten in turn.
const keepDeliveries = 128

// deliveries pairs transactions with the watch events that tell of them. Either may be known first: an event can overtake the transaction's answer.
type deliveries struct {
	mu         sync.Mutex
	sent, seen ring
}

// ring keeps the newest few instants.
type ring struct {
	at   map[delivered]time.Time
	keys [keepDeliveries]delivered
	next int
}

func (r *ring) put(d delivered, t time.Time) {
	if r.at == nil {
		r.at = make(map[delivered]time.Time, keepDeliveries)
	}
	if _, there := r.at[d]; there {
		return
	}
	delete(r.at, r.keys[r.next])
	r.keys[r.next], r.at[d] = d, t
	r.next = (r.next + 1) % keepDeliveries
}

// wrote notes that the transaction sent at the given time wrote d; if a watch has told of it, it returns how long that took.
func (q *deliveries) wrote(d delivered, sent time.Time) (time.Duration, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if seen, ok := q.seen.at[d]; ok && !seen.Before(sent) {
		return seen.Sub(sent), true
	}
	q.sent.put(d, sent)
	return 0, false
}

// told notes that a watch told of d. Only the first telling of a version that is waited for gives a duration.
func (q *deliveries) told(d delivered, now time.Time) (time.Duration, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, again := q.seen.at[d]
	q.seen.put(d, now)
	sent, ok := q.sent.at[d]
	if !ok || again {
		return 0, false
	}
	delete(q.sent.at, d)
	return now.Sub(sent), true
}
