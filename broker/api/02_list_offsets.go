package api

import (
	"context"
	"errors"

	"github.com/regency-project/regency/broker/partition"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Timestamps with a meaning of their own.
const (
	latestOffset   = -1
	earliestOffset = -2
)

// listOffsets finds offsets by time. It may read the disk, so it waits its turn.
func (b *Broker) listOffsets(_ context.Context, _ Caller, req kmsg.Request) (Await, error) {
	r := req.(*kmsg.ListOffsetsRequest)
	return func(context.Context) (kmsg.Response, error) {
		resp := r.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, t := range r.Topics {
			rt := kmsg.NewListOffsetsResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rt.Partitions = append(rt.Partitions, b.listOffset(r.Version, t.Topic, p))
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil
	}, nil
}

func (b *Broker) listOffset(version int16, topic string, p kmsg.ListOffsetsRequestTopicPartition) kmsg.ListOffsetsResponseTopicPartition {
	rp := kmsg.NewListOffsetsResponseTopicPartition()
	rp.Partition, rp.Offset, rp.Timestamp, rp.LeaderEpoch = p.Partition, -1, -1, -1
	err := b.findOffset(topic, p, &rp)
	switch {
	case errors.Is(err, partition.ErrOffsetNotAvailable) && version < 5:
		rp.ErrorCode = kerr.LeaderNotAvailable.Code // what clients knew before KIP-207
	case errors.Is(err, kerr.UnsupportedVersion):
		rp.ErrorCode = kerr.UnsupportedVersion.Code
	default:
		rp.ErrorCode = b.partitionCode(err)
	}
	return rp
}

func (b *Broker) findOffset(topic string, p kmsg.ListOffsetsRequestTopicPartition, rp *kmsg.ListOffsetsResponseTopicPartition) error {
	rep, err := b.replica(topic, p.Partition)
	if err != nil {
		return err
	}
	info, err := rep.LeaderAt(p.CurrentLeaderEpoch)
	if err != nil {
		return err
	}
	switch {
	case p.Timestamp == latestOffset:
		// A new leader may be behind what consumers have seen already; the end must not go back (KIP-207).
		if !info.Settled() {
			return partition.ErrOffsetNotAvailable
		}
		rp.Offset, rp.LeaderEpoch = info.HighWatermark, info.Epoch
	case p.Timestamp == earliestOffset:
		rp.Offset = info.Start
	case p.Timestamp < 0:
		return kerr.UnsupportedVersion // a special meaning of a later version
	default:
		found, err := rep.OffsetForTimestamp(p.Timestamp, p.CurrentLeaderEpoch)
		if err != nil {
			return err
		}
		rp.Offset, rp.Timestamp = found.Offset, found.Timestamp
	}
	return nil
}
