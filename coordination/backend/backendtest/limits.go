package backendtest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

const (
	// tooLarge is more than any service takes in one transaction; tooMany operations are.
	tooLarge = 8 << 20
	tooMany  = 1200
)

// boundary finds, between a size that fits and one that may not, the largest that fits. It wants every answer to be either of the two.
func boundary(fits, not int, try func(int) bool) int {
	if try(not) {
		return not
	}
	for not-fits > 1 {
		if mid := fits + (not-fits)/2; try(mid) {
			fits = mid
		} else {
			not = mid
		}
	}
	return fits
}

// attempt writes ops and a new value of the chain, guarded on its version, and says whether it fitted. It insists while
// the answer is lost, or the session, on a busy machine.
func (e *env) attempt(s *backend.Session, version *uint64, ops []backend.Op) bool {
	e.Helper()
	ops = append([]backend.Op{op(backend.Set, "chain", fmt.Sprint(*version))}, ops...)
	unknown := false
	for {
		v, err := (*s).Txn(e.ctx, guards(at("chain", *version)), ops)
		now := e.get("chain").Version
		unknown = unknown || errors.Is(err, coordination.ErrOutcomeUnknown)
		switch {
		case err == nil && v[0] == now:
			*version = now
			return true
		case errors.Is(err, coordination.ErrTooLarge) && now == *version:
			return false
		case errors.Is(err, coordination.ErrUnavailable) && now == *version:
		case unknown && now != *version && (lostAnswer(err) || errors.Is(err, coordination.ErrConflict)):
			*version = now // it was applied, perhaps late
			return true
		case errors.Is(err, coordination.ErrOutcomeUnknown):
		case errors.Is(err, coordination.ErrSessionLost) && now == *version:
			e.Logf("the session was not renewed in time: %v", err)
			*s, _ = e.session()
		default:
			e.Fatalf("Txn of %d ops at version %d = %v; the chain is at %d now: want it applied, or ErrTooLarge and nothing applied", len(ops), *version, err, now)
		}
		if e.ctx.Err() != nil {
			e.Fatalf("Txn of %d ops = %v, again and again", len(ops), err)
		}
	}
}

// testSizeLimit: at every size a transaction is applied or is ErrTooLarge with nothing applied; the boundary is sharp, beyond what a commit may have, and
// the session goes on after it.
func testSizeLimit(e *env) {
	s, _ := e.session()
	version := e.txn(s, nil, op(backend.Create, "chain", "0"), op(backend.Create, "records/big", "0"))[0]
	value := bytes.Repeat([]byte{0xab}, tooLarge)
	least := e.store.Capabilities().MaxCommitBytes
	largest := boundary(least, tooLarge, func(size int) bool {
		return e.attempt(&s, &version, []backend.Op{{Kind: backend.Set, Key: "records/big", Value: value[:size]}})
	})
	e.Logf("the largest value is %d bytes, MaxCommitBytes is %d", largest, least)
	if largest == tooLarge {
		e.Errorf("a transaction of %d bytes was taken: there is no limit", tooLarge)
	}
	e.attempt(&s, &version, []backend.Op{{Kind: backend.Set, Key: "records/big", Value: value[:largest]}})
	if got := e.get("records/big"); len(got.Value) != largest {
		e.Errorf("Get() = %d bytes, want %d", len(got.Value), largest)
	}
}

// testOperationLimit is the same for the number of operations. A service may have no such limit.
func testOperationLimit(e *env) {
	s, _ := e.session()
	version := e.txn(s, nil, op(backend.Create, "chain", "0"))[0]
	tries := 0
	least := e.store.Capabilities().MaxCommitMutations + 1
	most := boundary(least, tooMany, func(n int) bool {
		tries++
		ops := make([]backend.Op, n)
		for i := range ops {
			ops[i] = op(backend.Create, fmt.Sprintf("records/t%d-%d", tries, i), "v")
		}
		fits := e.attempt(&s, &version, ops)
		for _, key := range []string{ops[0].Key, ops[n-1].Key} {
			if there := e.get(key).Version != 0; there != fits {
				e.Errorf("of %d operations (applied: %v) the one on %s was applied: %v", n, fits, key, there)
			}
		}
		return fits
	})
	e.Logf("up to %d operations fit, MaxCommitMutations is %d", most, least-1)
}

// testGranted: Timeout is what the service granted and keeps, whatever was asked; a wish that it cannot meet is lengthened, cut or refused, never ignored.
func testGranted(e *env) {
	if e.h.OpenAsking == nil {
		e.Skip("nobody is asked how long a session lasts")
	}
	caps := e.store.Capabilities()
	for _, ask := range []time.Duration{caps.MinTimeout / 2, caps.MinTimeout*3/2 + time.Millisecond, 10 * time.Minute} {
		store, err := e.h.OpenAsking(ask)
		if err != nil {
			e.Logf("asked for %v: %v", ask, err)
			if ask >= caps.MinTimeout && ask < time.Minute {
				e.Errorf("a wish of %v was refused, MinTimeout is %v: %v", ask, caps.MinTimeout, err)
			}
			continue
		}
		e.another(func(testing.TB) backend.Store { return store })
		e.granted(store, ask)
	}
}

func (e *env) granted(store backend.Store, ask time.Duration) {
	e.Helper()
	opened := time.Now()
	s, stop := e.sessionOf(store)
	stop()
	got := s.Timeout()
	e.Logf("asked for %v, granted %v", ask, got)
	caps := store.Capabilities()
	if got <= 0 || ask < time.Minute && (got < ask || got-ask >= max(caps.Granularity, caps.MinTimeout-ask, 1)) {
		e.Errorf("asked for %v, granted %v: want it rounded up by less than %v, or to MinTimeout %v", ask, got, caps.Granularity, caps.MinTimeout)
	}
	sent := time.Now()
	if deadline, err := s.Renew(e.ctx); err == nil && deadline.After(sent.Add(got)) {
		e.Errorf("Renew() proves %v, granted were %v", deadline.Sub(sent), got)
	}
	if got < 50*time.Millisecond || got > 5*time.Second { // too short to be used, too long to wait for
		return
	}
	// Nobody renews it any more: it lasts for what was granted at least.
	v, err := s.Txn(e.ctx, nil, []backend.Op{op(backend.CreateEphemeral, "controller", "c")})
	if err != nil {
		e.Fatalf("Txn() = %v", err)
	}
	for time.Since(opened) < got {
		now, err := store.Get(e.ctx, "controller")
		if after := time.Since(opened); err == nil && now.Version != v[0] && after < got {
			e.Fatalf("the session ended %v after it was asked for, granted were %v", after, got)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := s.Close(e.ctx); err != nil {
		e.Logf("Close() = %v", err)
	}
}
