package api

import (
	"context"
	"time"

	"github.com/regency-project/regency/broker/group"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"
)

const (
	// defaultDeleteTimeout bounds a DeleteRecords that names no limit.
	defaultDeleteTimeout = 30 * time.Second
	// parallelDeletes bounds the partitions of one request that are worked on together: their flushes are shared.
	parallelDeletes = 64
)

// deleteRecords moves log starts. It waits for the disk and for the followers, so it waits its turn.
func (b *Broker) deleteRecords(_ context.Context, _ Caller, req kmsg.Request) (Await, error) {
	r := req.(*kmsg.DeleteRecordsRequest)
	return func(ctx context.Context) (kmsg.Response, error) {
		limit := defaultDeleteTimeout
		if r.TimeoutMillis > 0 {
			limit = time.Duration(r.TimeoutMillis) * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		resp := r.ResponseKind().(*kmsg.DeleteRecordsResponse)
		var g errgroup.Group
		g.SetLimit(parallelDeletes)
		for _, t := range r.Topics {
			rt := kmsg.NewDeleteRecordsResponseTopic()
			rt.Topic, rt.Partitions = t.Topic, make([]kmsg.DeleteRecordsResponseTopicPartition, len(t.Partitions))
			for i, p := range t.Partitions {
				g.Go(func() error {
					rt.Partitions[i] = b.deletePartitionRecords(ctx, t.Topic, p)
					return nil // each partition has a code of its own
				})
			}
			resp.Topics = append(resp.Topics, rt)
		}
		_ = g.Wait()
		return resp, nil
	}, nil
}

func (b *Broker) deletePartitionRecords(ctx context.Context, topic string, p kmsg.DeleteRecordsRequestTopicPartition) kmsg.DeleteRecordsResponseTopicPartition {
	rp := kmsg.NewDeleteRecordsResponseTopicPartition()
	rp.Partition, rp.LowWatermark = p.Partition, -1
	if topic == group.Topic {
		rp.ErrorCode = kerr.InvalidTopicException.Code
		return rp
	}
	rep, err := b.replica(topic, p.Partition)
	if err != nil {
		rp.ErrorCode = b.partitionCode(err)
		return rp
	}
	// A log that is only compacted keeps the newest record of every key: that is its promise.
	if t := b.Partitions.View().Topics[topic]; t != nil && !t.Deletes() {
		rp.ErrorCode = kerr.PolicyViolation.Code
		return rp
	}
	low, err := rep.DeleteRecords(ctx, p.Offset)
	if err != nil {
		rp.ErrorCode = b.partitionCode(err)
		return rp
	}
	rp.LowWatermark = low
	return rp
}
