package backendtest

import (
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

// writers are sessions of several processes.
func (e *env) writers(n int) []backend.Session {
	e.Helper()
	stores := []backend.Store{e.store, e.another(e.h.Open), e.another(e.h.Open)}
	all := make([]backend.Session, n)
	for i := range all {
		all[i], _ = e.sessionOf(stores[i%len(stores)])
	}
	return all
}

// testAbsentRace: of those who make the same absent key at once exactly one wins, the others conflict, and the key is the winner's.
func testAbsentRace(e *env) {
	writers := e.writers(6)
	for round := range 6 {
		kind, key := backend.Create, fmt.Sprintf("records/r%d", round)
		if round%2 == 1 {
			kind, key = backend.CreateEphemeral, fmt.Sprintf("brokers/%d", round)
		}
		errs := make([]error, len(writers))
		versions := make([]uint64, len(writers))
		var wg sync.WaitGroup
		for i, s := range writers {
			wg.Go(func() {
				v, err := s.Txn(e.ctx, guards(at(key, 0)), []backend.Op{op(kind, key, strconv.Itoa(i))})
				if errs[i] = err; err == nil {
					versions[i] = v[0]
				}
			})
		}
		wg.Wait()
		got := e.get(key)
		winner, err := strconv.Atoi(string(got.Value))
		if err != nil {
			e.Fatalf("%s = %q, want the winner's number", key, got.Value)
		}
		for i, err := range errs {
			var conflict *coordination.ConflictError
			switch {
			case errors.Is(err, coordination.ErrOutcomeUnknown), errors.Is(err, coordination.ErrUnavailable):
				e.Logf("writer %d: %v", i, err) // a loaded machine
			case err == nil && (i != winner || versions[i] != got.Version):
				e.Errorf("writer %d won %s at version %d; it is writer %d's at %d", i, key, versions[i], winner, got.Version)
			case err != nil && i == winner:
				e.Errorf("the winner of %s was told %v", key, err)
			case err != nil && (!errors.As(err, &conflict) || conflict.Guard != 0 || conflict.Key != key):
				e.Errorf("a loser of %s was told %v, want a conflict on guard 0", key, err)
			}
		}
	}
}

// testCounter: read, add one, compare and set, in many processes: no update is lost.
func testCounter(e *env) {
	const each = 15
	writers := e.writers(4)
	e.txn(writers[0], nil, op(backend.Create, "chain", "0"))
	unknown := make([]int, len(writers))
	var wg sync.WaitGroup
	for i, s := range writers {
		wg.Go(func() {
			for done := 0; done < each && e.ctx.Err() == nil; {
				got, err := e.store.Get(e.ctx, "chain")
				if err != nil {
					continue
				}
				n, err := strconv.Atoi(string(got.Value))
				if err != nil {
					e.Errorf("chain = %q", got.Value)
					return
				}
				_, err = s.Txn(e.ctx, guards(at("chain", got.Version)), []backend.Op{op(backend.Set, "chain", strconv.Itoa(n+1))})
				switch {
				case err == nil:
					done++
				case errors.Is(err, coordination.ErrOutcomeUnknown):
					unknown[i]++
					done++
				case !errors.Is(err, coordination.ErrConflict) && !errors.Is(err, coordination.ErrUnavailable):
					e.Errorf("Txn() = %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	doubt := 0
	for _, n := range unknown {
		doubt += n
	}
	got := e.get("chain")
	if n, err := strconv.Atoi(string(got.Value)); err != nil || n > len(writers)*each || n < len(writers)*each-doubt {
		e.Errorf("%d writers added one %d times each and the sum is %q (%d outcomes unknown)", len(writers), each, got.Value, doubt)
	}
}

// testRecreated: a key that was deleted and made again, with the same value and by the same session, is another one to a process that knew the first.
func testRecreated(e *env) {
	s, _ := e.session()
	other := e.another(e.h.Open)
	mine, _ := e.sessionOf(other)
	for _, kind := range []backend.OpKind{backend.Create, backend.CreateEphemeral} {
		key := fmt.Sprintf("records/k%d", kind)
		first := e.txn(s, nil, op(kind, key, "same"))[0]
		known, err := other.Get(e.ctx, key)
		if err != nil || known.Version != first {
			e.Fatalf("Get(%s) = version %d, %v, want %d", key, known.Version, err, first)
		}
		e.txn(s, nil, op(backend.Delete, key, ""))
		again := e.txn(s, nil, op(kind, key, "same"))[0]
		if again == first {
			e.Errorf("%s made again has version %d again", key, first)
		}
		e.refused(mine, 0, guards(at(key, first)), op(backend.Create, "records/seen", "1"))
		e.refused(mine, 0, guards(at(key, first)), op(backend.Delete, key, ""))
		e.holds(key, "same", again)
		e.holds("records/seen", "", 0)
	}
}
