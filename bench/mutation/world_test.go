package mutation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/regency-project/regency/bench/audit"
	"github.com/regency-project/regency/bench/check"
	"github.com/regency-project/regency/bench/probe"
	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/bench/target"
	"github.com/regency-project/regency/bench/timeline"
	"github.com/regency-project/regency/bench/workload"
	"github.com/regency-project/regency/coordination/profile"
)

const (
	single     = "single" // of one replica
	partitions = 6
	rate       = 300 // records per second on each topic
	patience   = 90 * time.Second
)

// world is a small cluster under load, and what is known of it.
type world struct {
	t       *testing.T
	ctx     context.Context
	program string
	cluster *target.Local
	ledger  *check.Ledger
	watcher *check.Watcher
	probes  probes
	events  []timeline.Event
	found   []check.Violation // by the faults

	stop    context.CancelFunc
	load    errgroup.Group
	unwatch context.CancelFunc
	watch   errgroup.Group
}

func begin(t *testing.T, program string) *world {
	w := &world{t: t, ctx: t.Context(), program: program, ledger: check.NewLedger(uint64(time.Now().UnixNano())), watcher: check.NewWatcher()}
	w.ledger.SetTrial("mutation")
	w.watcher.SetTrial("mutation")
	w.probes = probes{ledger: w.ledger, id: w.ledger.Register(check.Producer{Name: "probe"})}
	starting, cancel := context.WithTimeout(w.ctx, 2*patience)
	defer cancel()
	var err error
	w.cluster, err = target.Start(starting, target.Options{
		Backend: profile.Embedded, Profile: profile.Matched, Dir: t.TempDir(), Broker: program, Flush: "sync",
		Cluster: scenario.Cluster{Brokers: 3, Topics: []scenario.Topic{
			{Name: scenario.TopicLoad, Partitions: partitions, Replication: 3}, {Name: single, Partitions: 3, Replication: 1},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.cluster.Close(); err != nil {
			t.Error(err)
		}
	})
	w.begin()
	return w
}

// begin starts the clients.
func (w *world) begin() {
	loading, stop := context.WithCancel(w.ctx)
	watching, unwatch := context.WithCancel(w.ctx)
	w.stop, w.unwatch = stop, unwatch
	for topic, n := range map[string]int32{scenario.TopicLoad: partitions, single: 3} {
		p, err := workload.NewProducer(workload.Options{
			Seeds: w.cluster.Seeds(), Config: workload.Tuned, Topic: topic, Partitions: n, Rate: rate, Size: 200, Ledger: w.ledger, Timeline: timeline.NewWriter(),
		})
		if err != nil {
			w.t.Fatal(err)
		}
		w.load.Go(func() error { return p.Run(loading) })
	}
	w.watch.Go(func() error {
		return workload.Follow(watching, w.cluster.Seeds(), scenario.TopicLoad, partitions, w.watcher)
	})
	w.t.Cleanup(func() {
		stop()
		unwatch()
		_ = errors.Join(w.load.Wait(), w.watch.Wait()) // taken by end, where it matters
	})
	w.pass(time.Second)
}

// pass lets the load run.
func (w *world) pass(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.ctx.Done():
	}
}

// end stops the clients and examines what is left. Reading may take as long as given: what a broken cluster lost is waited for in vain.
func (w *world) end(limit time.Duration) []check.Violation {
	w.stop()
	if err := w.load.Wait(); err != nil {
		w.t.Logf("producers: %v", err)
	}
	reading, cancel := context.WithTimeout(w.ctx, limit)
	defer cancel()
	v := check.NewVerifier(w.ledger, w.watcher)
	unread := workload.ReadBack(reading, w.cluster.Seeds(), w.ledger.Ends(), v)
	counts, found := v.Finish(unread)
	w.t.Logf("records: %+v", counts["mutation"])
	found = append(append(found, w.found...), w.watcher.Violations()...)
	w.unwatch()
	if err := w.watch.Wait(); err != nil {
		w.t.Logf("consumer: %v", err)
	}
	events, err := w.cluster.Events()
	if err != nil {
		w.t.Fatal(err)
	}
	timed, err := check.Leadership(append(w.events, events...))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, x := range timed {
		found = append(found, x.Violation)
	}
	return append(found, w.disks(limit)...)
}

func (w *world) disks(limit time.Duration) []check.Violation {
	ctx, cancel := context.WithTimeout(w.ctx, limit)
	defer cancel()
	state, err := audit.Observe(ctx, w.cluster, w.ledger.Ends())
	if err != nil {
		return []check.Violation{{Check: check.Unread, Detail: err.Error()}}
	}
	ctx, stop := context.WithTimeout(w.ctx, patience)
	defer stop()
	d, err := audit.Compare(ctx, w.cluster, w.program, state)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Logf("disks: %d partitions, %d batches equal", d.Partitions, d.Batches)
	if d.Batches == 0 {
		w.t.Error("nothing was compared")
	}
	return d.Violations
}

// view is what any broker but one says.
func (w *world) view(except int32) target.View {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		for id := range w.cluster.Addrs() {
			if id == except {
				continue
			}
			if v, err := w.cluster.View(w.ctx, id); err == nil {
				return v
			}
		}
		if time.Now().After(deadline) || w.ctx.Err() != nil {
			w.t.Fatal("no broker answers")
		}
		w.pass(20 * time.Millisecond)
	}
}

// led are the probe targets of what a broker leads.
func (w *world) led(id int32) []probe.Target {
	var list []probe.Target
	for _, p := range w.view(0).Partitions {
		if p.Topic == scenario.TopicLoad && p.Leader == id {
			list = append(list, probe.Target{Topic: p.Topic, Partition: p.Partition, Interval: 8 * time.Millisecond, Deadline: 200 * time.Millisecond})
		}
	}
	if len(list) == 0 {
		w.t.Fatalf("broker %d leads nothing", id)
	}
	return list
}

// succeeded waits until others lead what the broker led.
func (w *world) succeeded(id int32) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		leads := func(p timeline.PartitionRole) bool {
			return p.Topic == scenario.TopicLoad && (p.Leader == id || p.Leader < 0)
		}
		if !slices.ContainsFunc(w.view(id).Partitions, leads) {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("nobody succeeded broker %d", id)
		}
		w.pass(20 * time.Millisecond)
	}
}

// heal waits for the cluster to be whole, which one that is broken on purpose need not become.
func (w *world) heal(limit time.Duration) {
	ctx, cancel := context.WithTimeout(w.ctx, limit)
	defer cancel()
	err := w.cluster.AwaitHealthy(ctx)
	if err == nil {
		err = w.cluster.AwaitBalanced(ctx)
	}
	if err != nil {
		w.t.Logf("not whole: %v", err)
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// probes writes through the ledger.
type probes struct {
	ledger *check.Ledger
	id     uint32
}

func (p probes) Next(topic string, partition int32, intended int64) ([]byte, uint64) {
	tag := p.ledger.Next(p.id, check.Partition{Topic: topic, ID: partition}, intended)
	return tag.Encode(check.TagSize), tag.Seq
}

func (p probes) Acked(topic string, partition int32, seq uint64, offset int64) {
	p.ledger.Acked(p.id, check.Partition{Topic: topic, ID: partition}, seq, offset)
}

// tempt writes to one broker alone.
func (w *world) tempt(id int32, parts []probe.Target, d time.Duration) (accepted int) {
	ctx, cancel := context.WithTimeout(w.ctx, d)
	defer cancel()
	for _, a := range probe.Direct(ctx, w.cluster.Addrs()[id], parts, w.probes) {
		accepted += a.Accepted
	}
	return accepted
}

// kill ends brokers at the same instant.
func (w *world) kill(ids ...int32) {
	var group sync.WaitGroup
	errs := make([]error, len(ids))
	for i, id := range ids {
		p, err := w.cluster.Process(id)
		w.must(err)
		group.Go(func() { errs[i] = p.Kill() })
	}
	group.Wait()
	w.must(errors.Join(errs...))
}

func (w *world) freeze(id int32) {
	p, err := w.cluster.Process(id)
	w.must(err)
	w.must(p.Pause())
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	w.must(p.WaitPaused(ctx))
}

func (w *world) resume(id int32) {
	p, err := w.cluster.Process(id)
	w.must(err)
	w.cluster.AllowEnd(id)
	w.must(p.Resume())
}

func (w *world) restart(ids ...int32) {
	for _, id := range ids {
		if err := w.cluster.Restart(id); err != nil {
			w.t.Fatal(fmt.Errorf("restart: %w", err))
		}
	}
}
