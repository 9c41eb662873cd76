package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// offsetForLeaderEpoch tells where leader epochs end, so that a consumer notices that its position was lost (KIP-320).
func (b *Broker) offsetForLeaderEpoch(_ context.Context, _ Caller, req kmsg.Request) (Await, error) {
	r := req.(*kmsg.OffsetForLeaderEpochRequest)
	resp := r.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	for _, t := range r.Topics {
		rt := kmsg.NewOffsetForLeaderEpochResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			rp.Partition, rp.LeaderEpoch, rp.EndOffset = p.Partition, -1, -1
			rep, err := b.replica(t.Topic, p.Partition)
			if err == nil {
				end, endErr := rep.EpochEnd(p.LeaderEpoch, p.CurrentLeaderEpoch)
				if err = endErr; err == nil {
					rp.LeaderEpoch, rp.EndOffset = end.Epoch, end.EndOffset
				}
			}
			rp.ErrorCode = b.partitionCode(err)
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return Done(resp), nil
}
