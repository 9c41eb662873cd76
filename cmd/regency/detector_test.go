package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/profile"
)

// happening is a line of a broker's timeline.
type happening struct {
	T        int64  `json:"t"`
	Broker   int    `json:"broker"`
	PID      int    `json:"pid"`
	Event    string `json:"event"`
	ID       int    `json:"id"`
	Epoch    int    `json:"epoch"`
	Evidence string `json:"evidence"`
	Guardian int    `json:"guardian"`
}

// timeline is what the brokers have written so far, broker by broker.
func (c *testCluster) timeline() []happening {
	c.t.Helper()
	var all []happening
	for id := range c.brokers {
		raw, err := os.ReadFile(filepath.Join(c.dir, fmt.Sprintf("events-%d.jsonl", id+1)))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			c.t.Fatal(err)
		}
		for line := range strings.Lines(string(raw)) {
			var h happening
			if err := json.Unmarshal([]byte(line), &h); err != nil {
				c.t.Fatalf("timeline of broker %d: %v in %q", id+1, err, line)
			}
			all = append(all, h)
		}
	}
	return all
}

func (c *testCluster) count(want func(happening) bool) int {
	c.t.Helper()
	n := 0
	for _, h := range c.timeline() {
		if want(h) {
			n++
		}
	}
	return n
}

func (c *testCluster) happens(what string, want func(happening) bool) {
	c.t.Helper()
	eventually(c.t, 60*time.Second, what, func(context.Context) error {
		if c.count(want) == 0 {
			return errors.New("no such event")
		}
		return nil
	})
}

// controller is who claimed last, and its epoch.
func (c *testCluster) controller() (id, epoch int) {
	c.t.Helper()
	for _, h := range c.timeline() {
		if h.Event == "controller.claimed" && h.Epoch > epoch {
			id, epoch = h.Broker, h.Epoch
		}
	}
	return id, epoch
}

// succeeded waits for a controller of a later epoch.
func (c *testCluster) succeeded(epoch int) {
	c.t.Helper()
	c.happens(fmt.Sprintf("a controller after epoch %d", epoch), func(h happening) bool { return h.Event == "controller.claimed" && h.Epoch > epoch })
}

// longSessions lets no session end by itself within a test, so that whoever goes was evicted.
func longSessions(c *testCluster) {
	c.url = regexp.MustCompile(`session=[^&]*`).ReplaceAllString(c.url, "session=300s")
}

func TestPeerDetector(t *testing.T) {
	const limit = 2 * time.Second
	c := startClusterWith(t, profile.Embedded, 3, func(c *testCluster) {
		longSessions(c)
		c.extra = []string{"--detector", "peer", "--detector-beat", "100ms", "--detector-missed", fmt.Sprint(int(limit / (100 * time.Millisecond)))}
	})
	c.createTopic(topic, 6)
	l := newLedger(c)
	// The sessions last longer than any wait here: a successor of a controller that did not resign proves its eviction.
	suspected := func(id int) func(happening) bool {
		return func(h happening) bool { return h.Event == "peer.suspected" && h.ID == id }
	}
	l.produceFor(func() {
		l.awaitAcknowledged(100)
		id, epoch := c.controller()

		t.Log("a pause shorter than the limit")
		began := time.Now()
		if err := c.brokers[id-1].Pause(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(limit / 8)
		if err := c.brokers[id-1].Resume(); err != nil {
			t.Fatal(err)
		}
		short := time.Since(began) < limit*3/4 // a busy machine may have made it a long one
		l.awaitAcknowledged(200)
		if n := c.count(suspected(id)); short && n != 0 {
			t.Errorf("broker %d was suspected for a pause of %v", id, time.Since(began))
		}

		if short {
			t.Log("SIGKILL of the controller")
			c.kill(id)
			c.happens("evidence of its death", func(h happening) bool { return suspected(id)(h) && h.Evidence != "silent" })
			c.succeeded(epoch)
			l.awaitAcknowledged(200)
			c.start(id)
			c.awaitHealthy(topic)
		}

		t.Log("a pause longer than the limit")
		id, epoch = c.controller()
		before := c.count(func(h happening) bool { return h.Event == "session.opened" && h.Broker == id })
		if err := c.brokers[id-1].Pause(); err != nil {
			t.Fatal(err)
		}
		c.happens("evidence of silence", func(h happening) bool { return suspected(id)(h) && h.Evidence == "silent" })
		c.succeeded(epoch)
		l.awaitAcknowledged(200)
		if err := c.brokers[id-1].Resume(); err != nil {
			t.Fatal(err)
		}
		eventually(t, 60*time.Second, "the zombie hears of it and registers again", func(context.Context) error {
			if n := c.count(func(h happening) bool { return h.Event == "session.opened" && h.Broker == id }); n <= before {
				return fmt.Errorf("%d sessions of broker %d", n, id)
			}
			return nil
		})
		l.awaitAcknowledged(200)
	})
	c.awaitHealthy(topic)
	l.verifyAllReadable()
}

func TestGuardianDetector(t *testing.T) {
	c := startClusterWith(t, profile.Embedded, 3, func(c *testCluster) {
		longSessions(c)
		c.extra = []string{"--detector", "guardian"}
	})
	c.createTopic(topic, 6)
	for id := 1; id <= 3; id++ {
		c.happens(fmt.Sprintf("guardian of broker %d is ready", id), func(h happening) bool { return h.Event == "guardian.ready" && h.Broker == id })
	}
	guardian := func(id int) (pid int) {
		for _, h := range c.timeline() {
			if h.Event == "guardian.started" && h.Broker == id {
				pid = h.Guardian
			}
		}
		return pid
	}
	leaves := func(pid int) {
		t.Helper()
		eventually(t, 60*time.Second, "the guardian has left", func(context.Context) error {
			if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) && !zombie(pid) {
				return fmt.Errorf("process %d: %v", pid, err)
			}
			return nil
		})
	}
	l := newLedger(c)
	l.produceFor(func() {
		l.awaitAcknowledged(100)
		id, epoch := c.controller()
		pid := guardian(id)
		c.kill(id)
		c.start(id) // at once: the guardian holds neither its ports nor its data directory
		c.happens("eviction by the guardian", func(h happening) bool { return h.Event == "guardian.acted" && h.ID == id && h.PID == pid })
		c.succeeded(epoch)
		leaves(pid)
		c.awaitHealthy(topic)

		t.Log("SIGTERM: the guardian leaves with its broker, and evicts nobody")
		other := id%3 + 1
		pid = guardian(other)
		if err := c.brokers[other-1].Stop(t.Context(), 30*time.Second); err != nil {
			t.Fatal(err)
		}
		leaves(pid)
		if n := c.count(func(h happening) bool { return h.Event == "guardian.acted" && h.ID == other }); n != 0 {
			t.Errorf("the guardian of broker %d acted, which stopped in order", other)
		}
		c.start(other)
		l.awaitAcknowledged(100)
	})
	c.awaitHealthy(topic)
	l.verifyAllReadable()
}

// zombie: ended, and not reaped; its parent is gone, and who has it now may be slow.
func zombie(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(raw), ") Z ")
}

// The guardian's own member of an embedded ensemble dies with its broker: it is asked last.
func TestGuardianAsksOtherMembersFirst(t *testing.T) {
	url := func(peers string) string { return "embedded:?peers=" + peers + "&session=2s" }
	for _, test := range []struct {
		peers, want string
		id          int32
	}{
		{"1@h:1:2,2@h:3:4,3@h:5:6", "2@h:3:4,3@h:5:6,1@h:1:2", 1},
		{"1@h:1:2,2@h:3:4,3@h:5:6,4@h:7:8", "1@h:1:2,3@h:5:6,2@h:3:4,4@h:7:8", 2},
		{"1@h:1:2,2@h:3:4,3@h:5:6,4@h:7:8", "1@h:1:2,2@h:3:4,3@h:5:6,4@h:7:8", 4},
		{"11@h:1:2,1@h:3:4,3@h:5:6", "11@h:1:2,3@h:5:6,1@h:3:4", 1},
	} {
		if got := withoutOwnMember(url(test.peers), test.id); got != url(test.want) {
			t.Errorf("broker %d of %s: %s, want %s", test.id, test.peers, got, url(test.want))
		}
	}
	if got := withoutOwnMember("etcd://h:1/p", 1); got != "etcd://h:1/p" {
		t.Errorf("another backend's URL became %s", got)
	}
}
