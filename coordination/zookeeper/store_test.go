package zookeeper_test

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/backend/backendtest"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/profile"
)

func newStore(t testing.TB, raw string) backend.Store {
	t.Helper()
	store, err := openStore(t.Context(), raw, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestStore(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real ensemble")
	}
	e := ensembletest.Start(t, profile.ZooKeeper, profile.Matched)
	clusters := 0
	backendtest.Run(t, func(t *testing.T) backend.Store {
		clusters++
		return newStore(t, ensembletest.URL(t, e, fmt.Sprintf("store/%d", clusters)))
	})
}
