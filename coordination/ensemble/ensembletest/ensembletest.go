// Package ensembletest gives tests a real ensemble.
package ensembletest

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/ensemble"
	"github.com/regency-project/regency/coordination/profile"
)

// readyLimit is generous: a JVM on a machine whose cores are busy.
const readyLimit = 2 * time.Minute

// Start starts three members that end with the test. Without the server installed the test fails where CI=true and is
// skipped, with the remedy, elsewhere.
func Start(t testing.TB, b profile.Backend, n profile.Name) *ensemble.Ensemble {
	t.Helper()
	return start(t, ensemble.Options{Backend: b, Profile: n})
}

func start(t testing.TB, o ensemble.Options) *ensemble.Ensemble {
	t.Helper()
	Require(t, o.Backend)
	o.Dir, o.Logger = t.TempDir(), slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithTimeout(context.Background(), readyLimit)
	defer cancel()
	e, err := ensemble.Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close the %s ensemble: %v", o.Backend, err)
		}
	})
	return e
}

// StartWith starts what the options say; directory and logger are the test's.
func StartWith(t testing.TB, o ensemble.Options) *ensemble.Ensemble {
	t.Helper()
	return start(t, o)
}

// StartOne starts a single, secured member that ends with the test.
func StartOne(t testing.TB, b profile.Backend, n profile.Name, s profile.Security) *ensemble.Ensemble {
	t.Helper()
	return start(t, ensemble.Options{Backend: b, Profile: n, Members: 1, Security: s})
}

// Require ends the test unless the backend's server is installed.
func Require(t testing.TB, b profile.Backend) {
	t.Helper()
	_, err := ensemble.Locate("", b)
	switch {
	case err == nil:
	case errors.Is(err, ensemble.ErrNoServer) && os.Getenv("CI") != "true":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}
