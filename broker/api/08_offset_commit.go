package api

import (
	"context"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/group"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// offsetCommit answers when all in-sync replicas have the offsets.
func (b *Broker) offsetCommit(ctx context.Context, _ Caller, r kmsg.Request) (Await, error) {
	req := r.(*kmsg.OffsetCommitRequest)
	commit := group.Commit{MemberID: req.MemberID, InstanceID: req.InstanceID, Generation: req.Generation}
	v := b.Current.View()
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			tp := cluster.TopicPartition{Topic: t.Topic, Partition: p.Partition}
			if _, ok := v.Partition(tp); ok {
				commit.Offsets = append(commit.Offsets, offsetOf(tp, p, req.Version))
			}
		}
	}
	return b.forGroup(ctx, req.Group, commit, commitTimeout, func(body any, err error) kmsg.Response {
		return commitResponse(req, v, commitErrors(body, err))
	})
}

func offsetOf(tp cluster.TopicPartition, p kmsg.OffsetCommitRequestTopicPartition, version int16) group.Offset {
	o := group.Offset{TopicPartition: tp, Offset: p.Offset, LeaderEpoch: -1}
	if version >= 6 {
		o.LeaderEpoch = p.LeaderEpoch
	}
	if p.Metadata != nil {
		o.Metadata = *p.Metadata
	}
	return o
}

// commitErrors tells the outcome of the offsets of a request in turn.
func commitErrors(body any, err error) func() error {
	c, _ := body.(group.CommitReply)
	i := -1
	return func() error {
		i++
		if err != nil {
			return err
		}
		return c.Errs[i]
	}
}

// commitResponse answers for each partition in the order of the request; next belongs to those that the view has.
func commitResponse(req *kmsg.OffsetCommitRequest, v *cluster.View, next func() error) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
	for _, t := range req.Topics {
		rt := kmsg.NewOffsetCommitResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetCommitResponseTopicPartition()
			rp.Partition = p.Partition
			if _, ok := v.Partition(cluster.TopicPartition{Topic: t.Topic, Partition: p.Partition}); ok {
				rp.ErrorCode = groupCode(next())
			} else {
				rp.ErrorCode = groupCode(errUnknownPartition)
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}
