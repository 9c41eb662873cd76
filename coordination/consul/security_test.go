package consul_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend/options"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/profile"
)

// policy is the least that a cluster's token needs: the package comment holds the same text.
const policy = `key_prefix "%[1]s/"         { policy = "write" }
session      "regency-%[1]s" { policy = "write" }
node         "regency-%[1]s" { policy = "write" }
`

// management is a client that may do everything.
func management(t *testing.T, host, token string, files options.TLS) *api.Client {
	t.Helper()
	config, err := files.Load()
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	scheme := "http"
	if config != nil {
		scheme = "https"
	}
	c, err := api.NewClient(&api.Config{Address: host, Scheme: scheme, Token: token, HttpClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// grant makes a token with the rules.
func grant(t *testing.T, c *api.Client, name, rules string) string {
	t.Helper()
	if _, _, err := c.ACL().PolicyCreate(&api.ACLPolicy{Name: name, Rules: rules}, nil); err != nil {
		t.Fatal(err)
	}
	token, _, err := c.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{Name: name}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return token.SecretID
}

// TestSecurity: HTTPS with client certificates, and tokens under "deny". The documented policy is enough for everything, each rule of it is needed, and what
// is refused is refused at once, in words that name the setting.
func TestSecurity(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real server")
	}
	const root = "6e9b04ec-3b8f-4c3a-9a39-1f3b4a6d2f10"
	e := ensembletest.StartSecured(t, profile.Consul, root)
	c := management(t, e.Endpoints()[0], root, e.Client)
	secret := grant(t, c, "least", fmt.Sprintf(policy, "secure"))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	base := "consul://" + strings.Join(e.Endpoints(), ",") + "/secure?session=10s&request=3s&lock-delay=1ns&"
	good := ensembletest.Query(e.Client)
	token := func(secret string) string { return "&token_file=" + ensembletest.SecretFile(t, secret) }

	try := func(raw string) error { return useAll(ctx, raw, &e.Record) }
	if err := try(base + good + token(secret)); err != nil {
		t.Fatalf("with all that is needed: %v", err)
	}
	secrets := []string{secret, root}
	cases := e.Strangers(base, token(secret))
	maps.Copy(cases, map[string]ensembletest.Refusal{
		"no TLS":         {URL: "consul://" + e.Endpoints()[0] + "/secure?session=2s" + token(secret), Want: []string{"ca: missing"}},
		"no token":       {URL: base + good, Want: []string{"token_file: "}},
		"unknown token":  {URL: base + good + token("11111111-2222-3333-4444-555555555555"), Want: []string{"token_file: "}},
		"another prefix": {URL: strings.Replace(base, "/secure?", "/elsewhere?", 1) + good + token(secret), Want: []string{"token_file: "}},
	})
	// Each rule is lacked in a cluster of its own: the node that another made needs no right any more.
	for i := range strings.Count(policy, "\n") {
		prefix := fmt.Sprintf("lack-%d", i)
		lines := strings.SplitAfter(strings.TrimSpace(fmt.Sprintf(policy, prefix)), "\n")
		weak := grant(t, c, prefix, strings.Join(slices.Delete(slices.Clone(lines), i, i+1), ""))
		secrets = append(secrets, weak)
		cases["without "+strings.Fields(lines[i])[0]] = ensembletest.Refusal{
			URL: strings.Replace(base, "/secure?", "/"+prefix+"?", 1) + good + token(weak), Want: []string{"token_file: "},
		}
	}
	e.Refuses(t, cases, try)
	e.Lacks(t, secrets...)
}

// useAll does what a broker does: everything that a token could forbid.
func useAll(ctx context.Context, raw string, rec *ensembletest.Record) error {
	co, err := open(ctx, raw, rec.Logger())
	if err != nil {
		return err
	}
	defer co.Close()
	s, err := co.OpenSession(ctx, coordination.SessionOptions{})
	if err != nil {
		return err
	}
	defer s.Close(ctx)
	if _, err := s.Bootstrap(ctx); err != nil {
		return err
	}
	if _, err := s.Register(ctx, coordination.Registration{ID: 1, DirectoryUUID: "d"}); err != nil {
		return err
	}
	l, err := s.Campaign(ctx)
	if err != nil {
		return err
	}
	seq, err := l.Commit(ctx, []coordination.Mutation{{Key: "k", Value: []byte("v")}})
	if err != nil {
		return err
	}
	wctx, stop := context.WithCancel(ctx)
	defer stop()
	var seen uint64
	_ = co.Watch(wctx, func(ev coordination.Event) {
		if seen = ev.Seq; seen >= seq {
			stop()
		}
	})
	if seen < seq {
		return fmt.Errorf("the watch ended at %d, want %d", seen, seq)
	}
	if err := l.Resign(ctx); err != nil {
		return err
	}
	return s.Close(ctx)
}
