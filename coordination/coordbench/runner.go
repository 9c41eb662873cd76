package coordbench

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

// window is for how long several clients operate in one sample.
const window = 100 * time.Millisecond

// sample is what one call of a side measured.
type sample struct {
	latencies []time.Duration
	errors    int
	busy      time.Duration
	err       error // the last one
}

// runner measures one cell on one service.
type runner struct {
	layer, raw func(ctx context.Context) sample
	close      func()
}

// one makes a sample of one operation out of a measurement.
func one(f func(ctx context.Context) (time.Duration, error)) func(ctx context.Context) sample {
	return func(ctx context.Context) sample {
		ctx, cancel := context.WithTimeout(ctx, opLimit)
		defer cancel()
		d, err := f(ctx)
		if err != nil {
			return sample{errors: 1, err: err}
		}
		return sample{latencies: []time.Duration{d}, busy: d}
	}
}

// many has every client repeat its operation for a window.
func many(clients []func(ctx context.Context) (time.Duration, error)) func(ctx context.Context) sample {
	return func(ctx context.Context) sample {
		var mu sync.Mutex
		var sum sample
		var wg sync.WaitGroup
		began := time.Now()
		for _, f := range clients {
			wg.Go(func() {
				var own sample
				for time.Since(began) < window && ctx.Err() == nil {
					s := one(f)(ctx)
					own.latencies = append(own.latencies, s.latencies...)
					if own.errors += s.errors; s.err != nil {
						own.err = s.err
						break
					}
				}
				mu.Lock()
				defer mu.Unlock()
				sum.latencies = append(sum.latencies, own.latencies...)
				if sum.errors += own.errors; own.err != nil {
					sum.err = own.err
				}
			})
		}
		wg.Wait()
		sum.busy = time.Since(began)
		return sum
	}
}

// settle is the pause before an operation that follows on what others left running in the background: watches that are being set, sessions that end.
const settle = 5 * time.Millisecond

// calm makes a sample after a pause.
func calm(f func(ctx context.Context) sample) func(ctx context.Context) sample {
	return func(ctx context.Context) sample {
		select {
		case <-time.After(settle):
		case <-ctx.Done():
		}
		return f(ctx)
	}
}

// timed measures a call.
func timed(f func(ctx context.Context) error) func(ctx context.Context) (time.Duration, error) {
	return func(ctx context.Context) (time.Duration, error) {
		began := time.Now()
		err := f(ctx)
		return time.Since(began), err
	}
}

// newRunner prepares a cell on the service. Clusters are kept for the whole run: all rounds see the same content.
func (b *bench) newRunner(ctx context.Context, s *service, c Cell) (*runner, error) {
	switch c.Operation {
	case opRegister:
		return b.registerRunner(ctx, s, c)
	case opClaim:
		return b.claimRunner(ctx, s, c)
	case opCommit:
		return b.commitRunner(ctx, s, c)
	case opWatch, opFanout:
		return b.watchRunner(ctx, s, c)
	case opLoad:
		return b.loadRunner(ctx, s, c)
	case opChurn:
		return b.churnRunner(ctx, s, c)
	}
	return nil, fmt.Errorf("unknown operation %q", c.Operation)
}

func (b *bench) commitRunner(ctx context.Context, s *service, c Cell) (*runner, error) {
	var layer, raw []func(ctx context.Context) (time.Duration, error)
	for i := range c.Clients {
		records := c.Records
		if i > 0 { // the others' clusters are there for their commits alone
			records = min(span, c.Records)
		}
		cl, err := b.cluster(ctx, s, fmt.Sprintf("lead-%d-%d", records, i), records)
		if err != nil {
			return nil, err
		}
		layer = append(layer, timed(cl.commitLayer))
		raw = append(raw, timed(func(ctx context.Context) error {
			_, err := cl.commitRaw(ctx)
			return err
		}))
	}
	return sides(c, layer, raw), nil
}

func sides(c Cell, layer, raw []func(ctx context.Context) (time.Duration, error)) *runner {
	if c.Clients == 1 {
		return &runner{layer: calm(one(layer[0])), raw: calm(one(raw[0])), close: func() {}}
	}
	return &runner{layer: many(layer), raw: many(raw), close: func() {}}
}

// loadRunner reads everything, on connections that are warm.
func (b *bench) loadRunner(ctx context.Context, s *service, c Cell) (*runner, error) {
	cl, err := b.cluster(ctx, s, fmt.Sprintf("lead-%d-0", c.Records), c.Records)
	if err != nil {
		return nil, err
	}
	var layer, raw []func(ctx context.Context) (time.Duration, error)
	var opened []coordination.Coordinator
	for range c.Clients {
		co, err := s.open(cl.layerName, nil)
		if err != nil {
			return nil, err
		}
		opened = append(opened, co)
		layer = append(layer, timed(func(ctx context.Context) error { return loadLayer(ctx, co, c.Records) }))
		raw = append(raw, timed(func(ctx context.Context) error {
			n, err := cl.raw.List(ctx, cl.layerName)
			if err == nil && n != c.Records {
				err = fmt.Errorf("the raw read found %d records, want %d", n, c.Records)
			}
			return err
		}))
	}
	r := sides(c, layer, raw)
	r.close = func() {
		for _, co := range opened {
			_ = co.Close()
		}
	}
	return r, nil
}

func loadLayer(ctx context.Context, co coordination.Coordinator, want int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	got := -1
	err := co.Watch(ctx, func(e coordination.Event) {
		if e.Kind == coordination.Snapshot && got < 0 {
			got = len(e.Records)
			cancel()
		}
	})
	switch {
	case got == want:
		return nil
	case got >= 0:
		return fmt.Errorf("the snapshot has %d records, want %d", got, want)
	}
	return err
}

// registerRunner opens and closes a session around each registration, unmeasured.
func (b *bench) registerRunner(ctx context.Context, s *service, c Cell) (*runner, error) {
	cl, err := b.cluster(ctx, s, fmt.Sprintf("lead-%d-0", c.Records), c.Records)
	if err != nil {
		return nil, err
	}
	layer := func(ctx context.Context) (time.Duration, error) {
		ses, err := cl.coord.OpenSession(ctx, coordination.SessionOptions{})
		if err != nil {
			return 0, err
		}
		took, err := timed(func(ctx context.Context) error { return registerLayer(ctx, ses, 2) })(ctx)
		if cerr := ses.Close(ctx); err == nil {
			err = cerr
		}
		return took, err
	}
	guards, ops := cl.registration(2)
	raw := func(ctx context.Context) (time.Duration, error) {
		ses, err := cl.raw.OpenSession(ctx)
		if err != nil {
			return 0, err
		}
		took, err := timed(func(ctx context.Context) error {
			_, err := ses.Txn(ctx, guards, ops)
			return err
		})(ctx)
		if cerr := ses.Close(ctx); err == nil {
			err = cerr
		}
		return took, err
	}
	return &runner{layer: calm(one(layer)), raw: calm(one(raw)), close: func() {}}, nil
}

func registerLayer(ctx context.Context, s coordination.Session, id int32) error {
	_, err := s.Register(ctx, coordination.Registration{ID: id, DirectoryUUID: "bench"})
	return err
}

// registration is the layer's transaction for another id.
func (c *cluster) registration(id int32) ([]backend.Guard, []backend.Op) {
	key := fmt.Sprintf("brokers/%d", id)
	return []backend.Guard{{Key: key}}, []backend.Op{{Kind: backend.CreateEphemeral, Key: key, Value: c.register.ops[0].Value}}
}

// churnRunner makes whole lives of sessions. Each client has connections of its own.
func (b *bench) churnRunner(ctx context.Context, s *service, c Cell) (*runner, error) {
	cl, err := b.cluster(ctx, s, fmt.Sprintf("lead-%d-0", c.Records), c.Records)
	if err != nil {
		return nil, err
	}
	var layer, raw []func(ctx context.Context) (time.Duration, error)
	var closers []func()
	for i := range c.Clients {
		id := int32(100 + i)
		co, err := s.open(cl.layerName, nil)
		if err != nil {
			return nil, err
		}
		rc, err := openRaw(ctx, s.backend, s.endpoint, cl.rawName)
		if err != nil {
			return nil, err
		}
		closers = append(closers, func() { _ = co.Close() }, rc.Close)
		guards, ops := cl.registration(id)
		layer = append(layer, timed(func(ctx context.Context) error {
			ses, err := co.OpenSession(ctx, coordination.SessionOptions{})
			if err != nil {
				return err
			}
			if err := registerLayer(ctx, ses, id); err != nil {
				return err
			}
			return ses.Close(ctx)
		}))
		raw = append(raw, timed(func(ctx context.Context) error {
			ses, err := rc.OpenSession(ctx)
			if err != nil {
				return err
			}
			if _, err := ses.Txn(ctx, guards, ops); err != nil {
				return err
			}
			return ses.Close(ctx)
		}))
	}
	r := sides(c, layer, raw)
	r.close = func() {
		for _, f := range closers {
			f()
		}
	}
	return r, nil
}

// claimRunner gives the leadership up, unmeasured, after each claim. Its cluster is one of its own.
func (b *bench) claimRunner(ctx context.Context, s *service, c Cell) (*runner, error) {
	cl, err := b.cluster(ctx, s, fmt.Sprintf("claim-%d", c.Records), c.Records)
	if err != nil {
		return nil, err
	}
	if !cl.vacant {
		if err := cl.leader.Resign(ctx); err != nil {
			return nil, err
		}
		cl.vacant = true
	}
	layer := func(ctx context.Context) (time.Duration, error) {
		began := time.Now()
		l, err := cl.session.Campaign(ctx)
		took := time.Since(began)
		if err != nil {
			return 0, err
		}
		// Not before the process's own watch has shown the claim: the next one begins like a broker's, which has watched all along.
		if _, err := cl.events.await(ctx, l.Seq()); err != nil {
			return 0, err
		}
		return took, l.Resign(ctx)
	}
	raw := func(ctx context.Context) (time.Duration, error) {
		began := time.Now()
		if err := cl.claimRaw(ctx); err != nil {
			return 0, err
		}
		took := time.Since(began)
		return took, cl.vacateRaw(ctx)
	}
	return &runner{layer: calm(one(layer)), raw: calm(one(raw)), close: func() {}}, nil
}

// watchRunner has watchers on connections of their own and measures until the last of them was told.
func (b *bench) watchRunner(ctx context.Context, s *service, c Cell) (*runner, error) {
	cl, err := b.cluster(ctx, s, fmt.Sprintf("lead-%d-0", c.Records), c.Records)
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.Background())
	w := &watchers{cl: cl, end: end}
	for range c.Watchers {
		if err := w.add(ctx, life); err != nil {
			w.close()
			return nil, err
		}
	}
	if err := w.awaitAll(ctx); err != nil {
		w.close()
		return nil, err
	}
	return &runner{layer: one(w.measureLayer), raw: one(w.measureRaw), close: w.close}, nil
}

// watchers are as many of either side.
type watchers struct {
	cl         *cluster
	layer, raw []*arrivals
	closers    []func()
	end        context.CancelFunc
	running    errgroup.Group
}

func (w *watchers) add(ctx context.Context, life context.Context) error {
	co, err := w.cl.s.open(w.cl.layerName, nil)
	if err != nil {
		return err
	}
	w.closers = append(w.closers, func() { _ = co.Close() })
	seen := newArrivals()
	w.layer = append(w.layer, seen)
	w.running.Go(func() error {
		_ = co.Watch(life, func(e coordination.Event) {
			if e.Kind == coordination.Snapshot || e.Kind == coordination.Delta {
				seen.put(e.Seq)
			}
		})
		return nil
	})
	rc, err := openRaw(ctx, w.cl.s.backend, w.cl.s.endpoint, w.cl.rawName)
	if err != nil {
		return err
	}
	w.closers = append(w.closers, rc.Close)
	seenRaw := newArrivals()
	w.raw = append(w.raw, seenRaw)
	w.running.Go(func() error {
		_ = rc.Watch(life, w.cl.claim.guards[0].Key, seenRaw.put) // an event that does not come fails the operation
		return nil
	})
	return nil
}

// awaitAll makes sure that every watcher is in place: each must have told of one commit.
func (w *watchers) awaitAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	seq, err := w.cl.commitSeq(ctx)
	if err != nil {
		return err
	}
	if _, err := lastOf(ctx, w.layer, seq); err != nil {
		return err
	}
	for { // a raw watch that began after the commit does not tell of it
		version, err := w.cl.commitRaw(ctx)
		if err != nil {
			return err
		}
		try, stop := context.WithTimeout(ctx, time.Second)
		_, err = lastOf(try, w.raw, version)
		stop()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
	}
}

func lastOf(ctx context.Context, all []*arrivals, n uint64) (time.Time, error) {
	var last time.Time
	for _, a := range all {
		at, err := a.await(ctx, n)
		if err != nil {
			return last, err
		}
		if at.After(last) {
			last = at
		}
	}
	return last, nil
}

func (w *watchers) measureLayer(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	seq, err := w.cl.commitSeq(ctx)
	if err != nil {
		return 0, err
	}
	last, err := lastOf(ctx, w.layer, seq)
	return last.Sub(began), err
}

func (w *watchers) measureRaw(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	version, err := w.cl.commitRaw(ctx)
	if err != nil {
		return 0, err
	}
	last, err := lastOf(ctx, w.raw, version)
	return last.Sub(began), err
}

func (w *watchers) close() {
	w.end()
	for _, f := range w.closers {
		f()
	}
	_ = w.running.Wait()
}
