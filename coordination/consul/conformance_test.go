package consul_test

import (
	"context"
	"log/slog"
	"net/url"
	"os"
	"testing"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/consul"
	"github.com/regency-project/regency/coordination/coordtest"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/profile"
)

func TestMain(m *testing.M) { os.Exit(coordtest.Main(m, open)) }

func config(raw string) (consul.Config, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return consul.Config{}, err
	}
	return consul.ParseURL(u)
}

func open(ctx context.Context, raw string, logger *slog.Logger) (coordination.Coordinator, error) {
	cfg, err := config(raw)
	if err != nil {
		return nil, err
	}
	return consul.Open(ctx, cfg, logger)
}

func openStore(_ context.Context, raw string, logger *slog.Logger) (backend.Store, error) {
	cfg, err := config(raw)
	if err != nil {
		return nil, err
	}
	return consul.NewStore(cfg, logger)
}

func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real ensemble")
	}
	ensembletest.Conformance(t, ensembletest.Start(t, profile.Consul, profile.Matched), open, openStore)
}
