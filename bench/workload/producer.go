package workload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/regency-project/regency/bench/check"
	"github.com/regency-project/regency/bench/timeline"
)

// flushLimit bounds the wait for what is in flight at the end.
const flushLimit = 30 * time.Second

// Options of a Producer.
type Options struct {
	Seeds      []string
	Config     string // Tuned or Default
	Topic      string
	Partitions int32
	Rate       float64 // records per second
	Size       int     // bytes of a value
	Ledger     *check.Ledger
	Timeline   *timeline.Writer
}

// Producer offers records at a constant rate, whatever becomes of them: latency counts from the time at which a record was meant to be sent, so that a
// stall is seen by every record that it delays.
type Producer struct {
	o      Options
	id     uint32
	client *kgo.Client

	mu struct {
		sync.Mutex
		bins    *bins
		gaps    *gaps
		latency *hdrhistogram.Histogram // since the last cut, microseconds
		delay   *hdrhistogram.Histogram // lateness of our own timer
	}
}

// NewProducer connects nothing yet.
func NewProducer(o Options) (*Producer, error) {
	if o.Rate <= 0 || o.Partitions <= 0 {
		return nil, fmt.Errorf("make producer: rate %v and %d partitions must be above 0", o.Rate, o.Partitions)
	}
	opts, err := producerOptions(o.Seeds, o.Config, o.Topic)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("make producer: %w", err)
	}
	p := &Producer{o: o, client: client, id: o.Ledger.Register(check.Producer{Name: o.Config, Idempotent: true})}
	p.mu.bins = &bins{client: o.Config, open: make(map[int64]*bin), emit: func(b timeline.LoadBin) { o.Timeline.Emit(b) }}
	p.mu.gaps = newGaps(o.Partitions, timeline.Now())
	p.mu.latency, p.mu.delay = newHistogram(), newHistogram()
	return p, nil
}

// Run offers records until ctx ends, then waits for what is in flight.
func (p *Producer) Run(ctx context.Context) error {
	defer p.client.Close()
	// Records outlive ctx: giving them up would leave holes in the sequence that the broker sees.
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { p.offer(gctx, life); return nil })
	group.Go(func() error { p.emitBins(gctx); return nil })
	_ = group.Wait() // both end with ctx and have no error of their own
	flush, done := context.WithTimeout(life, flushLimit)
	defer done()
	err := p.client.Flush(flush)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.bins.flush(1 << 62)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("flush producer %s: %w", p.o.Config, err)
	}
	return nil
}

func (p *Producer) offer(ctx, life context.Context) {
	interval := float64(time.Second) / p.o.Rate
	start := timeline.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; ; n++ {
		intended := start + int64(float64(n)*interval)
		if wait := time.Duration(intended - timeline.Now()); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		} else if ctx.Err() != nil {
			return
		}
		p.send(life, int32(n%int(p.o.Partitions)), intended)
	}
}

func (p *Producer) send(ctx context.Context, partition int32, intended int64) {
	at := check.Partition{Topic: p.o.Topic, ID: partition}
	tag := p.o.Ledger.Next(p.id, at, intended)
	p.mu.Lock()
	p.mu.bins.at(intended).offered++
	record(p.mu.delay, timeline.Now()-intended)
	p.mu.Unlock()
	p.client.TryProduce(ctx, &kgo.Record{Partition: partition, Value: tag.Encode(p.o.Size)}, func(r *kgo.Record, err error) {
		now := timeline.Now()
		p.mu.Lock()
		defer p.mu.Unlock()
		if err != nil {
			p.mu.bins.at(now).errors++
			return
		}
		p.o.Ledger.Acked(p.id, at, tag.Seq, r.Offset)
		b := p.mu.bins.at(now)
		b.latencies = append(b.latencies, float64(now-intended)/1e6)
		p.mu.gaps.acked(partition, now)
		record(p.mu.latency, now-intended)
	})
}

func (p *Producer) emitBins(ctx context.Context) {
	tick := time.NewTicker(BinWidth)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.mu.Lock()
			// Offered counts come by intended time, which can be late by our own delay: a bin waits one width for them.
			p.mu.bins.flush(timeline.Now() - int64(BinWidth))
			p.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// Backlog is how many records wait in the client.
func (p *Producer) Backlog() int64 { return p.client.BufferedProduceRecords() }

// Begin forgets what was measured before a trial.
func (p *Producer) Begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.latency.Reset()
	p.mu.delay.Reset()
	p.mu.gaps.reset(timeline.Now())
}

// CutLatency emits the latencies since Begin or the last cut as those of a phase.
func (p *Producer) CutLatency(trial, phase string) error {
	p.mu.Lock()
	text, err := encode(p.mu.latency)
	p.mu.latency.Reset()
	p.mu.Unlock()
	if err != nil {
		return err
	}
	p.o.Timeline.Emit(timeline.LoadLatency{Trial: trial, Phase: phase, Client: p.o.Config, Histogram: text})
	return nil
}

// CutTrial emits the longest gaps and the timer's delay since Begin.
func (p *Producer) CutTrial(trial string) {
	now := timeline.Now()
	p.mu.Lock()
	list := p.mu.gaps.longest(now)
	delay := timeline.Delay{Trial: trial, Source: p.o.Config, P99: milliseconds(p.mu.delay.ValueAtQuantile(99)), Max: milliseconds(p.mu.delay.Max())}
	p.mu.Unlock()
	for i, g := range list {
		p.o.Timeline.Emit(timeline.AckGap{Trial: trial, Client: p.o.Config, Topic: p.o.Topic, Partition: int32(i), From: g.from, To: g.to})
	}
	p.o.Timeline.Emit(delay)
}
