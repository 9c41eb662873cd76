package zookeeper_test

import (
	"context"
	"log/slog"
	"net/url"
	"os"
	"testing"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/coordtest"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/profile"
	"github.com/regency-project/regency/coordination/zookeeper"
)

func TestMain(m *testing.M) { os.Exit(coordtest.Main(m, open)) }

func config(raw string) (zookeeper.Config, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return zookeeper.Config{}, err
	}
	return zookeeper.ParseURL(u)
}

func open(ctx context.Context, raw string, logger *slog.Logger) (coordination.Coordinator, error) {
	cfg, err := config(raw)
	if err != nil {
		return nil, err
	}
	return zookeeper.Open(ctx, cfg, logger)
}

func openStore(_ context.Context, raw string, logger *slog.Logger) (backend.Store, error) {
	cfg, err := config(raw)
	if err != nil {
		return nil, err
	}
	return zookeeper.NewStore(cfg, logger)
}

func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real ensemble")
	}
	ensembletest.Conformance(t, ensembletest.Start(t, profile.ZooKeeper, profile.Matched), open, openStore)
}
