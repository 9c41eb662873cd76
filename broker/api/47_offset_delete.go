package api

import (
	"context"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/group"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// offsetDelete forgets committed offsets of topics that the group does not consume.
func (b *Broker) offsetDelete(ctx context.Context, _ Caller, r kmsg.Request) (Await, error) {
	req := r.(*kmsg.OffsetDeleteRequest)
	known := false
	if err := b.Groups.Query(ctx, req.Group, func(g *group.Group) { known = g != nil }); err != nil || !known {
		if err == nil {
			err = group.ErrGroupNotFound
		}
		resp := req.ResponseKind().(*kmsg.OffsetDeleteResponse)
		resp.ErrorCode = groupCode(err)
		return Done(resp), nil
	}
	e := group.DeleteOffsets{}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			e.Partitions = append(e.Partitions, cluster.TopicPartition{Topic: t.Topic, Partition: p.Partition})
		}
	}
	return b.forGroup(ctx, req.Group, e, commitTimeout, func(body any, err error) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.OffsetDeleteResponse)
		next := commitErrors(body, err)
		for _, t := range req.Topics {
			rt := kmsg.NewOffsetDeleteResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rp := kmsg.NewOffsetDeleteResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, groupCode(next())
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp
	})
}
