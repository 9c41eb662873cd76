package zookeeper_test

import (
	"log/slog"
	"testing"

	"github.com/regency-project/regency/coordination/backend"
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
	ensembletest.Stores(t, ensembletest.Start(t, profile.ZooKeeper, profile.Matched), openStore)
}
