package run

import (
	"context"
	"fmt"

	"github.com/regency-project/regency/bench/audit"
	"github.com/regency-project/regency/bench/check"
	"github.com/regency-project/regency/bench/timeline"
	"github.com/regency-project/regency/bench/workload"
)

// verify reads everything back and writes down what became of it. A cluster that came to the end of its trials must be able to serve: what it cannot serve
// any more is lost. Of one that broke down that is only said if it can be read to the end.
func (b *block) verify(ctx context.Context, broken bool) error {
	b.progress.status("reading everything back")
	reading, cancel := context.WithTimeoutCause(ctx, verifyLimit, fmt.Errorf("not done after %v", verifyLimit))
	defer cancel()
	v := check.NewVerifier(b.ledger, b.watcher)
	unread := workload.ReadBack(reading, b.cluster.Seeds(), b.ledger.Ends(), v)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if broken && unread != nil {
		b.progress.note("the records of %s could not be verified: %v", b.name, unread)
		return nil
	}
	counts, violations := v.Finish(unread)
	var failed error
	if unread == nil && !broken {
		var found []check.Violation
		found, failed = b.disks(ctx)
		violations = append(violations, found...)
	}
	last := b.trials[len(b.trials)-1]
	for trial, c := range counts {
		if trial == "" {
			continue // only what no trial wrote: its violations tell of it
		}
		b.timeline.Emit(timeline.Checked{
			Trial: trial, Acknowledged: c.Acknowledged, Read: c.Read, Lost: c.Lost, Duplicated: c.Duplicated,
			Reordered: c.Reordered, Corrupt: c.Corrupt, Unknown: c.Unknown,
		})
	}
	for _, x := range append(violations, b.watcher.Violations()...) {
		if x.Trial == "" {
			x.Trial = last // it cannot be told which: the block's last one stands for the block
		}
		b.saveLogs = true
		b.progress.note("VIOLATION in %s: %s: %s", x.Trial, x.Check, x.Detail)
		b.timeline.Emit(timeline.Violation{Trial: x.Trial, Check: x.Check, Detail: x.Detail})
	}
	return failed
}

// disks ends the brokers' lives and compares what they have on their disks.
func (b *block) disks(ctx context.Context) ([]check.Violation, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, verifyLimit, fmt.Errorf("not done after %v", verifyLimit))
	defer cancel()
	state, err := audit.Observe(ctx, b.cluster, b.ledger.Ends())
	if err != nil {
		return nil, fmt.Errorf("observe the replicas: %w", err)
	}
	if err := b.pump(); err != nil {
		return nil, err
	}
	b.progress.status("comparing the replicas' disks")
	d, err := audit.Compare(ctx, b.cluster, b.o.BrokerBinary, state)
	if err != nil {
		return nil, fmt.Errorf("compare the replicas: %w", err)
	}
	b.timeline.Emit(timeline.Disks{Block: b.plan.Number, Partitions: d.Partitions, Batches: d.Batches})
	return d.Violations, nil
}
