package zookeeper_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/profile"
)

// TestDigest: what a user made is closed to others, who are told why.
func TestDigest(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real ensemble")
	}
	e := ensembletest.Start(t, profile.ZooKeeper, profile.Matched)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	raw := ensembletest.URL(t, e, "digest/cluster")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	owner := newStore(t, raw+"&user=regency&password_file="+file)
	defer owner.Close()
	s, err := owner.OpenSession(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Txn(ctx, nil, []backend.Op{{Kind: backend.Create, Key: "chain", Value: []byte("secret")}}); err != nil {
		t.Fatal(err)
	}
	if got, err := owner.Get(ctx, "chain"); err != nil || string(got.Value) != "secret" {
		t.Errorf("Get(chain) = %q, %v", got.Value, err)
	}
	stranger := newStore(t, raw)
	defer stranger.Close()
	if got, err := stranger.Get(ctx, "chain"); err == nil || !strings.Contains(err.Error(), "password_file") {
		t.Errorf("Get(chain) without credentials = %q, %v, want an error that names password_file", got.Value, err)
	}
	if _, err := stranger.OpenSession(ctx); err == nil || ctx.Err() != nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("OpenSession() without credentials = %v, want a prompt error", err)
	}
	if err := s.Close(ctx); err != nil {
		t.Errorf("Close() = %v", err)
	}
}
