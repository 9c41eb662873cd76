package backendtest

import (
	"errors"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

// testExpiry loses a session by removing what it lives on from under it: nobody renews it. Backends whose client renews by itself cannot lose one
// this way; they show it when their client's process is stopped, which coordtest does.
func testExpiry(e *env) {
	s, stop := e.session()
	e.txn(s, nil, op(backend.CreateEphemeral, "controller", "a"))
	stop()
	deadline := time.Now().Add(6*s.Timeout() + 5*time.Second)
	for e.get("controller").Version != 0 {
		if time.Now().After(deadline) {
			e.Skip("the client keeps its session by itself")
		}
		time.Sleep(20 * time.Millisecond)
	}
	_, err := s.Txn(e.ctx, nil, []backend.Op{op(backend.CreateEphemeral, "controller", "zombie")})
	if err == nil {
		e.Error("Txn on an expired session succeeded")
	}
	e.eventually("renewal tells of the loss", func() bool {
		_, err := s.Renew(e.ctx)
		return errors.Is(err, coordination.ErrSessionLost)
	})
	if _, err := s.Txn(e.ctx, nil, []backend.Op{op(backend.CreateEphemeral, "controller", "zombie")}); !errors.Is(err, coordination.ErrSessionLost) {
		e.Errorf("Txn on an expired session = %v, want ErrSessionLost", err)
	}
	e.holds("controller", "", 0)
}
