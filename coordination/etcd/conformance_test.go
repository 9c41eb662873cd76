package etcd_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/coordtest"
	"github.com/regency-project/regency/coordination/ensemble"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/etcd"
	"github.com/regency-project/regency/coordination/profile"
)

func TestMain(m *testing.M) { os.Exit(coordtest.Main(m, open)) }

func open(ctx context.Context, rawURL string, logger *slog.Logger) (coordination.Coordinator, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	cfg, err := etcd.ParseURL(u)
	if err != nil {
		return nil, err
	}
	return etcd.Open(ctx, cfg, logger)
}

var clusters atomic.Int32

// freshURL names a cluster that no test has used.
func freshURL(t *testing.T, e *ensemble.Ensemble) string {
	t.Helper()
	u, err := e.URL(fmt.Sprintf("test/%d", clusters.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestConformance(t *testing.T) {
	e := ensembletest.Start(t, profile.Etcd, profile.Tuned)
	withLimit := func(t testing.TB, f func(ctx context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := f(ctx); err != nil {
			t.Fatal(err)
		}
	}
	coordtest.Run(t, func(t *testing.T) coordtest.Harness {
		return coordtest.Harness{
			Open: open, URL: freshURL(t, e), OtherURL: freshURL(t, e),
			DetectionBound: e.Profile().Detection().Upper,
			StopQuorum: func(t testing.TB) {
				withLimit(t, func(ctx context.Context) error { _, err := e.StopQuorum(ctx); return err })
			},
			StartQuorum: func(t testing.TB) { withLimit(t, e.StartQuorum) },
		}
	})
}
