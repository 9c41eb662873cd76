package consul_test

import (
	"fmt"
	"log/slog"
	"net/url"
	"testing"

	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/consul"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/profile"
	"github.com/regency-project/regency/coordination/zookeeper/storetest"
)

func newStore(t testing.TB, raw string) backend.Store {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := consul.ParseURL(u)
	if err != nil {
		t.Fatal(err)
	}
	store, err := consul.NewStore(cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestStore(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real ensemble")
	}
	e := ensembletest.Start(t, profile.Consul, profile.Matched)
	clusters := 0
	storetest.Run(t, func(t *testing.T) backend.Store {
		clusters++
		return newStore(t, clusterURL(t, e, fmt.Sprintf("store/%d", clusters)))
	})
}
