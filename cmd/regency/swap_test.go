package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/profile"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestSwappingTheBackendIsRefused: data written under one coordination is not deleted, nor served, under another that knows nothing of it.
func TestSwappingTheBackendIsRefused(t *testing.T) {
	etcd := startEnsemble(t, profile.Etcd)
	c := startCluster(t, profile.Embedded, 3)
	c.createTopic(topic, 1)
	client := c.client(kgo.DefaultProduceTopic(topic))
	if err := client.ProduceSync(t.Context(), kgo.StringRecord("precious")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	for _, b := range c.brokers {
		if err := b.Stop(t.Context(), 20*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	before := c.url
	var err error
	if c.url, err = etcd.URL("cluster-test"); err != nil {
		t.Fatal(err)
	}
	c.start(1)
	select {
	case <-c.brokers[0].Done():
	case <-time.After(30 * time.Second):
		t.Fatal("the broker still runs on another, empty coordination service")
	}
	if c.brokers[0].ExitError() == nil {
		t.Error("the broker ended without an error")
	}
	said := c.brokers[0].TailLog(5)
	for _, want := range []string{filepath.Join(c.dir, "1"), "empty", "--coordination"} {
		if !strings.Contains(said, want) {
			t.Errorf("the refusal does not name %q:\n%s", want, said)
		}
	}

	c.url = before
	c.startAll()
	c.awaitHealthy(topic)
	reader := c.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	records := reader.PollFetches(ctx).Records()
	if len(records) != 1 || string(records[0].Value) != "precious" {
		t.Errorf("read %v after the refusal, want the record", records)
	}
	if _, err := os.Stat(filepath.Join(c.dir, "1", "meta.json")); err != nil {
		t.Error(err)
	}
}
