package ensembletest

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/backend/options"
	"github.com/regency-project/regency/coordination/ensemble"
	"github.com/regency-project/regency/coordination/profile"
)

// promptly bounds a refusal on a loaded machine. A session that is tried for ever would be told by the caller's context, minutes later.
const promptly = 20 * time.Second

// Secured is an ensemble that serves TLS only, and only to clients with a certificate of its authority.
type Secured struct {
	*ensemble.Ensemble
	// Client are the files of a client that is served. Strange are those of one whose certificate is another authority's, and Distrusting of one that takes
	// another authority's for the service's.
	Client, Strange, Distrusting options.TLS
	// Record holds all that was logged with its logger, and every refusal.
	Record
}

// StartSecured starts three members that end with the test, after it has made sure that they are as closed towards each other's ports as towards clients. The
// token is Consul's for everything; empty: there are none.
func StartSecured(t testing.TB, b profile.Backend, managementToken string) *Secured {
	t.Helper()
	ours, other := NewAuthority(t), NewAuthority(t)
	issue := func(from *Authority, name string) options.TLS {
		cert, key := from.Issue(t, name)
		return options.TLS{CA: ours.File, Cert: cert, Key: key}
	}
	server := issue(ours, "server")
	s := &Secured{Client: issue(ours, "machine"), Strange: issue(other, "stranger")}
	s.Distrusting = s.Client
	s.Distrusting.CA = other.File
	s.Ensemble = start(t, ensemble.Options{Backend: b, Profile: profile.Tuned, Security: profile.Security{
		CA: ours.File, Cert: server.Cert, Key: server.Key, ClientCerts: true, ManagementToken: managementToken,
	}})
	for _, m := range s.Members() {
		for _, c := range []struct {
			who   string
			files options.TLS
			ok    bool
		}{
			{"one with a member's certificate", server, true},
			{"one with another authority's certificate", s.Strange, false},
			{"one without a certificate", options.TLS{CA: ours.File}, false},
		} {
			if err := shakeHands(t, b, m.Peer, c.files); (err == nil) != c.ok {
				t.Errorf("%s lets in %s at the members' port: %v, want %v (%v)", m.Name, c.who, err == nil, c.ok, err)
			}
		}
	}
	return s
}

// shakeHands opens a TLS connection as a member would.
func shakeHands(t testing.TB, b profile.Backend, address string, files options.TLS) error {
	t.Helper()
	config, err := files.Load()
	check(t, err)
	config.ServerName = "127.0.0.1"
	config.MaxVersion = tls.VersionTLS12 // whose handshake ends after the server has looked at our certificate; that of 1.3 does before
	conn, err := net.DialTimeout("tcp", address, promptly)
	if err != nil {
		return err
	}
	defer conn.Close()
	check(t, conn.SetDeadline(time.Now().Add(promptly)))
	if b == profile.Consul { // a byte says what is to come on the port that its protocols share: here, TLS
		if _, err := conn.Write([]byte{3}); err != nil {
			return err
		}
	}
	return tls.Client(conn, config).Handshake()
}

// Query is the part of a coordination URL's query that names the files, those that there are.
func Query(files options.TLS) string {
	var parts []string
	for _, p := range [][2]string{{"ca", files.CA}, {"cert", files.Cert}, {"key", files.Key}} {
		if p[1] != "" {
			parts = append(parts, p[0]+"="+p[1])
		}
	}
	return strings.Join(parts, "&")
}

// Refusal is a URL that must be refused, and what the refusal must say.
type Refusal struct {
	URL  string
	Want []string
}

// Strangers are the refusals of clients with the wrong files. base is a cluster's URL up to the query, which it ends with "?" or "&"; rest is what else a client
// would need.
func (s *Secured) Strangers(base, rest string) map[string]Refusal {
	return map[string]Refusal{
		"another CA":          {base + Query(s.Distrusting) + rest, []string{"ca: ", s.Distrusting.CA, "does not vouch"}},
		"no CA":               {base + Query(options.TLS{Cert: s.Client.Cert, Key: s.Client.Key}) + rest, []string{"ca: missing"}},
		"no certificate":      {base + Query(options.TLS{CA: s.Client.CA}) + rest, []string{"cert, key: missing"}},
		"another certificate": {base + Query(s.Strange) + rest, []string{"cert, key: ", s.Strange.Cert}},
	}
}

// Refuses tries each, which must be refused soon and in the words that it wants.
func (s *Secured) Refuses(t testing.TB, cases map[string]Refusal, try func(url string) error) {
	t.Helper()
	for name, c := range cases {
		began := time.Now()
		s.Refused(t, name, try(c.URL), c.Want...)
		if took := time.Since(began); took > promptly {
			t.Errorf("%s was refused after %v", name, took)
		}
	}
}

// SecretFile is a file that holds the text and ends with the test.
func SecretFile(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	check(t, os.WriteFile(file, []byte(text+"\n"), 0o600))
	return file
}
