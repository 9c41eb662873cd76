package etcd_test

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend/options"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/etcd"
	"github.com/regency-project/regency/coordination/profile"
)

// promptly bounds a refusal on a loaded machine. A session that is tried for ever would be told by the context, a minute later.
const promptly = 20 * time.Second

func secretFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestSecurity: mutual TLS and users. What is refused is refused at once, in words that name the setting, and nothing tells the password.
func TestSecurity(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real member")
	}
	ours, other := ensembletest.NewAuthority(t), ensembletest.NewAuthority(t)
	serverCert, serverKey := ours.Issue(t, "server")
	cert, key := ours.Issue(t, "machine")
	strangeCert, strangeKey := other.Issue(t, "stranger")
	e := ensembletest.StartOne(t, profile.Etcd, profile.Tuned, profile.Security{CA: ours.File, Cert: serverCert, Key: serverKey, ClientCerts: true})
	const secret = "correct-horse-battery"
	grant(t, e.Endpoints(), options.TLS{CA: ours.File, Cert: cert, Key: key}, "secure/", secret)
	var rec ensembletest.Record
	base := "etcd://" + strings.Join(e.Endpoints(), ",")
	good := "ca=" + ours.File + "&cert=" + cert + "&key=" + key
	user := "&user=broker&password_file=" + secretFile(t, secret)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	try := func(raw string) error {
		co, err := open(ctx, raw, rec.Logger())
		if err != nil {
			return err
		}
		defer co.Close()
		s, err := co.OpenSession(ctx, coordination.SessionOptions{})
		if err != nil {
			return err
		}
		_, err = s.Bootstrap(ctx)
		return errors.Join(err, s.Close(ctx))
	}
	if err := try(base + "/secure?" + good + user); err != nil {
		t.Fatalf("with all that is needed: %v", err)
	}
	for name, c := range map[string]struct {
		raw  string
		want []string
	}{
		"another CA":          {base + "/secure?ca=" + other.File + "&cert=" + cert + "&key=" + key + user, []string{"ca: ", other.File, "does not vouch"}},
		"no CA":               {base + "/secure?cert=" + cert + "&key=" + key + user, []string{"ca: missing"}},
		"no certificate":      {base + "/secure?ca=" + ours.File + user, []string{"cert, key: missing"}},
		"another certificate": {base + "/secure?ca=" + ours.File + "&cert=" + strangeCert + "&key=" + strangeKey + user, []string{"cert, key: ", strangeCert}},
		"wrong password":      {base + "/secure?" + good + "&user=broker&password_file=" + secretFile(t, "wrong-"+secret), []string{"password_file", `"broker"`}},
		"unknown user":        {base + "/secure?" + good + "&user=nobody&password_file=" + secretFile(t, secret), []string{"user", `"nobody"`}},
		"no user":             {base + "/secure?" + good, []string{"user, password_file: missing"}},
		"another prefix":      {base + "/elsewhere?" + good + user, []string{"user: ", "readwrite", "elsewhere/"}},
	} {
		began := time.Now()
		rec.Refused(t, name, try(c.raw), c.want...)
		if took := time.Since(began); took > promptly {
			t.Errorf("%s was refused after %v", name, took)
		}
	}
	rec.Lacks(t, secret)
}

// grant makes a user "broker" whose role may read and write below the prefix, as the package comment says, and switches authentication on.
func grant(t *testing.T, endpoints []string, files options.TLS, prefix, password string) {
	t.Helper()
	tlsConfig, err := files.Load()
	if err != nil {
		t.Fatal(err)
	}
	raw := rawClient(t, endpoints, tlsConfig)
	ctx := t.Context()
	for _, err := range []error{
		second(raw.UserAdd(ctx, "root", "root")), second(raw.UserGrantRole(ctx, "root", "root")),
		second(raw.RoleAdd(ctx, "broker")),
		second(raw.RoleGrantPermission(ctx, "broker", prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermReadWrite))),
		second(raw.UserAdd(ctx, "broker", password)), second(raw.UserGrantRole(ctx, "broker", "broker")),
		second(raw.AuthEnable(ctx)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func rawClient(t *testing.T, endpoints []string, tlsConfig *tls.Config) *clientv3.Client {
	t.Helper()
	raw, err := clientv3.New(clientv3.Config{Endpoints: endpoints, TLS: tlsConfig, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	return raw
}

// TestAuthenticationSwitchedOff: a user is configured, and the service has none.
func TestAuthenticationSwitchedOff(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real member")
	}
	e := ensembletest.StartOne(t, profile.Etcd, profile.Tuned, profile.Security{})
	s, err := etcd.NewStore(etcd.Config{Hosts: e.Endpoints(), User: "broker", Password: "hunter2"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), promptly)
	defer cancel()
	var rec ensembletest.Record
	_, err = s.OpenSession(ctx)
	rec.Refused(t, "OpenSession() with a user", err, "switched off")
	rec.Lacks(t, "hunter2")
}
