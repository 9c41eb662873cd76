package etcd

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/profile"
)

// TestCompactedStreamEnds: the client library's watcher leaves it to its reader to notice a compaction. A stream that begins at a compacted revision ends
// with an error that says so, and the caller lists again; it does not stay, silent and live.
func TestCompactedStreamEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real member")
	}
	e := ensembletest.StartOne(t, profile.Etcd, profile.Tuned, profile.Security{})
	s, err := NewStore(Config{Hosts: e.Endpoints(), Prefix: "history", Session: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ses, err := s.OpenSession(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer ses.Close(ctx)
	for range 3 {
		if _, err := ses.Txn(ctx, nil, []backend.Op{{Kind: backend.Set, Key: "chain", Value: []byte("v")}}); err != nil {
			t.Fatal(err)
		}
	}
	_, rev, err := s.get(ctx, "chain")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ms.all[0].client.Compact(ctx, rev); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	err = s.follow(ctx, &pb.WatchCreateRequest{Key: []byte(s.prefix + "chain"), StartRevision: rev - 2}, func(ev []*mvccpb.Event) {
		if len(ev) > 0 {
			t.Errorf("%d events were told from a revision that is compacted", len(ev))
		}
	})
	if err == nil || !strings.Contains(err.Error(), "compacted at revision") || time.Since(began) > 10*time.Second {
		t.Errorf("follow() from a compacted revision = %v after %v, want an error that says so at once", err, time.Since(began))
	}
	// Called again, the watch begins with a read.
	wctx, stop := context.WithCancel(ctx)
	var got backend.Entry
	if err := s.Watch(wctx, "chain", func(e backend.Entry) { got = e; stop() }); !errors.Is(err, context.Canceled) || got.Version == 0 {
		t.Errorf("Watch() after the compaction told version %d and returned %v", got.Version, err)
	}
}
