package run

import (
	"context"
	"time"

	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/probe"
	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/bench/timeline"
)

// costSpell is the length of each of the four spells.
const costSpell = 1500 * time.Millisecond

// probeCost measures what the prober itself does to the clients: on, off, off, on, so that a drift hits both alike.
func (b *block) probeCost(ctx context.Context, s scenario.Scenario) error {
	view, err := b.view(ctx, 0)
	if err != nil {
		return err
	}
	var targets []probe.Target
	for _, p := range view.Partitions {
		if p.Topic == scenario.TopicProbe && len(targets) < s.Probes.Led+s.Probes.Followed+s.Probes.Untouched {
			tg := probe.Target{
				Topic: p.Topic, Partition: p.Partition, Brokers: p.Replicas, First: p.Leader, Interval: s.Probes.Interval, Deadline: s.Probes.Deadline,
			}
			targets = append(targets, tg, tg.Reads(""))
		}
	}
	for _, phase := range []string{metrics.ProbesOn, metrics.ProbesOff, metrics.ProbesOff, metrics.ProbesOn} {
		var probes []probe.Target
		if phase == metrics.ProbesOn {
			probes = targets
		}
		if err := b.spell(ctx, phase, probes); err != nil {
			return err
		}
	}
	return nil
}

func (b *block) spell(ctx context.Context, phase string, targets []probe.Target) error {
	prober, err := probe.New(probe.Options{
		Trial: metrics.ProbeCostTrial, Addrs: b.cluster.Addrs(), Records: b.probes, Emit: func(r timeline.ProbeRun) { b.timeline.EmitAt(r.From, r) },
	}, targets)
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, costSpell)
	defer stop()
	for _, p := range b.producers {
		p.Begin()
	}
	if err := prober.Run(ctx); err != nil {
		return err
	}
	<-ctx.Done() // a prober without targets has nothing to wait for
	for _, p := range b.producers {
		if err := p.CutLatency(metrics.ProbeCostTrial, phase); err != nil {
			return err
		}
	}
	return nil
}
