package etcd_test

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
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

// TestSecurity: mutual TLS and users. What is refused is refused at once, in words that name the setting, and nothing tells the password.
func TestSecurity(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real member")
	}
	e := ensembletest.StartSecured(t, profile.Etcd, "")
	const secret = "correct-horse-battery"
	grant(t, e.Endpoints(), e.Client, "secure/", secret)
	base := "etcd://" + strings.Join(e.Endpoints(), ",")
	good := ensembletest.Query(e.Client)
	user := "&user=broker&password_file=" + ensembletest.SecretFile(t, secret)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	try := func(raw string) error {
		co, err := open(ctx, raw, e.Logger())
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
	if err := try(base + "/secure?session=10s&request=3s&" + good + user); err != nil {
		t.Fatalf("with all that is needed: %v", err)
	}
	cases := e.Strangers(base+"/secure?session=10s&request=3s&", user)
	maps.Copy(cases, map[string]ensembletest.Refusal{
		"wrong password": {
			URL:  base + "/secure?session=10s&request=3s&" + good + "&user=broker&password_file=" + ensembletest.SecretFile(t, "wrong-"+secret),
			Want: []string{"password_file", `"broker"`},
		},
		"unknown user": {
			URL:  base + "/secure?session=10s&request=3s&" + good + "&user=nobody&password_file=" + ensembletest.SecretFile(t, secret),
			Want: []string{"user", `"nobody"`},
		},
		"no user":        {URL: base + "/secure?session=10s&request=3s&" + good, Want: []string{"user, password_file: missing"}},
		"another prefix": {URL: base + "/elsewhere?session=10s&request=3s&" + good + user, Want: []string{"user: ", "readwrite", "elsewhere/"}},
	})
	e.Refuses(t, cases, try)
	e.Lacks(t, secret)
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
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var rec ensembletest.Record
	_, err = s.OpenSession(ctx)
	rec.Refused(t, "OpenSession() with a user", err, "switched off")
	rec.Lacks(t, "hunter2")
}
