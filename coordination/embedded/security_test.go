package embedded_test

import (
	"sync"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/backend/options"
	"github.com/regency-project/regency/coordination/embedded"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
)

// TestSecurity: two of three members and a client with certificates of one authority. Whoever lacks one, or trusts another authority, is refused soon and told
// which setting to change: a client as well as a member, which must not take the others for absent and found a cluster of its own.
func TestSecurity(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three members")
	}
	ctx := testContext(t)
	ours, other := ensembletest.NewAuthority(t), ensembletest.NewAuthority(t)
	issue := func(a *ensembletest.Authority, name string) options.TLS {
		cert, key := a.Issue(t, name)
		return options.TLS{CA: ours.File, Cert: cert, Key: key}
	}
	cfg := configs(t, 3)
	var rec ensembletest.Record
	var wg sync.WaitGroup
	for i := range cfg {
		cfg[i].TLS = issue(ours, "broker")
	}
	for _, c := range cfg[:2] {
		wg.Go(func() {
			co, err := embedded.Open(ctx, c, rec.Logger())
			if err != nil {
				t.Errorf("Open() of %d = %v", c.ID, err)
				return
			}
			t.Cleanup(func() { _ = co.Close() })
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	client := cfg[0]
	client.ID, client.TLS = 9, issue(ours, "client")
	co := mustOpen(ctx, t, client)
	defer co.Close()
	bootstrap(ctx, t, co)

	stranger := issue(other, "stranger")
	distrusting := issue(ours, "distrusting")
	distrusting.CA = other.File
	for name, c := range map[string]struct {
		files options.TLS
		want  string
	}{
		"no certificate":      {options.TLS{CA: ours.File}, "cert, key: missing"},
		"another certificate": {stranger, "cert, key: the server refuses the certificate in " + stranger.Cert},
		"another CA":          {distrusting, "ca: " + other.File + " does not vouch"},
	} {
		began := time.Now()
		refused := func(what string, cfg embedded.Config) {
			cfg.TLS = c.files
			_, err := embedded.Open(ctx, cfg, rec.Logger())
			rec.Refused(t, "Open() of a "+what+" with "+name, err, c.want)
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("a %s with %s was refused after %v", what, name, took)
			}
		}
		// The third member is down, so two faults are not all: a client waits a while for it, and the clients do at the same time.
		wg.Go(func() { refused("client", client) })
		refused("member", cfg[2])
	}
	wg.Wait()
}
