package main

import (
	"log/slog"
	"net/url"
	"strings"
	"testing"
)

// TestRedacted: what an error prints of a URL is what is known to be harmless, whatever the rest is called.
func TestRedacted(t *testing.T) {
	for raw, want := range map[string]string{
		"etcd://h:1,i:2/p?session=2s&Password=hush":              "etcd://h:1,i:2/p?Password=xxxxx&session=2s",
		"consul://h:1/p?secret=hush&lock-delay=1ns":              "consul://h:1/p?lock-delay=1ns&secret=xxxxx",
		"zookeeper://h:1/p?pwd=hush&pwd=hush&tick=200ms":         "zookeeper://h:1/p?pwd=xxxxx&pwd=xxxxx&tick=200ms",
		"zookeeper://h:1/p?user=hush&password_file=hush&renew=1": "zookeeper://h:1/p?password_file=xxxxx&renew=1&user=xxxxx",
		"etcd:root:hush@h":                   "etcd:xxxxx",
		"etcd:/root:hush@h":                  "etcd:///xxxxx",
		"etcd://root:hush@h:1/p":             "etcd://xxxxx@h:1/p",
		"etcd://hush@h:1/p#hush":             "etcd://xxxxx@h:1/p",
		"embedded:?peers=1@h:1:2&token=hush": "embedded:?peers=1@h:1:2&token=xxxxx",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := redacted(u); got != want {
			t.Errorf("redacted(%s) = %s, want %s", raw, got, want)
		}
	}
}

// TestSecretsInURLs: no error about a URL tells a secret in it, be it refused by us, by the backend, or by the parser.
func TestSecretsInURLs(t *testing.T) {
	for _, raw := range []string{
		"etcd://h:1/p?Password=hush", "consul://h:1/p?secret=hush", "zookeeper://h:1/p?pwd=hush", "etcd:root:hush@h", "redis:root:hush@h",
		"etcd://root:hush@h:1/p", "etcd://root:hush", "etcd://root:hush/y@h:1", "etcd://root:%hush@h", "redis://root:hush@h", "memory:root:hush@h",
	} {
		c, err := openCoordination(t.Context(), raw, hostBroker{id: -1}, slog.New(slog.DiscardHandler))
		if err == nil {
			t.Errorf("%s was opened", raw)
			_ = c.Close()
		} else if text := err.Error(); strings.Contains(text, "hus") || !strings.Contains(text, "--coordination") {
			t.Errorf("%s: %s", raw, text)
		}
	}
}
