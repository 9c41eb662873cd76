package zookeeper_test

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/profile"
	"github.com/regency-project/regency/coordination/zookeeper"
)

// TestSecurity: mutual TLS and digest. What is refused is refused at once, in words that name the setting, and nothing tells the password.
func TestSecurity(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real server")
	}
	e := ensembletest.StartSecured(t, profile.ZooKeeper, "")
	const secret = "correct-horse-battery"
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	base := "zookeeper://" + strings.Join(e.Endpoints(), ",") + "/secure?session=10s&request=3s&tick=200ms&"
	good := ensembletest.Query(e.Client)
	user := "&user=broker&password_file=" + ensembletest.SecretFile(t, secret)

	store := func(raw string) backend.Store {
		t.Helper()
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := zookeeper.ParseURL(u)
		if err != nil {
			t.Fatal(err)
		}
		s, err := zookeeper.NewStore(cfg, e.Logger())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	owner := store(base + good + user)
	s, err := owner.OpenSession(ctx)
	if err != nil {
		t.Fatalf("with all that is needed: %v", err)
	}
	if _, err := s.Txn(ctx, nil, []backend.Op{{Kind: backend.Create, Key: "chain", Value: []byte("v")}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
	cases := e.Strangers(base, user)
	maps.Copy(cases, map[string]ensembletest.Refusal{
		"wrong password": {
			URL: base + good + "&user=broker&password_file=" + ensembletest.SecretFile(t, "wrong-"+secret), Want: []string{"password_file"},
		},
		"another user": {
			URL: base + good + "&user=nobody&password_file=" + ensembletest.SecretFile(t, secret), Want: []string{"user and password_file"},
		},
		"no user": {URL: base + good, Want: []string{"user and password_file"}},
	})
	e.Refuses(t, cases, func(raw string) error {
		_, err := store(raw).OpenSession(ctx)
		return err
	})
	for name, c := range cases {
		refused := store(c.URL)
		_, err := refused.Get(ctx, "chain")
		// A read has one request's time, which on a busy machine may end before a handshake does.
		for err != nil && !strings.Contains(err.Error(), c.Want[0]) && ctx.Err() == nil {
			_, err = refused.Get(ctx, "chain")
		}
		e.Refused(t, name+": Get()", err, c.Want...)
		if !errors.Is(err, coordination.ErrUnavailable) {
			t.Errorf("%s: Get() = %v, want ErrUnavailable", name, err)
		}
	}
	e.Lacks(t, secret)
}

// TestStrangersCannotWrite: the nodes that a user's session made are closed to others, in each of the directories that a broker writes to.
func TestStrangersCannotWrite(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real server")
	}
	e := ensembletest.StartOne(t, profile.ZooKeeper, profile.Tuned, profile.Security{})
	raw := ensembletest.URL(t, e, "closed")
	owner := newStore(t, raw+"&user=broker&password_file="+ensembletest.SecretFile(t, "hunter2"))
	defer owner.Close()
	s, err := owner.OpenSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ops := []backend.Op{
		{Kind: backend.Create, Key: "chain"}, {Kind: backend.Create, Key: "ring/01"}, {Kind: backend.Create, Key: "records/a"},
		{Kind: backend.CreateEphemeral, Key: "controller"}, {Kind: backend.CreateEphemeral, Key: "brokers/1"},
	}
	if _, err := s.Txn(t.Context(), nil, ops); err != nil {
		t.Fatal(err)
	}
	conn := rawConn(t, e.Endpoints())
	for _, op := range ops {
		if _, _, err := conn.Get("/closed/" + op.Key); err == nil {
			t.Errorf("a stranger reads %s", op.Key)
		}
		if _, err := conn.Set("/closed/"+op.Key, nil, -1); err == nil {
			t.Errorf("a stranger writes %s", op.Key)
		}
		if err := conn.Delete("/closed/"+op.Key, -1); err == nil {
			t.Errorf("a stranger deletes %s", op.Key)
		}
	}
	for _, dir := range backend.Directories {
		if _, err := conn.Create("/closed/"+dir+"/strange", nil, 0, worldACL); err == nil {
			t.Errorf("a stranger creates in %s", dir)
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
