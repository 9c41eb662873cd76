package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/profile"
	"github.com/twmb/franz-go/pkg/kgo"
)

const topic = "orders"

// TestClusterSurvives kills what can be killed, on every backend, under clients that know nothing of ours, and accounts for every acknowledged record.
func TestClusterSurvives(t *testing.T) {
	for _, backend := range profile.Backends() {
		t.Run(string(backend), func(t *testing.T) {
			c := startCluster(t, backend, 3)
			c.createTopic(topic, 6)
			l := newLedger(c)
			group := l.consumeAsGroup("ledger")
			cat := l.consumeWithKcat("kcat-ledger")

			l.produceFor(func() {
				victim := c.leader(topic, 0)
				l.awaitAcknowledged(200)
				c.kill(victim)
				l.awaitAcknowledged(400) // it goes on without the victim
				c.start(victim)
			})
			c.produceWithKcat(l, 50)
			l.awaitAllSeen("the kgo group", group)
			l.awaitAllSeen("the kcat group", cat)
			c.awaitHealthy(topic)

			t.Log("every broker is killed at once")
			c.killAll()
			c.startAll()
			c.awaitHealthy(topic)
			l.verifyAllReadable()
			l.produceFor(func() { l.awaitAcknowledged(200) })

			if c.ensemble != nil {
				t.Log("every broker and the ensemble are killed at once")
				for i := range c.ensemble.Members() {
					if err := c.ensemble.KillMember(i); err != nil {
						t.Fatal(err)
					}
				}
				c.killAll()
				ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
				defer cancel()
				if err := c.ensemble.StartQuorum(ctx); err != nil {
					t.Fatal(err)
				}
				c.startAll()
				c.awaitHealthy(topic)
				l.verifyAllReadable()
				l.produceFor(func() { l.awaitAcknowledged(200) })
			}
			l.awaitAllSeen("the kgo group, in the end", group)
		})
	}
}

func (c *testCluster) killAll() {
	var wg sync.WaitGroup
	for id := range c.brokers {
		wg.Go(func() { c.brokers[id].Kill() })
	}
	wg.Wait()
}

func (c *testCluster) startAll() {
	for id := range c.brokers {
		c.start(id + 1)
	}
}

// ledger knows which records were acknowledged, and what readers have seen.
type ledger struct {
	c    *testCluster
	next int
	mu   struct {
		sync.Mutex
		acked map[string]bool
	}
}

// seen collects what one reader read.
type seen struct {
	mu      sync.Mutex
	records map[string]bool
}

func (s *seen) add(v string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[v] = true
}

func newLedger(c *testCluster) *ledger {
	l := &ledger{c: c}
	l.mu.acked = map[string]bool{}
	return l
}

func (l *ledger) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.mu.acked)
}

// produceFor produces, a record every few milliseconds, while f runs; every send has ended when it returns.
func (l *ledger) produceFor(f func()) {
	client := l.c.client(kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0))
	ctx, stop := context.WithCancel(l.c.t.Context())
	var producing sync.WaitGroup
	producing.Go(func() {
		tick := time.NewTicker(3 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			l.next++
			value := fmt.Sprintf("record-%06d", l.next)
			client.Produce(l.c.t.Context(), &kgo.Record{Key: fmt.Appendf(nil, "%d", l.next%50), Value: []byte(value)}, func(_ *kgo.Record, err error) {
				if err == nil {
					l.mu.Lock()
					l.mu.acked[value] = true
					l.mu.Unlock()
				}
			})
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	f()
	stop()
	producing.Wait()
	flush, cancel := context.WithTimeout(l.c.t.Context(), 60*time.Second)
	defer cancel()
	if err := client.Flush(flush); err != nil {
		l.c.t.Fatalf("records still unacknowledged after a minute: %v", err)
	}
}

// awaitAcknowledged waits for n more acknowledgements.
func (l *ledger) awaitAcknowledged(n int) {
	l.c.t.Helper()
	want := l.acknowledged() + n
	eventually(l.c.t, 60*time.Second, fmt.Sprintf("%d more acknowledgements", n), func(context.Context) error {
		if got := l.acknowledged(); got < want {
			return fmt.Errorf("%d acknowledged, want %d", got, want)
		}
		return nil
	})
}

func (l *ledger) consumeAsGroup(group string) *seen {
	s := &seen{records: map[string]bool{}}
	client := l.c.client(kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, stop := context.WithCancel(l.c.t.Context())
	var consuming sync.WaitGroup
	consuming.Go(func() {
		for ctx.Err() == nil {
			client.PollFetches(ctx).EachRecord(func(r *kgo.Record) { s.add(string(r.Value)) })
		}
	})
	l.c.t.Cleanup(func() { stop(); consuming.Wait() })
	return s
}

// kcat returns the path of the tool; without it the test fails in CI.
func kcat(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("kcat")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("kcat is not installed: make deps")
		}
		t.Skip("kcat is not installed: make deps")
	}
	return path
}

// consumeWithKcat runs a kcat group consumer until the test ends; its output is read from a file.
func (l *ledger) consumeWithKcat(group string) *seen {
	t := l.c.t
	s := &seen{records: map[string]bool{}}
	path := filepath.Join(l.c.dir, group)
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, kcat(t), "-b", strings.Join(l.c.bootstrap(), ","), "-u", "-q",
		"-X", "auto.offset.reset=earliest", "-G", group, topic)
	cmd.Stdout = lineWriter(func(line string) { s.add(line) })
	cmd.Stderr = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		cmd.Wait()
		out.Close()
		if t.Failed() {
			t.Logf("kcat -G said:\n%s", lastLines(path, 10))
		}
	})
	return s
}

// lineWriter calls itself with each line written.
type lineWriter func(string)

func (w lineWriter) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		w(strings.TrimSpace(line)) // records are short: kcat -u writes each with one write(2)
	}
	return len(p), nil
}

func (c *testCluster) produceWithKcat(l *ledger, n int) {
	c.t.Helper()
	var in strings.Builder
	for i := range n {
		fmt.Fprintf(&in, "kcat-%04d\n", i)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, kcat(c.t), "-b", strings.Join(c.bootstrap(), ","), "-P", "-t", topic, "-X", "acks=all", "-X", "enable.idempotence=true")
	cmd.Stdin = strings.NewReader(in.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("kcat -P: %v\n%s", err, out)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range n {
		l.mu.acked[fmt.Sprintf("kcat-%04d", i)] = true
	}
}

func (l *ledger) missing(s *seen) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for v := range l.mu.acked {
		if !s.records[v] {
			return fmt.Errorf("acknowledged %q was not read; %d acknowledged, %d read", v, len(l.mu.acked), len(s.records))
		}
	}
	return nil
}

func (l *ledger) awaitAllSeen(who string, s *seen) {
	l.c.t.Helper()
	eventually(l.c.t, 90*time.Second, who+" reads every acknowledged record", func(context.Context) error { return l.missing(s) })
}

// verifyAllReadable reads everything from the beginning with a fresh client; idempotent producers' records must be there exactly once.
func (l *ledger) verifyAllReadable() {
	t := l.c.t
	t.Helper()
	client := l.c.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer client.Close()
	s := &seen{records: map[string]bool{}}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for l.missing(s) != nil {
		fetches := client.PollFetches(ctx)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Fatal(l.missing(s))
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if v := string(r.Value); strings.HasPrefix(v, "record-") && s.records[v] {
				t.Errorf("record %q is there twice: again at %s/%d offset %d", v, r.Topic, r.Partition, r.Offset)
			}
			s.add(string(r.Value))
		})
	}
}
