package ensembletest

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/backend/backendtest"
	"github.com/regency-project/regency/coordination/coordtest"
	"github.com/regency-project/regency/coordination/ensemble"
)

// Stores runs the suite of package backendtest against an ensemble, each test in a cluster (prefix) of its own.
func Stores(t *testing.T, e *ensemble.Ensemble, open coordtest.StoreOpener) {
	t.Helper()
	clusters := 0
	backendtest.Run(t, func(t *testing.T) backendtest.Harness {
		clusters++
		return StoreHarness(t, open, func(suffix string) string { return URL(t, e, fmt.Sprintf("store/%d%s", clusters, suffix)) })
	})
}

// StoreHarness opens the stores of the cluster whose URL is at(""); any other suffix is of its name.
func StoreHarness(t testing.TB, open coordtest.StoreOpener, at func(suffix string) string) backendtest.Harness {
	opener := func(u string) func(testing.TB) backend.Store {
		return func(t testing.TB) backend.Store {
			t.Helper()
			store, err := open(context.Background(), u, slog.New(slog.NewTextHandler(t.Output(), nil)))
			check(t, err)
			return store
		}
	}
	return backendtest.Harness{
		Open:          opener(at("")),
		OpenNeighbour: opener(at("-neighbour")),
		OpenAsking: func(timeout time.Duration) (backend.Store, error) {
			u, err := url.Parse(at(""))
			check(t, err)
			q := u.Query()
			q.Set("session", timeout.String())
			q.Del("renew") // which suits the profile's session only
			u.RawQuery = q.Encode()
			return open(context.Background(), u.String(), slog.New(slog.NewTextHandler(t.Output(), nil)))
		},
	}
}
