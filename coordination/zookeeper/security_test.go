package zookeeper_test

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/profile"
	"github.com/regency-project/regency/coordination/zookeeper"
)

// promptly bounds a refusal on a loaded machine. A session that is tried for ever would be told by the context, minutes later.
const promptly = 20 * time.Second

func secretFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestSecurity: mutual TLS and digest. What is refused is refused at once, in words that name the setting, and nothing tells the password.
func TestSecurity(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real server")
	}
	ours, other := ensembletest.NewAuthority(t), ensembletest.NewAuthority(t)
	serverCert, serverKey := ours.Issue(t, "server")
	cert, key := ours.Issue(t, "machine")
	strangeCert, strangeKey := other.Issue(t, "stranger")
	e := ensembletest.StartOne(t, profile.ZooKeeper, profile.Tuned, profile.Security{CA: ours.File, Cert: serverCert, Key: serverKey, ClientCerts: true})
	const secret = "correct-horse-battery"
	var rec ensembletest.Record
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	base := "zookeeper://" + strings.Join(e.Endpoints(), ",") + "/secure?session=4s&request=1s&tick=200ms&"
	good := "ca=" + ours.File + "&cert=" + cert + "&key=" + key
	user := "&user=broker&password_file=" + secretFile(t, secret)

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
		s, err := zookeeper.NewStore(cfg, rec.Logger())
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
	for name, c := range map[string]struct {
		raw  string
		want []string
	}{
		"another CA":          {base + "ca=" + other.File + "&cert=" + cert + "&key=" + key + user, []string{"ca: ", other.File, "does not vouch"}},
		"no CA":               {base + "cert=" + cert + "&key=" + key + user, []string{"ca: missing"}},
		"no certificate":      {base + "ca=" + ours.File + user, []string{"cert, key: missing"}},
		"another certificate": {base + "ca=" + ours.File + "&cert=" + strangeCert + "&key=" + strangeKey + user, []string{"cert, key: ", strangeCert}},
		"wrong password":      {base + good + "&user=broker&password_file=" + secretFile(t, "wrong-"+secret), []string{"password_file"}},
		"another user":        {base + good + "&user=nobody&password_file=" + secretFile(t, secret), []string{"user and password_file"}},
		"no user":             {base + good, []string{"user and password_file"}},
	} {
		refused := store(c.raw)
		began := time.Now()
		_, err := refused.OpenSession(ctx)
		rec.Refused(t, name+": OpenSession()", err, c.want...)
		// A read has one request's time, which on a busy machine may end before a handshake does.
		for _, err = refused.Get(ctx, "chain"); err != nil && !strings.Contains(err.Error(), c.want[0]) && time.Since(began) < promptly; {
			_, err = refused.Get(ctx, "chain")
		}
		rec.Refused(t, name+": Get()", err, c.want...)
		if !errors.Is(err, coordination.ErrUnavailable) {
			t.Errorf("%s: Get() = %v, want ErrUnavailable", name, err)
		}
		if took := time.Since(began); took > promptly {
			t.Errorf("%s was refused after %v", name, took)
		}
	}
	rec.Lacks(t, secret)
}

// TestStrangersCannotWrite: the nodes that a user's session made are closed to others, in each of the directories that a broker writes to.
func TestStrangersCannotWrite(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real server")
	}
	e := ensembletest.StartOne(t, profile.ZooKeeper, profile.Tuned, profile.Security{})
	raw := ensembletest.URL(t, e, "closed")
	owner := newStore(t, raw+"&user=broker&password_file="+secretFile(t, "hunter2"))
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
