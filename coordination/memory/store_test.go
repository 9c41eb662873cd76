package memory_test

import (
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/backend/backendtest"
	"github.com/regency-project/regency/coordination/memory"
)

func TestStore(t *testing.T) {
	backendtest.Run(t, func(*testing.T) backendtest.Harness {
		server, other := memory.NewServer(time.Second), memory.NewServer(time.Second)
		return backendtest.Harness{
			Open:          func(testing.TB) backend.Store { return server.Store() },
			OpenNeighbour: func(testing.TB) backend.Store { return other.Store() },
			OpenAsking:    func(timeout time.Duration) (backend.Store, error) { return memory.NewServer(timeout).Store(), nil },
		}
	})
}
