package coordtest

import (
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/chain"
)

// controller is the key of the session that leads (see package backend).
const controller = "controller"

// operator is somebody with the service's own client, who knows nothing of our rules.
type operator struct {
	e     *env
	store backend.Store
}

func (e *env) operator() *operator {
	e.Helper()
	if e.h.OpenStore == nil {
		e.Skip("the harness opens no store")
	}
	store, err := e.h.OpenStore(e.ctx, e.h.URL, e.logger)
	if err != nil {
		e.Fatalf("OpenStore(%s) = %v", e.h.URL, err)
	}
	e.Cleanup(func() {
		if err := store.Close(); err != nil {
			e.Errorf("Store.Close() = %v", err)
		}
	})
	return &operator{e: e, store: store}
}

func (o *operator) get(key string) backend.Entry {
	o.e.Helper()
	var entry backend.Entry
	o.e.eventually(patience, "the operator reads "+key, func() (err error) {
		entry, err = o.store.Get(o.e.ctx, key)
		return err
	})
	return entry
}

// write applies ops if key still is as it was read, and says whether it was. A session of its own for each write: the operator keeps none.
func (o *operator) write(was backend.Entry, ops ...backend.Op) bool {
	o.e.Helper()
	ctx, cancel := context.WithTimeout(o.e.ctx, patience)
	defer cancel()
	s, err := o.store.OpenSession(ctx)
	if err != nil {
		o.e.Fatalf("the operator's OpenSession() = %v", err)
	}
	defer func() {
		if err := s.Close(ctx); err != nil {
			o.e.Logf("the operator's Session.Close() = %v", err)
		}
	}()
	_, err = s.Txn(ctx, []backend.Guard{{Key: was.Key, Version: was.Version}}, ops)
	if err != nil && !errors.Is(err, coordination.ErrConflict) {
		o.e.Fatalf("the operator's write of %s = %v", was.Key, err)
	}
	return err == nil
}

// testLeaderKeyDeleted: an operator deletes the leader's key. The holder's commits stay consistent until another claims, none applies afterwards, and
// somebody leads.
func testLeaderKeyDeleted(e *env) {
	o := e.operator()
	co, _, l := e.leader(1)
	v := e.view(co)
	_, waiter := e.process()
	e.register(waiter, 2)
	key := o.get(controller)
	if key.Version == 0 {
		e.Fatalf("%s is absent while epoch %d leads", controller, l.Epoch())
	}
	// Nobody waits: the term goes on, it is the chain that fences.
	if !o.write(key, backend.Op{Kind: backend.Delete, Key: controller}) {
		e.Fatalf("%s changed under the operator", controller)
	}
	if seq := e.commit(l, put("after the deletion", "1")); seq != l.Seq()+1 {
		e.Errorf("Commit() after the deletion = %d, want %d", seq, l.Seq()+1)
	}
	// Somebody waits, while the holder goes on committing: its commits end where the claim is.
	c := e.count(l, 0)
	next := e.campaign(waiter)
	e.closed(c.done, patience, "the former leader's loop")
	if !errors.Is(c.err, coordination.ErrFenced) || errors.Is(c.err, coordination.ErrOutcomeUnknown) {
		e.Errorf("Commit() of the former leader = %v, want ErrFenced and no doubt", c.err)
	}
	e.closed(l.Done(), patience, "Done of the former leadership")
	if next.Epoch() != l.Epoch()+1 || next.Seq() < l.Seq()+1+uint64(c.acked)+1 { // more: a lost request was settled by a no-op
		e.Errorf("claim = epoch %d, seq %d after %d commits from %d on, want epoch %d, seq %d or more",
			next.Epoch(), next.Seq(), c.acked+1, l.Seq()+1, l.Epoch()+1, l.Seq()+2+uint64(c.acked))
	}
	e.commit(next, put("k", "next"))
	// The new leader's key is deleted, too, and the old one leads again.
	if !o.write(o.get(controller), backend.Op{Kind: backend.Delete, Key: controller}) {
		e.Fatalf("%s changed under the operator", controller)
	}
	_, third := e.process()
	e.register(third, 3)
	last := e.campaign(third)
	e.fenced(next, "the second leader")
	v.wait(e.commit(last, put("k", "last")), "the last leader's commit")
	v.verify()
}

// testNobodyLeads: all sessions end at once. Then nobody leads and nobody is registered, and who comes next leads the next epoch.
func testNobodyLeads(e *env) {
	o := e.operator()
	e.withSession(3 * time.Second)
	const members = 3
	healthy := make(chan struct{})
	var all []coordination.Session
	var granted time.Duration
	for id := range int32(members) {
		s := e.session(e.coordinator(), coordination.SessionOptions{Healthy: func() error {
			select {
			case <-healthy:
				return errors.New("ill on orders")
			default:
				return nil
			}
		}})
		if _, err := s.Bootstrap(e.ctx); err != nil {
			e.Fatalf("Bootstrap() = %v", err)
		}
		e.register(s, id)
		all, granted = append(all, s), s.Timeout()
	}
	l := e.campaign(all[0])
	seq := e.commit(l, put("k", "1"))
	close(healthy)
	for i, s := range all {
		e.closed(s.Done(), e.bound(granted)+slack+patience, "Done of a session that is not renewed")
		if !errors.Is(s.Err(), coordination.ErrSessionLost) {
			e.Errorf("Err() of session %d = %v, want ErrSessionLost", i, s.Err())
		}
	}
	e.closed(l.Done(), patience, "Done of the leadership of a lost session")
	if _, err := l.Commit(e.ctx, []coordination.Mutation{put("k", "2")}); !errors.Is(err, coordination.ErrSessionLost) {
		e.Errorf("Commit() of a lost session = %v, want ErrSessionLost", err)
	}
	if key := o.get(controller); key.Version != 0 {
		e.Errorf("%s = %q though all sessions are lost", controller, key.Value)
	}
	co, s := e.process()
	if got := e.present(co); len(got) != 0 {
		e.Errorf("registrations = %v though all sessions are lost", got)
	}
	if st := e.status(co); st.Epoch != l.Epoch() || st.Seq != seq {
		e.Errorf("Status() = %+v, want epoch %d, seq %d: nobody wrote", st, l.Epoch(), seq)
	}
	e.register(s, 0)
	if next := e.campaign(s); next.Epoch() != l.Epoch()+1 || next.Seq() != seq+1 {
		e.Errorf("next leader = epoch %d, seq %d, want %d and %d", next.Epoch(), next.Seq(), l.Epoch()+1, seq+1)
	}
}

// testEpochLimit: epochs are dense up to the greatest int32. Then claims fail at once with an error that says so, and the last leader goes on.
func testEpochLimit(e *env) {
	o := e.operator()
	_, s := e.process()
	key := o.get("chain")
	st := e.status(e.coordinator())
	st.Epoch, st.Seq = math.MaxInt32-3, st.Seq+1
	_, ops, err := chain.Rewrite(st)
	if err != nil {
		e.Fatal(err)
	}
	if !o.write(key, ops...) {
		e.Fatalf("%s changed under the operator", key.Key)
	}
	co, rival := e.process()
	e.register(s, 1)
	e.register(rival, 2)
	v := e.view(co)
	l := e.campaign(s)
	for want := int32(math.MaxInt32 - 2); ; want++ {
		if l.Epoch() != want {
			e.Fatalf("epoch = %d, want %d", l.Epoch(), want)
		}
		e.commit(l, put("k", "v"))
		if want == math.MaxInt32 {
			break
		}
		l = e.usurp(rival, want)
		s, rival = rival, s
	}
	refused := func(what string, err error) {
		e.Helper()
		if err == nil || !strings.Contains(err.Error(), "exhausted") || errors.Is(err, coordination.ErrUnavailable) || errors.Is(err, coordination.ErrConflict) {
			e.Errorf("%s after the last epoch = %v, want an error that says that they are exhausted", what, err)
		}
	}
	_, err = rival.Usurp(e.ctx, math.MaxInt32)
	refused("Usurp()", err)
	last := e.commit(l, put("k", "the last leader goes on"))
	e.resign(l)
	_, err = rival.Campaign(e.ctx)
	refused("Campaign()", err)
	if st := e.status(co); st.Epoch != math.MaxInt32 || st.Seq != last {
		e.Errorf("Status() = %+v, want epoch %d, seq %d", st, math.MaxInt32, last)
	}
	v.wait(last, "the last commit")
	v.verify()
}
