package broker

import (
	"context"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/storage"
)

// retainEvery is how often retention runs.
const retainEvery = 30 * time.Second

func (n *node) retain(ctx context.Context) error {
	tick := time.NewTicker(retainEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		v := n.current.View()
		_, err := n.store.Retain(func(l storage.LogInfo) storage.Policy {
			t := v.Topics[v.TopicNames[l.TopicID]]
			if t == nil {
				return storage.Policy{} // a log goes with its topic's deletion, never because the topic is unknown
			}
			age, bytes := t.Retention()
			return storage.Policy{MaxAge: age, MaxBytes: bytes}
		}, time.Now())
		if err != nil {
			n.log.Warn("retention", "error", err)
		}
	}
}

const (
	// compactRate bounds what compaction reads and writes, in bytes a second.
	compactRate = 32 << 20
	// scrubRate bounds the reading of a scrub.
	scrubRate = 16 << 20
)

// compact keeps the newest record of each key in the topics that ask for it.
func (n *node) compact(ctx context.Context) error {
	err := n.store.RunCleaner(ctx, n.cfg.CompactEvery, storage.CleanerOptions{
		BytesPerSecond: compactRate,
		Policy: func(l storage.LogInfo) storage.CompactionPolicy {
			return compaction(n.current.View(), l)
		},
		Cleaned: func(l storage.LogInfo, stats storage.CompactStats, err error) {
			if err == nil && stats.To > stats.From {
				n.events.Emit("log.compacted", "topic", l.Topic, "partition", l.Partition, "to", stats.To, "removed", stats.RecordsRemoved, "bytes_freed", stats.BytesFreed)
			}
		},
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func compaction(v *cluster.View, l storage.LogInfo) storage.CompactionPolicy {
	t := v.Topics[v.TopicNames[l.TopicID]]
	if t == nil || !t.Compacts() {
		return storage.CompactionPolicy{}
	}
	c := t.Compaction()
	return storage.CompactionPolicy{
		Compact: true, MinDirtyRatio: c.MinDirtyRatio, MinLag: c.MinLag, MaxLag: c.MaxLag, DeleteRetention: c.KeepDeletions,
		Below: l.HighWatermark, // without transactions, all that is committed is stable
	}
}

// scrub reads all logs from time to time, so that damage is found while another replica still has the records.
func (n *node) scrub(ctx context.Context) error {
	if n.cfg.ScrubEvery < 0 {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	tick := time.NewTicker(n.cfg.ScrubEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		done, err := n.store.Scrub(ctx, storage.ScrubOptions{BytesPerSecond: scrubRate})
		if ctx.Err() == nil {
			n.log.Info("logs scrubbed", "logs", done.Logs, "bytes", done.Bytes, "error", err)
			n.events.Emit("storage.scrubbed", "logs", done.Logs, "bytes", done.Bytes)
		}
	}
}
