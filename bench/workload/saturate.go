package workload

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/regency-project/regency/bench/check"
	"github.com/regency-project/regency/bench/timeline"
)

// maxBuffered bounds what waits in the saturating client: it sets the latency at saturation, not the throughput.
const maxBuffered = 4096

// Saturation writes as fast as records are acknowledged.
type Saturation struct {
	Seeds      []string
	Topic      string
	Partitions int32
	Size       int
	Leader     bool          // the leader's acknowledgement is enough; without idempotence, which needs all
	Steady     time.Duration // before the measurement
	Round      time.Duration
	Ledger     *check.Ledger
	Timeline   *timeline.Writer
}

// Run runs one round and emits it.
func (s Saturation) Run(ctx context.Context, trial string) error {
	opts, err := producerOptions(s.Seeds, Tuned, s.Topic)
	if err != nil {
		return err
	}
	opts = append(opts, kgo.ProducerLinger(2*time.Millisecond), kgo.MaxBufferedRecords(maxBuffered))
	if s.Leader {
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("make producer: %w", err)
	}
	defer client.Close()
	r := &round{s: s, client: client, id: s.Ledger.Register(check.Producer{Name: "saturating", Idempotent: !s.Leader})}
	r.mu.latency = newHistogram()
	return r.run(ctx, trial)
}

type round struct {
	s      Saturation
	client *kgo.Client
	id     uint32
	mu     struct {
		sync.Mutex
		measured        bool
		records, errors int64
		latency         *hdrhistogram.Histogram
	}
}

func (r *round) run(ctx context.Context, trial string) error {
	offering, stop := context.WithCancel(ctx)
	var sender sync.WaitGroup
	sender.Go(func() { r.offer(offering, context.WithoutCancel(ctx)) })
	defer sender.Wait()
	defer stop()
	if err := sleep(ctx, r.s.Steady); err != nil {
		return err
	}
	from := timeline.Now()
	r.measure(true)
	late := newLateness(from)
	timing, timed := context.WithCancel(ctx)
	var timer sync.WaitGroup
	timer.Go(func() { late.run(timing) })
	err := sleep(ctx, r.s.Round)
	r.measure(false)
	to := timeline.Now()
	timed()
	timer.Wait()
	stop()
	sender.Wait()
	if err != nil {
		return err
	}
	flush, done := context.WithTimeout(ctx, flushLimit)
	defer done()
	if err := r.client.Flush(flush); err != nil {
		return fmt.Errorf("flush after the round: %w", err)
	}
	text, err := encode(r.mu.latency)
	if err != nil {
		return err
	}
	r.s.Timeline.Emit(late.told(trial, "saturating"))
	r.s.Timeline.Emit(timeline.Round{
		Trial: trial, From: from, To: to, Records: r.mu.records, Bytes: r.mu.records * int64(r.s.Size), Errors: r.mu.errors, Histogram: text,
	})
	return nil
}

func (r *round) measure(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.measured = on
}

// offer blocks whenever maxBuffered records wait.
func (r *round) offer(ctx, life context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		p := check.Partition{Topic: r.s.Topic, ID: int32(n % int(r.s.Partitions))}
		sent := timeline.Now()
		tag := r.s.Ledger.Next(r.id, p, sent)
		r.client.Produce(life, &kgo.Record{Partition: p.ID, Value: tag.Encode(r.s.Size)}, func(rec *kgo.Record, err error) {
			if err == nil {
				r.s.Ledger.Acked(r.id, p, tag.Seq, rec.Offset)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if !r.mu.measured {
				return
			}
			if err != nil {
				r.mu.errors++
				return
			}
			r.mu.records++
			record(r.mu.latency, timeline.Now()-sent)
		})
	}
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
