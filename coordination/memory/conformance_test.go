package memory_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/coordtest"
	"github.com/regency-project/regency/coordination/memory"
)

// servers are found by URL, as real services are.
type servers struct {
	mu struct {
		sync.Mutex
		byURL map[string]*memory.Server
	}
}

func (s *servers) at(url string) *memory.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.byURL == nil {
		s.mu.byURL = map[string]*memory.Server{}
	}
	if s.mu.byURL[url] == nil {
		s.mu.byURL[url] = memory.NewServer(500 * time.Millisecond)
	}
	return s.mu.byURL[url]
}

func TestConformance(t *testing.T) {
	var all servers
	open := func(_ context.Context, url string, logger *slog.Logger) (coordination.Coordinator, error) {
		return all.at(url).Open(logger), nil
	}
	store := func(_ context.Context, url string, _ *slog.Logger) (backend.Store, error) {
		return all.at(url).Store(), nil
	}
	n := 0
	coordtest.Run(t, func(*testing.T) coordtest.Harness {
		n++
		url, other := fmt.Sprintf("memory:%d", n), fmt.Sprintf("memory:%d-other", n)
		return coordtest.Harness{
			Open: open, OpenStore: store, URL: url, OtherURL: other,
			Crowd:       100, // with sessions this short, more would starve each other on a loaded machine
			StopQuorum:  func(testing.TB) { all.at(url).SetDown(true) },
			StartQuorum: func(testing.TB) { all.at(url).SetDown(false) },
		}
	})
}
