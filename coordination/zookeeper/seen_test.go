package zookeeper

import (
	"log/slog"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/profile"
)

// TestGetManyFeedsGuards: who reads the heads with GetMany and then guards on them pays no second read, and the guard is the right one.
func TestGetManyFeedsGuards(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real server")
	}
	e := ensembletest.StartOne(t, profile.ZooKeeper, profile.Tuned, profile.Security{})
	open := func() *Store {
		s, err := NewStore(Config{Hosts: e.Endpoints(), Prefix: "/seen", Session: 10 * time.Second}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s.(*Store)
	}
	keys := []string{"chain", "controller", "records/a", "absent"}
	writer, err := open().OpenSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ops := []backend.Op{{Kind: backend.Create, Key: "chain"}, {Kind: backend.CreateEphemeral, Key: "controller"}, {Kind: backend.Create, Key: "records/a"}}
	if _, err := writer.Txn(t.Context(), nil, ops); err != nil {
		t.Fatal(err)
	}
	s := open()
	ses, err := s.OpenSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	entries, err := s.GetMany(t.Context(), keys)
	if err != nil {
		t.Fatal(err)
	}
	for i, cached := range []bool{true, true, false, false} {
		if m, ok := s.seen.get(keys[i]); ok != cached || ok && m.version != entries[i].Version {
			t.Errorf("after GetMany() the cache has %q: %v (%+v), want %v, version %d", keys[i], ok, m, cached, entries[i].Version)
		}
	}
	var guards []backend.Guard
	for _, e := range entries {
		guards = append(guards, backend.Guard{Key: e.Key, Version: e.Version})
	}
	set := []backend.Op{{Kind: backend.Set, Key: "chain"}}
	if _, err := ses.Txn(t.Context(), guards, set); err != nil {
		t.Errorf("Txn() guarded by what GetMany() read = %v", err)
	}
	if _, err := ses.Txn(t.Context(), guards, set); err == nil {
		t.Error("Txn() guarded by a version of before succeeded")
	}
}
