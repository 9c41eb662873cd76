package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/regency-project/regency/bench/archive"
	"github.com/regency-project/regency/bench/check"
	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/plan"
	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/bench/target"
	"github.com/regency-project/regency/bench/timeline"
	"github.com/regency-project/regency/bench/workload"
	"github.com/regency-project/regency/coordination/process"
	"github.com/regency-project/regency/coordination/profile"
)

const (
	startLimit  = 2 * time.Minute // for a cluster to come up; a healthy one takes seconds
	verifyLimit = time.Minute
	usageEvery  = 500 * time.Millisecond
)

// block is one life of a cluster.
type block struct {
	*engine
	plan  plan.Block
	items []plan.Item // what is still to do; its own copy
	name  string

	cluster   *target.Local
	ledger    *check.Ledger
	watcher   *check.Watcher
	probes    probeRecords
	producers []*workload.Producer
	stopLoad  context.CancelFunc
	load      *errgroup.Group
	trials    []string // ids of the trials that were started
	saveLogs  bool
	extra     int // trials added to the plan's
}

func (b *block) run(ctx context.Context) (err error) {
	dir := filepath.Join(b.work, b.name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b.progress.cluster(b.plan)
	b.timeline.Emit(timeline.BlockStarted{Block: b.plan.Number, Backend: b.plan.Backend, Profile: b.plan.Profile})
	defer func() {
		ended := timeline.BlockEnded{Block: b.plan.Number}
		if err != nil {
			ended.Error = firstLine(err)
		}
		b.timeline.Emit(ended)
	}()
	starting, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("not up after %v", startLimit))
	defer cancel()
	b.cluster, err = target.Start(starting, target.Options{
		Backend: profile.Backend(b.plan.Backend), Profile: profile.Name(b.plan.Profile), Cluster: b.plan.Cluster, Dir: dir,
		Broker: b.o.BrokerBinary, ServersDir: b.o.ServersDir, Flush: cmp.Or(b.plan.Cluster.Flush, b.o.Flush), Logger: b.o.Logger,
	})
	if err != nil {
		return err
	}
	b.timeline.Emit(timeline.BlockReady{Block: b.plan.Number})
	defer func() {
		if err != nil || b.saveLogs {
			err = errors.Join(err, b.cluster.SaveLogs(filepath.Join(b.dir, archive.LogsDir, b.name)))
		}
		err = errors.Join(err, b.cluster.Close())
	}()
	return b.measure(ctx)
}

// measure runs the load, the trials and the verification on a cluster that serves.
func (b *block) measure(ctx context.Context) error {
	b.ledger = check.NewLedger(b.o.Seed ^ uint64(b.plan.Number)<<32 ^ uint64(b.began.UnixNano()))
	b.watcher = check.NewWatcher()
	b.probes = probeRecords{ledger: b.ledger, id: b.ledger.Register(check.Producer{Name: "probe"})}
	b.attribute(b.items[0].Trial)

	side, stop := context.WithCancel(ctx)
	var aside errgroup.Group
	defer func() { stop(); _ = aside.Wait() }() // its errors are taken below where it matters
	aside.Go(func() error { b.sampleUsage(side); return nil })
	topic, _ := b.plan.Cluster.Topic(scenario.TopicLoad)
	if topic.Name != "" {
		aside.Go(func() error { return workload.Follow(side, b.cluster.Seeds(), topic.Name, topic.Partitions, b.watcher) })
	}
	err := b.runItems(ctx)
	err = errors.Join(err, b.endLoad())
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if len(b.trials) > 0 {
		err = errors.Join(err, b.verify(ctx, err != nil))
	}
	stop()
	return errors.Join(err, aside.Wait(), b.pump())
}

// attribute gives records that are written and read from now on to a trial.
func (b *block) attribute(trial string) {
	b.ledger.SetTrial(trial)
	b.watcher.SetTrial(trial)
}

func (b *block) runItems(ctx context.Context) error {
	for len(b.items) > 0 {
		item := b.items[0]
		t, err := b.item(ctx, item)
		if err != nil {
			b.progress.failed(item, err)
			return fmt.Errorf("%s: %w", item.Trial, err)
		}
		b.items = b.items[1:]
		b.progress.done(b.plan, item, t)
		if t.Status != metrics.StatusInvalid {
			b.replace(item, t)
			continue
		}
		b.saveLogs = true
		repeat := item
		repeat.Trial += "b"
		b.progress.note("repeating %s once", item.Trial)
		if t, err = b.item(ctx, repeat); err != nil {
			b.missing++
			return fmt.Errorf("%s: %w", repeat.Trial, err)
		}
		b.progress.repeated(repeat, t)
		if t.Status == metrics.StatusInvalid && item.Counted {
			b.missing++
		}
	}
	return nil
}

// maxExtra bounds the trials that a block runs for those whose victim turned out to be of the other cell.
const maxExtra = 3

// replace adds a trial for one that went to the cell of victims that hosted the coordination leader: the plan's number is meant for the plain cell.
// Faults of embedded coordination members have no plain cell.
func (b *block) replace(item plan.Item, t metrics.Trial) {
	if t.Variant() == "" || !item.Counted || b.extra == maxExtra || b.scenario(item.Scenario).Main().OnCoordination() {
		return
	}
	b.extra++
	item.Trial = fmt.Sprintf("%s/%s/%s/extra-%d-%d", b.plan.Backend, b.plan.Profile, item.Scenario, b.plan.Number, b.extra)
	at := slices.IndexFunc(b.items, func(i plan.Item) bool { return b.scenario(i.Scenario).Kind == scenario.Throughput })
	if at < 0 {
		at = len(b.items)
	}
	b.items = slices.Insert(b.items, at, item)
	b.progress.added(b.plan, item)
}

func (b *block) item(ctx context.Context, item plan.Item) (metrics.Trial, error) {
	s := b.scenario(item.Scenario)
	b.attribute(item.Trial)
	b.trials = append(b.trials, item.Trial)
	var err error
	if s.Kind == scenario.Throughput {
		err = b.round(ctx, item, s)
	} else {
		err = b.failover(ctx, item, s)
	}
	if err != nil {
		return metrics.Trial{}, err
	}
	return metrics.Judge(b.manifest, b.timeline.Recent(), item.Trial)
}

func (b *block) start(item plan.Item) {
	b.timeline.Emit(timeline.TrialStarted{
		Trial: item.Trial, Scenario: item.Scenario, Backend: b.plan.Backend, Profile: b.plan.Profile, Block: b.plan.Number, Counted: item.Counted,
	})
}

// ensureLoad starts the open-loop clients, once a block, and lets them warm up.
func (b *block) ensureLoad(ctx context.Context, s scenario.Scenario) error {
	if b.load != nil {
		return nil
	}
	topic, _ := b.plan.Cluster.Topic(scenario.TopicLoad)
	for _, config := range s.Workload.Clients {
		p, err := workload.NewProducer(workload.Options{
			Seeds: b.cluster.Seeds(), Config: config, Topic: topic.Name, Partitions: topic.Partitions, Rate: s.Workload.Rate, Size: s.Workload.Size,
			Ledger: b.ledger, Timeline: b.timeline,
		})
		if err != nil {
			return err
		}
		b.producers = append(b.producers, p)
	}
	loading, stop := context.WithCancel(ctx)
	b.stopLoad, b.load = stop, new(errgroup.Group)
	for _, p := range b.producers {
		b.load.Go(func() error { return p.Run(loading) })
	}
	if err := sleep(ctx, s.Phases.Warmup); err != nil {
		return err
	}
	if b.costKnown {
		return nil
	}
	b.costKnown = true
	return b.probeCost(ctx, s)
}

// endLoad stops the open-loop clients and waits for what they have in flight.
func (b *block) endLoad() error {
	if b.load == nil || b.stopLoad == nil {
		return nil
	}
	b.stopLoad()
	b.stopLoad = nil
	return b.load.Wait()
}

// round saturates the cluster for one round.
func (b *block) round(ctx context.Context, item plan.Item, s scenario.Scenario) error {
	if err := b.endLoad(); err != nil {
		return err
	}
	topic, _ := b.plan.Cluster.Topic(scenario.TopicThroughput)
	b.start(item)
	err := workload.Saturation{
		Seeds: b.cluster.Seeds(), Topic: topic.Name, Partitions: topic.Partitions, Size: s.Workload.Size, Leader: s.Workload.Acks == scenario.AcksLeader,
		Steady: s.Phases.Steady, Round: s.Phases.Round, Ledger: b.ledger, Timeline: b.timeline,
	}.Run(ctx, item.Trial)
	if err != nil {
		return err
	}
	if err := b.pump(); err != nil {
		return err
	}
	b.timeline.Emit(timeline.TrialEnded{Trial: item.Trial})
	healing, cancel := context.WithTimeout(ctx, s.Phases.Heal)
	defer cancel()
	return b.cluster.AwaitHealthy(healing)
}

// pump takes over what the brokers have logged.
func (b *block) pump() error {
	events, err := b.cluster.Events()
	if err != nil {
		return err
	}
	b.timeline.Add(events...)
	return nil
}

func (b *block) sampleUsage(ctx context.Context) {
	tick := time.NewTicker(usageEvery)
	defer tick.Stop()
	for {
		b.usage()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (b *block) usage() {
	for _, u := range b.cluster.Usage() {
		b.timeline.Emit(u)
	}
	if u, err := process.UsageOf(os.Getpid()); err == nil {
		b.timeline.Emit(timeline.Usage{Kind: "harness", Processes: 1, CPU: u.CPU.Seconds(), RSS: u.RSS, WriteBytes: u.WriteBytes})
	}
}

// probeRecords lets the prober write through the ledger.
type probeRecords struct {
	ledger *check.Ledger
	id     uint32
}

func (p probeRecords) Next(topic string, partition int32, intended int64) ([]byte, uint64) {
	tag := p.ledger.Next(p.id, check.Partition{Topic: topic, ID: partition}, intended)
	return tag.Encode(check.TagSize), tag.Seq
}

func (p probeRecords) Acked(topic string, partition int32, seq uint64, offset int64) {
	p.ledger.Acked(p.id, check.Partition{Topic: topic, ID: partition}, seq, offset)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
