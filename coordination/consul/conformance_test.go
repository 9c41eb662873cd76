package consul_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/consul"
	"github.com/regency-project/regency/coordination/coordtest"
	"github.com/regency-project/regency/coordination/ensemble"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/profile"
)

func open(ctx context.Context, raw string, logger *slog.Logger) (coordination.Coordinator, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	cfg, err := consul.ParseURL(u)
	if err != nil {
		return nil, err
	}
	return consul.Open(ctx, cfg, logger)
}

func TestMain(m *testing.M) { os.Exit(coordtest.Main(m, open)) }

// outageLimit is how long an ensemble may take to serve again.
const outageLimit = time.Minute

func clusterURL(t testing.TB, e *ensemble.Ensemble, prefix string) string {
	t.Helper()
	u, err := e.URL(prefix)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real ensemble")
	}
	e := ensembletest.Start(t, profile.Consul, profile.Matched)
	clusters := 0
	coordtest.Run(t, func(t *testing.T) coordtest.Harness {
		clusters++
		return coordtest.Harness{
			Open:           open,
			URL:            clusterURL(t, e, fmt.Sprintf("conformance-%d", clusters)),
			OtherURL:       clusterURL(t, e, fmt.Sprintf("conformance-%d-other", clusters)),
			DetectionBound: e.Profile().Detection().Upper,
			StopQuorum: func(t testing.TB) {
				ctx, cancel := context.WithTimeout(context.Background(), outageLimit)
				defer cancel()
				if _, err := e.StopQuorum(ctx); err != nil {
					t.Fatalf("StopQuorum() = %v", err)
				}
			},
			StartQuorum: func(t testing.TB) {
				ctx, cancel := context.WithTimeout(context.Background(), outageLimit)
				defer cancel()
				if err := e.StartQuorum(ctx); err != nil {
					t.Fatalf("StartQuorum() = %v", err)
				}
			},
		}
	})
}
