package broker

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/detector"
	"github.com/regency-project/regency/coordination"
)

var watching = detector.Config{Kind: detector.Peer, Beat: 50 * time.Millisecond}

// The sessions last an hour, so that nothing but an eviction can end them.
func TestPeersReplaceTheDead(t *testing.T) {
	c := newDetectingCluster(t, time.Hour, watching, 1, 2, 3)
	v := c.live(1, 2, 3)
	c.keepPorts(v)
	cl := c.client(v)
	c.create(cl, "t", 6, 3)
	c.produce(cl, "t", 0, 200)
	another := func(v *cluster.View) int32 { return v.Controller%3 + 1 }
	for round, choose := range []func(*cluster.View) int32{func(v *cluster.View) int32 { return v.Controller }, another} {
		victim := choose(v)
		began := time.Now()
		c.kill(victim)
		c.view("other leaders", func(v *cluster.View) bool {
			for _, p := range v.Topics["t"].Partitions {
				if !v.Live(p.Leader) || p.Leader == victim || slices.Contains(p.ISR, victim) {
					return false
				}
			}
			return v.Controller != victim
		})
		t.Logf("broker %d replaced after %v", victim, time.Since(began))
		c.produce(cl, "t", 200*(round+1), 200*(round+2))
		c.start(victim)
		v = c.view("the victim back", func(v *cluster.View) bool { return v.Live(victim) && whole(v) })
	}
	c.consume(v, "t", 600)
}

// A living broker that is evicted loses its session, steps down, registers again and is taken back. Nothing acknowledged is lost.
func TestFalseEvictionIsSurvived(t *testing.T) {
	c := newTestCluster(t, time.Hour, 1, 2, 3)
	v := c.live(1, 2, 3)
	cl := c.client(v)
	c.create(cl, "t", 6, 3)
	c.produce(cl, "t", 0, 200)
	outside := c.server.Open(nil)
	defer outside.Close()
	s, err := outside.OpenSession(t.Context(), coordination.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for round, id := range []int32{v.Controller, v.Controller%3 + 1} {
		before := c.view("everything in sync", func(v *cluster.View) bool { return v.Live(1) && v.Live(2) && v.Live(3) && whole(v) })
		var present coordination.Registered
		ctx, cancel := context.WithCancel(t.Context())
		_ = outside.WatchRegistrations(ctx, func(rs []coordination.Registered) {
			for _, r := range rs {
				if r.ID == id {
					present = r
				}
			}
			cancel()
		})
		cancel()
		if err := s.Evict(t.Context(), present); err != nil {
			t.Fatalf("Evict of broker %d: %v", id, err)
		}
		c.produce(cl, "t", 200*(round+1), 200*(round+2))
		after := c.view("the evicted broker back, under another incarnation", func(v *cluster.View) bool {
			return v.Brokers[id].Incarnation != present.Incarnation && v.Live(id) && whole(v)
		})
		if after.Brokers[id].Epoch <= before.Brokers[id].Epoch {
			t.Errorf("broker %d: epoch %d after %d, want a later one", id, after.Brokers[id].Epoch, before.Brokers[id].Epoch)
		}
		if before.Controller == id && after.Epoch == before.Epoch {
			t.Errorf("the evicted controller still is it, in epoch %d", after.Epoch)
		}
	}
	c.consume(v, "t", 600)
}

// TestDetectorLeavesTheLivingAlone: brokers that come, stop in order and come again are never evicted.
func TestDetectorLeavesTheLivingAlone(t *testing.T) {
	c := newDetectingCluster(t, time.Hour, watching, 1, 2, 3)
	v := c.live(1, 2, 3)
	c.keepPorts(v)
	for _, id := range []int32{1, 2, 3} {
		c.stop(id)
		c.start(id)
		c.live(1, 2, 3)
	}
	for _, id := range []int32{1, 2, 3} {
		r := c.brokers[id]
		c.stop(id)
		if strings.Contains(r.events.String(), `"broker.evicted"`) {
			t.Errorf("broker %d evicted one that stopped in order:\n%s", id, r.events)
		}
	}
}
