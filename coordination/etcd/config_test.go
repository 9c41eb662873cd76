package etcd_test

import (
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/etcd"
)

func TestParseURL(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]etcd.Config{
		"etcd://h1,h2:2379/cluster-a?session=2s": {
			Hosts: []string{"h1:2379", "h2:2379"}, Prefix: "cluster-a", Session: 2 * time.Second,
		},
		"etcd://[::1]:5/a/b/?session=3s&renew=500ms&request=100ms": {
			Hosts: []string{"[::1]:5"}, Prefix: "a/b", Session: 3 * time.Second, Renew: 500 * time.Millisecond, Request: 100 * time.Millisecond,
		},
		"etcd://[::1]": {Hosts: []string{"[::1]:2379"}},
		"etcd://h?user=u&password_file=" + password: {Hosts: []string{"h:2379"}, User: "u", PasswordFile: password},
	} {
		u, err := url.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := etcd.ParseURL(u); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("ParseURL(%s) = %+v, %v, want %+v", in, got, err, want)
		}
	}
}

func TestParseURLNamesWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk.pem")
	if err := os.WriteFile(junk, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"http://h:1/a":                       `scheme "http"`,
		"etcd:///a":                          "hosts: none given",
		"etcd://h:1,h2:0/a":                  `hosts: "h2:0" is not host:port`,
		"etcd://h:1/a%20b":                   `prefix: "a b"`,
		"etcd://h:1/a//b":                    `prefix: "a//b"`,
		"etcd://h:1/a/brokers":               `"brokers" is reserved`,
		"etcd://h:1/a?session=fast":          "session=fast: want a positive duration",
		"etcd://h:1/a?session=-2s":           "session=-2s",
		"etcd://h:1/a?session=300ms":         "session: 300ms is outside 1s to 5m",
		"etcd://h:1/a?session=2s&renew=1s":   "renew: 1s is not less than half",
		"etcd://h:1/a?request=1ms":           "request: 1ms is outside",
		"etcd://h:1/a?sesion=2s":             "sesion: unknown key (known: ca",
		"etcd://h:1/a?session=1s&session=2s": "session: given 2 times",
		"etcd://h:1/a?cert=" + junk:          "cert, key: want both",
		"etcd://h:1/a?user=u":                "password_file: want exactly one",
		"etcd://u:hunter2@h:1/a":             "credentials before the host are refused",
		"etcd://h:1/a#f":                     `fragment "f"`,
	} {
		u, err := url.Parse(in)
		if err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		_, err = etcd.ParseURL(u)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseURL(%s) = %v, want an error with %q", in, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("ParseURL(%s) = %v: prints the password", in, err)
		}
	}
}

// TestNewStoreRefuses: the files that a configuration names are read when the store is made, not at the first request.
func TestNewStoreRefuses(t *testing.T) {
	dir := t.TempDir()
	junk, empty := filepath.Join(dir, "junk.pem"), filepath.Join(dir, "empty")
	for file, text := range map[string]string{junk: "no certificate", empty: "\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for want, change := range map[string]func(*etcd.Config){
		"read ca: open":            func(c *etcd.Config) { c.TLS.CA = filepath.Join(dir, "absent") },
		"holds no PEM certificate": func(c *etcd.Config) { c.TLS.CA = junk },
		"read cert and key":        func(c *etcd.Config) { c.TLS.Cert, c.TLS.Key = junk, junk },
		"read password_file: open": func(c *etcd.Config) { c.User, c.PasswordFile = "u", filepath.Join(dir, "absent") },
		"empty is empty":           func(c *etcd.Config) { c.User, c.PasswordFile = "u", empty },
		"renew: -1ns is negative":  func(c *etcd.Config) { c.Renew = -1 },
	} {
		cfg := etcd.Config{Hosts: []string{"h:1"}}
		change(&cfg)
		if _, err := etcd.NewStore(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewStore() = %v, want it to say %q", err, want)
		}
	}
}
