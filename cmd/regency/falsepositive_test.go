package main

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/process"
	"github.com/regency-project/regency/coordination/profile"
)

// TestFalsePositives counts how often each detector takes a living broker for dead: with eight busy loops beside the cluster for half a minute, and under
// SIGSTOP of the controller for growing spells. It measures; what it finds stands in broker/detector/README.md. It fails only when the cluster does not recover.
//
//	REGENCY_SOAK=1 go test ./cmd/regency -run TestFalsePositives -v
func TestFalsePositives(t *testing.T) {
	if os.Getenv("REGENCY_SOAK") == "" {
		t.Skip("measures for minutes: set REGENCY_SOAK=1")
	}
	for _, name := range []profile.Name{profile.Tuned, profile.TunedPeer, profile.TunedGuardian} {
		t.Run(string(name), func(t *testing.T) {
			p, err := profile.Lookup(profile.Etcd, name)
			if err != nil {
				t.Fatal(err)
			}
			c := startClusterWith(t, profile.Etcd, 3, func(c *testCluster) { c.extra = p.Detector.Args() })
			c.createTopic(topic, 6)
			c.awaitHealthy(topic)
			c.tell(t, "8 busy loops for 30 s", func() {
				for range 8 {
					busy, err := process.Start(t.Context(), process.Spec{Path: "sh", Args: []string{"-c", "while :; do :; done"}})
					if err != nil {
						t.Fatal(err)
					}
					defer busy.Kill()
				}
				time.Sleep(30 * time.Second)
			})
			for _, spell := range []time.Duration{100, 200, 500, 800, 1000, 1200, 1500, 2000} {
				spell *= time.Millisecond
				c.tell(t, fmt.Sprintf("SIGSTOP for %v", spell), func() {
					id, _ := c.controller()
					if err := c.brokers[id-1].Pause(); err != nil {
						t.Fatal(err)
					}
					time.Sleep(spell)
					if err := c.brokers[id-1].Resume(); err != nil {
						t.Fatal(err)
					}
				})
			}
		})
	}
}

// tell runs f, waits until the cluster is whole again, and logs how many identities were lost and by what.
func (c *testCluster) tell(t *testing.T, what string, f func()) {
	t.Helper()
	sum := func() (lost, evicted, suspected, claims int) {
		for _, h := range c.timeline() {
			switch h.Event {
			case "session.lost":
				lost++
			case "broker.evicted":
				evicted++
			case "peer.suspected":
				suspected++
			case "controller.claimed":
				claims++
			}
		}
		return
	}
	l, e, s, n := sum()
	began := time.Now()
	f()
	took := time.Since(began)
	time.Sleep(3 * time.Second) // sessions that were to end have ended
	c.awaitHealthy(topic)
	l2, e2, s2, n2 := sum()
	t.Logf("%-22s took %7v: %d identities lost, %d evictions, %d suspicions, %d elections", what, took.Round(time.Millisecond), l2-l, e2-e, s2-s, n2-n)
}
