// Package backendtest holds the promises of package backend as tests, below those of package coordtest: versions, guards, transactions, watches and
// sessions of a Store against its real service.
package backendtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

// patience bounds every wait.
const patience = 30 * time.Second

// Harness is a service as one test sees it.
type Harness struct {
	// Open opens another store of the test's cluster, which does not exist yet. The suite closes it.
	Open func(t testing.TB) backend.Store
	// OpenNeighbour opens one of another cluster of the service, whose name begins with the first one's. Nil: there can be no other.
	OpenNeighbour func(t testing.TB) backend.Store
	// OpenAsking opens one whose sessions are asked for with the given timeout; a wish may be refused. Nil: nobody is asked.
	OpenAsking func(timeout time.Duration) (backend.Store, error)
}

// cases: each one's comment, at its function, says the promise that it holds, where its name does not.
var cases = []struct {
	name string
	f    func(*env)
}{
	{"EmptyStore", testEmpty},
	{"VersionsAreUnique", testVersions},
	{"GuardsOnPersistentKeys", testGuards},
	{"GuardsOnEphemeralKeys", testEphemeralGuards},
	{"ReplaceEphemeral", testReplace},
	{"ConflictNamesTheGuard", testConflict},
	{"TransactionsAreAtomic", testAtomic},
	{"AbsentRace", testAbsentRace},
	{"NoUpdateIsLost", testCounter},
	{"RecreatedIsNotTheSame", testRecreated},
	{"TooLarge", testTooLarge},
	{"SizeLimit", testSizeLimit},
	{"OperationLimit", testOperationLimit},
	{"Lists", testLists},
	{"LoadUnderWrites", testLoadUnderWrites},
	{"PrefixIsolation", testIsolation},
	{"Watch", testWatch},
	{"WatchDir", testWatchDir},
	{"WatchBeginsCurrent", testWatchBegins},
	{"CloseEndsEphemerals", testClose},
	{"Expiry", testExpiry},
	{"RenewalKeeps", testRenewal},
	{"GrantedTimeout", testGranted},
	{"CancelledContext", testCancelled},
	{"Closed", testClosed},
}

// Run runs the suite. fresh is called once per test, in that test.
func Run(t *testing.T, fresh func(t *testing.T) Harness) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			t.Cleanup(cancel)
			e := &env{T: t, ctx: ctx, h: fresh(t)}
			e.store = e.another(e.h.Open)
			c.f(e)
		})
	}
}

type env struct {
	*testing.T
	ctx   context.Context
	h     Harness
	store backend.Store
}

// another is a store that ends with the test.
func (e *env) another(open func(testing.TB) backend.Store) backend.Store {
	e.Helper()
	store := open(e)
	e.Cleanup(func() {
		if err := store.Close(); err != nil {
			e.Errorf("Store.Close() = %v", err)
		}
	})
	return store
}

// session is renewed until the test ends, or stop is called.
func (e *env) session() (s backend.Session, stop func()) {
	e.Helper()
	return e.sessionOf(e.store)
}

func (e *env) sessionOf(store backend.Store) (s backend.Session, stop func()) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	s, err := store.OpenSession(ctx)
	if err != nil {
		e.Fatalf("OpenSession() = %v", err)
	}
	ctx, cancel = context.WithCancel(e.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			_, err := s.Renew(ctx)
			if ctx.Err() != nil || errors.Is(err, coordination.ErrSessionLost) {
				return
			}
			select {
			case <-time.After(s.Timeout() / 5):
			case <-ctx.Done():
				return
			}
		}
	}()
	stop = func() { cancel(); <-done }
	e.Cleanup(func() {
		stop()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			e.Logf("Session.Close() = %v", err)
		}
	})
	return s, stop
}

// txn must be applied. On a machine whose cores are busy any answer may be lost: then the keys tell, and what was not applied is sent again.
func (e *env) txn(s backend.Session, guards []backend.Guard, ops ...backend.Op) []uint64 {
	e.Helper()
	unknown := false
	for {
		versions, err := s.Txn(e.ctx, guards, ops)
		unknown = unknown || errors.Is(err, coordination.ErrOutcomeUnknown)
		switch {
		case err == nil && len(versions) != len(ops):
			e.Fatalf("Txn of %d ops told %d versions", len(ops), len(versions))
		case err == nil:
			return versions
		case e.ctx.Err() != nil, !lostAnswer(err) && !(unknown && errors.Is(err, coordination.ErrConflict)):
			e.Fatalf("Txn(%v, %d ops) = %v", guards, len(ops), err)
		}
		if versions, applied := e.effect(ops); unknown && applied {
			return versions
		}
	}
}

// lostAnswer says of an error that the machine, not the store, may be to blame for it.
func lostAnswer(err error) bool {
	return errors.Is(err, coordination.ErrOutcomeUnknown) || errors.Is(err, coordination.ErrUnavailable)
}

// effect says whether the keys are as ops leave them.
func (e *env) effect(ops []backend.Op) (versions []uint64, applied bool) {
	e.Helper()
	for _, op := range ops {
		got := e.get(op.Key)
		if deleted := op.Kind == backend.Delete; deleted != (got.Version == 0) || !deleted && !bytes.Equal(got.Value, op.Value) {
			return nil, false
		}
		versions = append(versions, got.Version)
	}
	return versions, true
}

// refused must conflict on the given guard.
func (e *env) refused(s backend.Session, guard int, guards []backend.Guard, ops ...backend.Op) {
	e.Helper()
	_, err := s.Txn(e.ctx, guards, ops)
	for lostAnswer(err) && e.ctx.Err() == nil {
		_, err = s.Txn(e.ctx, guards, ops)
	}
	var conflict *coordination.ConflictError
	if !errors.As(err, &conflict) || !errors.Is(err, coordination.ErrConflict) {
		e.Fatalf("Txn(%v, %v) = %v, want a conflict", guards, ops, err)
	}
	if conflict.Guard != guard || conflict.Key != guards[guard].Key {
		e.Errorf("Txn(%v, %v): conflict on guard %d (%s), want %d", guards, ops, conflict.Guard, conflict.Key, guard)
	}
}

func (e *env) get(key string) backend.Entry {
	e.Helper()
	got, err := e.store.Get(e.ctx, key)
	for errors.Is(err, coordination.ErrUnavailable) && e.ctx.Err() == nil {
		got, err = e.store.Get(e.ctx, key)
	}
	if err != nil {
		e.Fatalf("Get(%s) = %v", key, err)
	}
	if got.Key != key {
		e.Errorf("Get(%s) names key %q", key, got.Key)
	}
	return got
}

func (e *env) holds(key, value string, version uint64) {
	e.Helper()
	if got := e.get(key); string(got.Value) != value || got.Version != version {
		e.Errorf("Get(%s) = %q at version %d, want %q at %d", key, got.Value, got.Version, value, version)
	}
}

func (e *env) eventually(what string, f func() bool) {
	e.Helper()
	deadline := time.Now().Add(patience)
	for !f() {
		if time.Now().After(deadline) {
			e.Fatalf("%s: not within %v", what, patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func op(kind backend.OpKind, key, value string) backend.Op {
	return backend.Op{Kind: kind, Key: key, Value: []byte(value)}
}

func at(key string, version uint64) backend.Guard { return backend.Guard{Key: key, Version: version} }

func guards(g ...backend.Guard) []backend.Guard { return g }

func testEmpty(e *env) {
	e.holds("chain", "", 0)
	if got, err := e.store.List(e.ctx, "records"); err != nil || len(got) != 0 {
		e.Errorf("List(records) = %v, %v, want nothing", got, err)
	}
	if l := e.load(e.store); l.before.Version != 0 || l.after.Version != 0 || l.after.Key != "chain" || len(l.entries) != 0 {
		e.Errorf("Load(chain, records) = %+v, want nothing", l)
	}
	got, err := e.store.GetMany(e.ctx, []string{"ring/00", "ring/01"})
	if err != nil || len(got) != 2 || got[1].Key != "ring/01" || got[1].Version != 0 {
		e.Errorf("GetMany of absent keys = %v, %v, want two entries of version 0", got, err)
	}
}

func testVersions(e *env) {
	s, _ := e.session()
	seen := map[uint64]bool{}
	fresh := func(version uint64) {
		e.Helper()
		if version == 0 || seen[version] {
			e.Errorf("version %d was told before, or is 0", version)
		}
		seen[version] = true
	}
	for range 3 {
		v := e.txn(s, nil, op(backend.Create, "records/a", "1"))
		fresh(v[0])
		e.holds("records/a", "1", v[0])
		v = e.txn(s, nil, op(backend.Set, "records/a", "2"))
		fresh(v[0])
		e.holds("records/a", "2", v[0])
		if v = e.txn(s, nil, op(backend.Delete, "records/a", "")); v[0] != 0 {
			e.Errorf("version of a deleted key = %d, want 0", v[0])
		}
		e.holds("records/a", "", 0)
		v = e.txn(s, nil, op(backend.CreateEphemeral, "controller", "c"))
		fresh(v[0])
		e.holds("controller", "c", v[0])
		e.txn(s, nil, op(backend.Delete, "controller", ""))
		e.holds("controller", "", 0)
	}
}

func testGuards(e *env) {
	s, _ := e.session()
	first := e.txn(s, guards(at("chain", 0)), op(backend.Create, "chain", "1"))[0]
	e.refused(s, 0, guards(at("chain", 0)), op(backend.Create, "chain", "x"))
	e.refused(s, 0, guards(at("chain", 0)), op(backend.Create, "records/x", "x"))
	second := e.txn(s, guards(at("chain", first)), op(backend.Set, "chain", "2"))[0]
	e.refused(s, 0, guards(at("chain", first)), op(backend.Set, "chain", "x"))
	// A guard without a write of its key.
	e.txn(s, guards(at("chain", second)), op(backend.Create, "records/a", "a"))
	e.refused(s, 0, guards(at("chain", first)), op(backend.Delete, "records/a", ""))
	e.holds("chain", "2", second)
	// A guard for absence without a write of its key leaves nothing behind.
	e.txn(s, guards(at("records/none", 0)), op(backend.Set, "records/a", "b"))
	e.holds("records/none", "", 0)
	// A guarded deletion.
	a := e.get("records/a")
	e.txn(s, guards(at("chain", second), at("records/a", a.Version)), op(backend.Delete, "records/a", ""))
	e.refused(s, 0, guards(at("records/a", a.Version)), op(backend.Delete, "records/a", ""))
	// A key made again is not the one that was guarded.
	e.txn(s, nil, op(backend.Create, "records/a", "a"))
	e.refused(s, 0, guards(at("records/a", a.Version)), op(backend.Set, "records/a", "x"))
	// A Set of many other keys, unguarded, at once.
	ops := []backend.Op{op(backend.Set, "chain", "3")}
	for i := range 40 {
		ops = append(ops, op(backend.Create, fmt.Sprintf("records/n%d", i), "n"))
	}
	third := e.txn(s, guards(at("chain", second)), ops...)
	e.holds("records/n7", "n", third[8])
}

func testEphemeralGuards(e *env) {
	a, _ := e.session()
	b, _ := e.session()
	first := e.txn(a, guards(at("controller", 0)), op(backend.CreateEphemeral, "controller", "a"))[0]
	e.refused(b, 0, guards(at("controller", 0)), op(backend.CreateEphemeral, "controller", "b"))
	e.txn(b, guards(at("controller", first)), op(backend.Create, "records/seen", "1"))
	e.txn(b, guards(at("controller", first)), op(backend.Delete, "controller", ""))
	e.refused(a, 0, guards(at("controller", first)), op(backend.Set, "records/seen", "x"))
	second := e.txn(b, guards(at("controller", 0)), op(backend.CreateEphemeral, "controller", "b"))[0]
	// Made again, by another and then by the same session: never the first one.
	e.refused(a, 0, guards(at("controller", first)), op(backend.Set, "records/seen", "x"))
	e.refused(a, 0, guards(at("controller", first)), op(backend.Delete, "controller", ""))
	e.txn(b, guards(at("controller", second)), op(backend.Delete, "controller", ""))
	third := e.txn(b, nil, op(backend.CreateEphemeral, "controller", "b"))[0]
	e.refused(a, 0, guards(at("controller", second)), op(backend.Delete, "controller", ""))
	e.refused(a, 0, guards(at("controller", second)), op(backend.ReplaceEphemeral, "controller", "a"))
	e.holds("controller", "b", third)
	e.holds("records/seen", "1", e.get("records/seen").Version)
}

func testReplace(e *env) {
	a, _ := e.session()
	b, _ := e.session()
	first := e.txn(a, nil, op(backend.CreateEphemeral, "brokers/1", "a"))[0]
	second := e.txn(b, guards(at("brokers/1", first)), op(backend.ReplaceEphemeral, "brokers/1", "b"))[0]
	if second == first {
		e.Errorf("version of the replaced key is still %d", first)
	}
	e.refused(a, 0, guards(at("brokers/1", first)), op(backend.ReplaceEphemeral, "brokers/1", "a"))
	// One's own, too.
	third := e.txn(b, guards(at("brokers/1", second)), op(backend.ReplaceEphemeral, "brokers/1", "bb"))[0]
	if err := a.Close(e.ctx); err != nil {
		e.Fatalf("Close() = %v", err)
	}
	e.holds("brokers/1", "bb", third)
	if err := b.Close(e.ctx); err != nil {
		e.Fatalf("Close() = %v", err)
	}
	e.holds("brokers/1", "", 0)
}

func testConflict(e *env) {
	s, _ := e.session()
	v := e.txn(s, nil, op(backend.Create, "chain", "1"), op(backend.Create, "records/a", "1"), op(backend.CreateEphemeral, "controller", "1"))
	good := guards(at("chain", v[0]), at("records/a", v[1]), at("controller", v[2]), at("records/none", 0))
	for i := range good {
		bad := append([]backend.Guard{}, good...)
		if bad[i].Version == 0 {
			bad[i] = at("records/none", 12345)
		} else {
			bad[i].Version += 1 << 40
		}
		e.refused(s, i, bad, op(backend.Set, "chain", "x"))
	}
	e.txn(s, good, op(backend.Set, "chain", "2"))
}

func testAtomic(e *env) {
	s, _ := e.session()
	v := e.txn(s, nil, op(backend.Create, "chain", "1"), op(backend.Create, "records/a", "1"))
	e.refused(s, 1, guards(at("chain", v[0]), at("records/a", v[1]+1<<40)), op(backend.Set, "records/a", "2"), op(backend.Set, "chain", "2"),
		op(backend.Create, "records/a2", "2"), op(backend.CreateEphemeral, "controller", "2"))
	e.holds("controller", "", 0)
	e.holds("chain", "1", v[0])
	e.holds("records/a", "1", v[1])
	e.holds("records/a2", "", 0)
}

func testTooLarge(e *env) {
	s, _ := e.session()
	caps := e.store.Capabilities()
	// What a commit of the largest size needs: the value, its copy in the ring, and the chain record.
	value := bytes.Repeat([]byte{0xab}, caps.MaxCommitBytes-len("records/big"))
	fits := []backend.Op{op(backend.Create, "chain", string(value[:100])), {Kind: backend.Create, Key: "ring/01", Value: value}, {Kind: backend.Create, Key: "records/big", Value: value}}
	v := e.txn(s, nil, fits...)
	e.holds("records/big", string(value), v[2])
	var ops []backend.Op
	for i := range 8 {
		ops = append(ops, backend.Op{Kind: backend.Create, Key: fmt.Sprintf("records/b%d", i), Value: value})
	}
	if _, err := s.Txn(e.ctx, nil, ops); !errors.Is(err, coordination.ErrTooLarge) {
		e.Errorf("Txn of 8 × %d bytes = %v, want ErrTooLarge", len(value), err)
	}
	e.holds("records/b0", "", 0)
	// As many mutations as are allowed at once.
	ops = []backend.Op{op(backend.Set, "chain", "x"), op(backend.Set, "ring/01", "x")}
	for i := range caps.MaxCommitMutations {
		ops = append(ops, op(backend.Create, fmt.Sprintf("records/m%d", i), "m"))
	}
	e.txn(s, guards(at("chain", v[0])), ops...)
}

func testLists(e *env) {
	s, _ := e.session()
	want := map[string]string{}
	var keys []string
	for i, name := range []string{"plain", "with%20space", "täglich", "..", ".", "a~b", "x+y&z"} {
		key, value := "records/"+name, fmt.Sprint(i)
		want[key] = value
		keys = append(keys, key)
		e.txn(s, nil, op(backend.Create, key, value))
	}
	e.txn(s, nil, op(backend.Create, "ring/00", "other directory"))
	got, err := e.store.List(e.ctx, "records")
	if err != nil || len(got) != len(want) {
		e.Fatalf("List(records) = %v, %v, want %d entries", got, err, len(want))
	}
	many, err := e.store.GetMany(e.ctx, keys)
	if err != nil {
		e.Fatalf("GetMany() = %v", err)
	}
	for i, entry := range many {
		if entry.Key != keys[i] || string(entry.Value) != want[keys[i]] {
			e.Errorf("GetMany()[%d] = %s %q, want %s %q", i, entry.Key, entry.Value, keys[i], want[keys[i]])
		}
	}
	loaded := e.load(e.store).entries
	if len(loaded) != len(want) {
		e.Errorf("Load(chain, records) has %d entries, want %d", len(loaded), len(want))
	}
	for _, entry := range append(got, loaded...) {
		if value, ok := want[entry.Key]; !ok || value != string(entry.Value) || entry.Version == 0 {
			e.Errorf("List(records) has %q = %q at %d, want %q", entry.Key, entry.Value, entry.Version, value)
		}
	}
}
