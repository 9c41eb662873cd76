package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/profile"
	"github.com/twmb/franz-go/pkg/kgo"
)

// electionsSpell is how long each load lasts.
const electionsSpell = time.Minute

// TestElectionsUnderLoad counts the elections of the embedded ensemble, and the sessions that are lost, without load, at 30 % and at 100 % of what one producer gets
// through: the members share the brokers' processes, CPU and disk. It measures, and fails only when no load could be made.
//
//	REGENCY_SOAK=1 go test ./cmd/regency -run TestElectionsUnderLoad -v
func TestElectionsUnderLoad(t *testing.T) {
	if os.Getenv("REGENCY_SOAK") == "" {
		t.Skip("measures for minutes: set REGENCY_SOAK=1")
	}
	c := startCluster(t, profile.Embedded, 3)
	c.createTopic(topic, 6)
	c.awaitHealthy(topic)
	full := 0.0
	for _, share := range []float64{0, 1, 0.3, 0, 1, 0.3} {
		elections, lost := c.elections(), c.count(func(h happening) bool { return h.Event == "session.lost" })
		rate := c.load(share, full)
		if share == 1 {
			full = max(full, rate)
			if rate == 0 {
				t.Fatal("nothing was acknowledged in a minute")
			}
		}
		t.Logf("%3.0f %% load, %8.0f records/s of 1 KB: %d elections, %d sessions lost in %v", 100*share, rate,
			c.elections()-elections, c.count(func(h happening) bool { return h.Event == "session.lost" })-lost, electionsSpell)
	}
}

var leaderChanges = regexp.MustCompile(`(?m)^etcd_server_leader_changes_seen_total (\d+)`)

// elections is the most changes of leader that any member has seen.
func (c *testCluster) elections() int {
	c.t.Helper()
	most := 0
	for i := range 3 {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", c.ports[2*len(c.brokers)+2*i+1]))
		if err != nil {
			c.t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			c.t.Fatal(err)
		}
		m := leaderChanges.FindSubmatch(body)
		if m == nil {
			c.t.Fatal("the member tells no leader changes")
		}
		n, err := strconv.Atoi(string(m[1]))
		if err != nil {
			c.t.Fatal(err)
		}
		most = max(most, n)
	}
	return most
}

// load produces for a spell at a share of the full rate, and returns the rate that was acknowledged.
func (c *testCluster) load(share, full float64) float64 {
	ctx, cancel := context.WithTimeout(c.t.Context(), electionsSpell)
	defer cancel()
	if share == 0 {
		<-ctx.Done()
		return 0
	}
	client := c.client(kgo.ProducerLinger(2*time.Millisecond), kgo.MaxBufferedRecords(4096))
	var acknowledged atomic.Int64
	value := make([]byte, 1024)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	began, sent := time.Now(), 0.0
	for ctx.Err() == nil {
		if share < 1 {
			<-tick.C
			for ; sent < share*full*time.Since(began).Seconds(); sent++ {
				client.TryProduce(ctx, &kgo.Record{Topic: topic, Value: value}, func(_ *kgo.Record, err error) {
					if err == nil {
						acknowledged.Add(1)
					}
				})
			}
			continue
		}
		client.Produce(ctx, &kgo.Record{Topic: topic, Value: value}, func(_ *kgo.Record, err error) {
			if err == nil {
				acknowledged.Add(1)
			}
		})
	}
	return float64(acknowledged.Load()) / electionsSpell.Seconds()
}
