package coordbench

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

const (
	valueSize = 128
	// span is how many of a cluster's records commits go round.
	span = 100
	// opLimit bounds one operation of either side.
	opLimit = 10 * time.Second
	// ringSlots is package chain's.
	ringSlots = 64
)

// valueOf is the n-th commit's value. No two are the same: Consul does not write what is there already.
func valueOf(n int) []byte {
	v := make([]byte, valueSize)
	binary.BigEndian.PutUint64(v, uint64(n))
	return v
}

// seqOffset is where a chain record has its sequence number (package chain, record.go). The raw side counts there, for the same reason.
const seqOffset = 21

func stamped(record []byte, n int) []byte {
	v := bytes.Clone(record)
	binary.BigEndian.PutUint64(v[seqOffset:], uint64(n))
	return v
}

func recordKey(i int) string { return fmt.Sprintf("bench-%06d", i) }

// shape is what a transaction of the layer consists of, as its backend was given it. The raw side sends the same.
type shape struct {
	guards []backend.Guard
	ops    []backend.Op
}

// recorder is a decorator that keeps the newest transaction.
type recorder struct {
	backend.Store
	mu   sync.Mutex
	last shape
}

func (r *recorder) decorate(s backend.Store) backend.Store {
	r.Store = s
	return r
}

func (r *recorder) newest() shape {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

func (r *recorder) OpenSession(ctx context.Context) (backend.Session, error) {
	s, err := r.Store.OpenSession(ctx)
	if err != nil {
		return nil, err
	}
	return recordedSession{s, r}, nil
}

type recordedSession struct {
	backend.Session
	r *recorder
}

func (s recordedSession) Txn(ctx context.Context, guards []backend.Guard, ops []backend.Op) ([]uint64, error) {
	s.r.mu.Lock()
	s.r.last = shape{guards, ops}
	s.r.mu.Unlock()
	return s.Session.Txn(ctx, guards, ops)
}

// arrivals tells when events came: of the layer by sequence number, of the raw watch by version. Both only grow.
type arrivals struct {
	mu      sync.Mutex
	newest  uint64
	at      time.Time // when newest came
	changed chan struct{}
}

func newArrivals() *arrivals { return &arrivals{changed: make(chan struct{})} }

func (a *arrivals) put(n uint64) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if n > a.newest {
		a.newest, a.at = n, now
		close(a.changed)
		a.changed = make(chan struct{})
	}
}

// await returns when n came.
func (a *arrivals) await(ctx context.Context, n uint64) (time.Time, error) {
	for {
		a.mu.Lock()
		newest, at, changed := a.newest, a.at, a.changed
		a.mu.Unlock()
		if newest >= n {
			return at, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("event %d did not come: %w", n, context.Cause(ctx))
		}
	}
}

// cluster is one cluster of the layer, and one of the raw side with the same content where commits touch it, in one service.
type cluster struct {
	s                  *service
	layerName, rawName string
	records            int

	rec     *recorder
	coord   coordination.Coordinator
	session coordination.Session
	leader  coordination.Leadership
	events  *arrivals // of the coordinator's own watch, which every broker has

	raw        rawClient
	rawSession rawSession

	vacant                  bool // the leadership was given up on purpose: a cluster for claims
	register, claim, commit shape
	committed, rawCommitted int

	end     context.CancelFunc
	running sync.WaitGroup
}

// newCluster makes a cluster with that many records. Its process watches the chain, as every broker does.
func newCluster(ctx context.Context, s *service, name string, records int) (_ *cluster, err error) {
	c := &cluster{s: s, layerName: "bench-l/" + name, rawName: "bench-r/" + name, records: records, rec: &recorder{}, events: newArrivals()}
	life, end := context.WithCancel(context.Background())
	c.end = end
	defer func() {
		if err != nil {
			err = fmt.Errorf("make cluster %s: %w", c.layerName, err)
			c.close()
		}
	}()
	if c.coord, err = s.open(c.layerName, c.rec.decorate); err != nil {
		return nil, err
	}
	c.follow(life, c.coord, c.events)
	if c.session, err = c.coord.OpenSession(ctx, coordination.SessionOptions{}); err != nil {
		return nil, err
	}
	if _, err = c.session.Bootstrap(ctx); err != nil {
		return nil, err
	}
	if _, err = c.session.Register(ctx, coordination.Registration{ID: 1, DirectoryUUID: "bench"}); err != nil {
		return nil, err
	}
	c.register = c.rec.newest()
	if c.leader, err = c.session.Campaign(ctx); err != nil {
		return nil, err
	}
	c.claim = c.rec.newest()
	if err = c.fill(ctx); err != nil {
		return nil, err
	}
	if err = c.commitLayer(ctx); err != nil {
		return nil, err
	}
	c.commit = c.rec.newest()
	if c.raw, err = openRaw(ctx, s.backend, s.endpoint, c.rawName); err != nil {
		return nil, err
	}
	if c.rawSession, err = c.raw.OpenSession(ctx); err != nil {
		return nil, err
	}
	if err = c.fillRaw(ctx); err != nil {
		return nil, err
	}
	c.followRaw(life)
	return c, nil
}

// follow runs a watch whose events go to a.
func (c *cluster) follow(life context.Context, co coordination.Coordinator, a *arrivals) {
	c.running.Go(func() {
		_ = co.Watch(life, func(e coordination.Event) { // ends with the cluster; a lost event shows as an operation that failed
			if e.Kind == coordination.Snapshot || e.Kind == coordination.Delta {
				a.put(e.Seq)
			}
		})
	})
}

// followRaw has the raw side's process watch its chain record, with its value, as the layer's does: the service tells a watcher of every commit, and that is a
// considerable part of what a commit costs there and in the client.
func (c *cluster) followRaw(life context.Context) {
	c.running.Go(func() {
		for life.Err() == nil {
			_ = c.raw.Watch(life, c.claim.guards[0].Key, func(uint64) {}) // the pair measures the commits; a watch that broke is begun again
			select {
			case <-life.Done():
			case <-time.After(settle):
			}
		}
	})
}

// fill creates the records in commits as large as the backend takes.
func (c *cluster) fill(ctx context.Context) error {
	batch := min(c.coord.Capabilities().MaxCommitMutations, 200)
	for at := 0; at < c.records; at += batch {
		var ms []coordination.Mutation
		for i := at; i < min(at+batch, c.records); i++ {
			ms = append(ms, coordination.Mutation{Key: recordKey(i), Value: valueOf(0)})
		}
		if _, err := c.leader.Commit(ctx, ms); err != nil {
			return fmt.Errorf("fill: %w", err)
		}
	}
	return nil
}

// fillRaw makes the keys that raw commits set.
func (c *cluster) fillRaw(ctx context.Context) error {
	create := func(ops []backend.Op) error {
		_, err := c.rawSession.Txn(ctx, nil, ops)
		return err
	}
	chain := []backend.Op{{Kind: backend.Create, Key: c.commit.ops[0].Key, Value: c.commit.ops[0].Value}}
	for i := range ringSlots {
		chain = append(chain, backend.Op{Kind: backend.Create, Key: fmt.Sprintf("ring/%02d", i), Value: c.commit.ops[1].Value})
	}
	if err := create(chain); err != nil {
		return fmt.Errorf("fill the raw cluster: %w", err)
	}
	var records []backend.Op
	for i := range span {
		records = append(records, backend.Op{Kind: backend.Create, Key: "records/" + recordKey(i), Value: valueOf(0)})
	}
	if err := create(records); err != nil {
		return fmt.Errorf("fill the raw cluster: %w", err)
	}
	guards, ops := c.registration(1) // claims are guarded on it
	if _, err := c.rawSession.Txn(ctx, guards, ops); err != nil {
		return fmt.Errorf("register in the raw cluster: %w", err)
	}
	return nil
}

// commitLayer sets one record.
func (c *cluster) commitLayer(ctx context.Context) error {
	_, err := c.commitSeq(ctx)
	return err
}

func (c *cluster) commitSeq(ctx context.Context) (uint64, error) {
	c.committed++
	return c.leader.Commit(ctx, []coordination.Mutation{{Key: recordKey(c.committed % min(span, c.records)), Value: valueOf(c.committed)}})
}

// commitRaw sends the layer's transaction, on the raw cluster's next slot and record.
func (c *cluster) commitRaw(ctx context.Context) (uint64, error) {
	c.rawCommitted++
	ops := append([]backend.Op{}, c.commit.ops...)
	ops[0].Value, ops[1].Value, ops[2].Value = stamped(ops[0].Value, c.rawCommitted), stamped(ops[1].Value, c.rawCommitted), valueOf(c.rawCommitted)
	ops[1].Key = fmt.Sprintf("ring/%02d", c.rawCommitted%ringSlots)
	ops[2].Key = "records/" + recordKey(c.rawCommitted%span)
	return c.rawSession.Txn(ctx, c.commit.guards, ops)
}

// claimRaw sends the layer's transaction for a claim; vacateRaw gives the leadership up.
func (c *cluster) claimRaw(ctx context.Context) error {
	c.rawCommitted++
	ops := append([]backend.Op{}, c.claim.ops...)
	ops[0].Value, ops[1].Value = stamped(ops[0].Value, c.rawCommitted), stamped(ops[1].Value, c.rawCommitted)
	ops[1].Key = fmt.Sprintf("ring/%02d", c.rawCommitted%ringSlots)
	_, err := c.rawSession.Txn(ctx, c.claim.guards, ops)
	return err
}

func (c *cluster) vacateRaw(ctx context.Context) error {
	_, err := c.rawSession.Txn(ctx, c.claim.guards[:2], []backend.Op{{Kind: backend.Delete, Key: c.claim.guards[1].Key}})
	return err
}

// healthy says whether the layer still leads: a session can be lost on a machine that is too busy.
func (c *cluster) healthy() error {
	select {
	case <-c.leader.Done():
		return fmt.Errorf("the cluster's leadership is over: %w", c.leader.Err())
	case <-c.session.Done():
		return fmt.Errorf("the cluster's session is over: %w", c.session.Err())
	default:
		return nil
	}
}

// close ends sessions and connections. What it kept in the service stays: the service ends with the run.
func (c *cluster) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	c.end()
	if c.session != nil {
		_ = c.session.Close(ctx)
	}
	if c.rawSession != nil {
		_ = c.rawSession.Close(ctx)
	}
	if c.raw != nil {
		c.raw.Close()
	}
	if c.coord != nil {
		_ = c.coord.Close()
	}
	c.running.Wait()
}

// resigned says that the leadership was given up on purpose and the session lives.
func (c *cluster) resigned() bool {
	select {
	case <-c.session.Done():
		return false
	case <-c.leader.Done():
		return c.vacant
	default:
		return false
	}
}
