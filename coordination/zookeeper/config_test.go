package zookeeper

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/backend/options"
)

func parse(t *testing.T, raw string) (Config, error) {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return ParseURL(u)
}

func TestParseURL(t *testing.T) {
	got, err := parse(t, "zookeeper://h1:2181,h2,h3:99/regency/cluster-a?session=2s&renew=500ms&request=300ms&tick=200ms&user=u&password_file=/p&ca=/a&cert=/b&key=/c")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"h1:2181", "h2:2181", "h3:99"}; !slices.Equal(got.Hosts, want) {
		t.Errorf("Hosts = %v, want %v", got.Hosts, want)
	}
	got.Hosts = nil
	want := Config{
		Prefix: "/regency/cluster-a", Session: 2 * time.Second, Renew: 500 * time.Millisecond, Request: 300 * time.Millisecond,
		Tick: 200 * time.Millisecond, User: "u", PasswordFile: "/p", TLS: options.TLS{CA: "/a", Cert: "/b", Key: "/c"},
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("ParseURL() = %+v, want %+v", got, want)
	}
}

func TestParseURLRefuses(t *testing.T) {
	for raw, want := range map[string][]string{
		"zookeeper:///a":                              {"hosts: none given"},
		"zookeeper://h:2181":                          {`prefix: ""`},
		"zookeeper://h:2181/":                         {`prefix: ""`},
		"zookeeper://h:2181/a//b":                     {"empty segment"},
		"zookeeper://h:2181/../b":                     {"dot segment"},
		"zookeeper://h:2181/zookeeper/b":              {"service's own"},
		"zookeeper://h:0/a":                           {`"h:0" is not host:port`},
		"etcd://h:2181/a":                             {`scheme "etcd"`},
		"zookeeper://u:hunter2@h:1/a":                 {"credentials before the host"},
		"zookeeper://h:1/a?session=fast&tick=-1s":     {"session=fast", "tick=-1s"},
		"zookeeper://h:1/a?sesion=2s":                 {"sesion: unknown key"},
		"zookeeper://h:1/a?session=2s&session=3s":     {"session: given 2 times"},
		"zookeeper://h:1/a?session=2s&renew=1500ms":   {"renew: 1.5s is more than half"},
		"zookeeper://h:1/a?session=2s&request=2s":     {"request: 2s is not below session"},
		"zookeeper://h:1/a?session=1ms":               {"session: 1ms is outside"},
		"zookeeper://h:1/a?user=u":                    {"password_file: want exactly one"},
		"zookeeper://h:1/a?password_file=/x":          {"user: missing"},
		"zookeeper://h:1/a?cert=/x":                   {"cert, key: want both"},
		"zookeeper://h:1/a#x":                         {"fragment"},
		"zookeeper://,/?session=x&renew=y&what=1":     {"hosts", "prefix", "session=x", "renew=y", "what: unknown"},
		"zookeeper://h:1/a?session=2s;renew=1s":       {"query: malformed"},
		"zookeeper://h:1/a?user=a:b&password_file=/x": {"contains a colon"},
	} {
		_, err := parse(t, raw)
		if err == nil {
			t.Errorf("ParseURL(%s) succeeded", raw)
			continue
		}
		for _, part := range want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("ParseURL(%s) = %q, want it to say %q", raw, err, part)
			}
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("ParseURL(%s) tells the password: %v", raw, err)
		}
	}
}

func TestSecretsStayInside(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Hosts: []string{"h:1"}, Prefix: "/a", User: "u", PasswordFile: file}
	cfg, _, err := cfg.load()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Password != "hunter2" {
		t.Errorf("load() read a password of %d bytes, want 7", len(cfg.Password))
	}
	var out strings.Builder
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "config", cfg, "password", cfg.Password)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		fmt.Fprintf(&out, format, cfg)
	}
	if strings.Contains(out.String(), "hunter2") {
		t.Errorf("the password is printed: %s", out.String())
	}
}

func TestNewStoreRefuses(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := Config{Hosts: []string{"h:1"}, Prefix: "/a"}
	for want, change := range map[string]func(*Config){
		"hosts: none given":        func(c *Config) { c.Hosts = nil },
		"read password_file":       func(c *Config) { c.User, c.PasswordFile = "u", filepath.Join(dir, "missing") },
		"holds no PEM certificate": func(c *Config) { c.TLS.CA = junk },
		"read cert and key":        func(c *Config) { c.TLS.Cert, c.TLS.Key = junk, junk },
		"tick: -1ns is negative":   func(c *Config) { c.Tick = -1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := Open(context.Background(), cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open() = %v, want it to say %q", err, want)
		}
	}
}

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"plain-1": "plain-1", "a%20b": "a%20b", "a b": "a~20b", "..": "~2E~2E", ".": "~2E", "a.b": "a.b", "a~b": "a~7Eb", "é": "~C3~A9", "": "",
	} {
		if got := escape(in); got != want {
			t.Errorf("escape(%q) = %q, want %q", in, got, want)
		}
	}
	for _, bad := range []string{"a~", "a~2", "a~zz", "~2e"} {
		if got, err := unescape(bad); err == nil {
			t.Errorf("unescape(%q) = %q, want an error", bad, got)
		}
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("records")
	f.Add("..")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := unescape(escape(s))
		if err != nil || got != s {
			t.Errorf("unescape(escape(%q)) = %q, %v", s, got, err)
		}
	})
}
