package etcd_test

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
	"github.com/regency-project/regency/coordination/etcd"
	"github.com/regency-project/regency/coordination/profile"
)

func TestMain(m *testing.M) { os.Exit(coordtest.Main(m, open)) }

func config(raw string) (etcd.Config, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return etcd.Config{}, err
	}
	return etcd.ParseURL(u)
}

func open(ctx context.Context, raw string, logger *slog.Logger) (coordination.Coordinator, error) {
	cfg, err := config(raw)
	if err != nil {
		return nil, err
	}
	return etcd.Open(ctx, cfg, logger)
}

func openStore(_ context.Context, raw string, _ *slog.Logger) (backend.Store, error) {
	cfg, err := config(raw)
	if err != nil {
		return nil, err
	}
	return etcd.NewStore(cfg)
}

func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real ensemble")
	}
	ensembletest.Conformance(t, ensembletest.Start(t, profile.Etcd, profile.Tuned), open, openStore)
}
