package consul

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
	got, err := parse(t, "consul://h1:8501,h2,h3:99/regency/cluster-a?session=1250ms&renew=500ms&request=200ms&lock-delay=1s&token_file=/t&ca=/a&cert=/b&key=/c")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"h1:8501", "h2:8500", "h3:99"}; !slices.Equal(got.Hosts, want) {
		t.Errorf("Hosts = %v, want %v", got.Hosts, want)
	}
	got.Hosts = nil
	want := Config{
		Prefix: "regency/cluster-a", Session: 1250 * time.Millisecond, Renew: 500 * time.Millisecond, Request: 200 * time.Millisecond,
		LockDelay: time.Second, TokenFile: "/t", TLS: options.TLS{CA: "/a", Cert: "/b", Key: "/c"},
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("ParseURL() = %+v, want %+v", got, want)
	}
}

func TestParseURLRefuses(t *testing.T) {
	for raw, want := range map[string][]string{
		"consul:///a":                             {"hosts: none given"},
		"consul://h:1":                            {`prefix: ""`},
		"consul://h:1/":                           {`prefix: ""`},
		"consul://h:1/a//b":                       {`prefix: "a//b"`},
		"consul://h:1/a/../b":                     {`prefix: "a/../b"`},
		"consul://h:1/a b":                        {`prefix: "a b"`},
		"consul://h:0/a":                          {`"h:0" is not host:port`},
		"etcd://h:1/a":                            {`scheme "etcd"`},
		"consul://u:hunter2@h:1/a":                {"credentials before the host"},
		"consul://h:1/a?session=fast&renew=-1s":   {"session=fast", "renew=-1s"},
		"consul://h:1/a?tick=2s":                  {"tick: unknown key"},
		"consul://h:1/a?session=2s&session=3s":    {"session: given 2 times"},
		"consul://h:1/a?session=2s&renew=3s":      {"renew: 3s is more than session"},
		"consul://h:1/a?session=200ms&request=1s": {"request: 1s is not below twice"},
		"consul://h:1/a?session=1ms":              {"session: 1ms is outside"},
		"consul://h:1/a?lock-delay=2m":            {"lock-delay: 2m0s is more than 1m"},
		"consul://h:1/a?cert=/x":                  {"cert, key: want both"},
		"consul://h:1/a#x":                        {"fragment"},
		"consul://h:1/a?session=2s;renew=1s":      {"query: malformed"},
		"consul://,/?session=x&renew=y&what=1":    {"hosts", "prefix", "session=x", "renew=y", "what: unknown"},
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
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := Config{Hosts: []string{"h:1"}, Prefix: "a", TokenFile: file}.load()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Token != "hunter2" {
		t.Errorf("load() read a token of %d bytes, want 7", len(cfg.Token))
	}
	var out strings.Builder
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "config", cfg, "token", cfg.Token)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		fmt.Fprintf(&out, format, cfg)
	}
	if strings.Contains(out.String(), "hunter2") {
		t.Errorf("the token is printed: %s", out.String())
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	junk, empty := filepath.Join(dir, "junk"), filepath.Join(dir, "empty")
	for file, text := range map[string]string{junk: "junk", empty: "\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := Config{Hosts: []string{"h:1"}, Prefix: "a"}
	for want, change := range map[string]func(*Config){
		"hosts: none given":        func(c *Config) { c.Hosts = nil },
		"read token_file":          func(c *Config) { c.TokenFile = filepath.Join(dir, "missing") },
		"empty is empty":           func(c *Config) { c.TokenFile = empty },
		"token_file: given beside": func(c *Config) { c.TokenFile, c.Token = junk, "x" },
		"holds no PEM certificate": func(c *Config) { c.TLS.CA = junk },
		"read cert and key":        func(c *Config) { c.TLS.Cert, c.TLS.Key = junk, junk },
		"renew: -1ns is negative":  func(c *Config) { c.Renew = -1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := Open(context.Background(), cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open() = %v, want it to say %q", err, want)
		}
	}
}
