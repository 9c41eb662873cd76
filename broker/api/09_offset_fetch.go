package api

import (
	"context"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/group"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// offsetFetch tells committed offsets: of the partitions asked for, or, from version 2 on without a list of topics, of all.
func (b *Broker) offsetFetch(_ context.Context, _ Caller, r kmsg.Request) (Await, error) {
	req := r.(*kmsg.OffsetFetchRequest)
	return func(ctx context.Context) (kmsg.Response, error) {
		resp := req.ResponseKind().(*kmsg.OffsetFetchResponse)
		resp.Topics = []kmsg.OffsetFetchResponseTopic{}
		err := b.Groups.Query(ctx, req.Group, func(g *group.Group) {
			if req.Topics == nil && req.Version >= 2 {
				resp.Topics = allOffsets(g)
			} else {
				resp.Topics = someOffsets(g, req.Topics)
			}
		})
		if err != nil {
			resp.ErrorCode = groupCode(err)
			resp.Topics = someOffsets(nil, req.Topics)
			for i := range resp.Topics {
				for j := range resp.Topics[i].Partitions {
					resp.Topics[i].Partitions[j].ErrorCode = groupCode(err) // version 1 has no other place for it
				}
			}
		}
		return resp, nil
	}, nil
}

func someOffsets(g *group.Group, topics []kmsg.OffsetFetchRequestTopic) []kmsg.OffsetFetchResponseTopic {
	out := []kmsg.OffsetFetchResponseTopic{}
	for _, t := range topics {
		rt := kmsg.NewOffsetFetchResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			c := group.Committed{Offset: -1, LeaderEpoch: -1}
			if g != nil {
				if found, ok := g.Committed(cluster.TopicPartition{Topic: t.Topic, Partition: p}); ok {
					c = found
				}
			}
			rt.Partitions = append(rt.Partitions, fetchedOffset(p, c))
		}
		out = append(out, rt)
	}
	return out
}

func allOffsets(g *group.Group) []kmsg.OffsetFetchResponseTopic {
	out := []kmsg.OffsetFetchResponseTopic{}
	if g == nil {
		return out
	}
	tps, cs := g.Offsets()
	for i, tp := range tps {
		if len(out) == 0 || out[len(out)-1].Topic != tp.Topic {
			rt := kmsg.NewOffsetFetchResponseTopic()
			rt.Topic = tp.Topic
			out = append(out, rt)
		}
		t := &out[len(out)-1]
		t.Partitions = append(t.Partitions, fetchedOffset(tp.Partition, cs[i]))
	}
	return out
}

func fetchedOffset(p int32, c group.Committed) kmsg.OffsetFetchResponseTopicPartition {
	rp := kmsg.NewOffsetFetchResponseTopicPartition()
	rp.Partition, rp.Offset, rp.LeaderEpoch, rp.Metadata = p, c.Offset, c.LeaderEpoch, kmsg.StringPtr(c.Metadata)
	return rp
}
