package controlloop

import (
	"context"
	"fmt"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/controller"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// alterPartitionVersion carries topic ids and the members' broker epochs.
const alterPartitionVersion = 3

type topicIDPartition struct {
	id        [16]byte
	partition int32
}

func encodeAlterPartition(e controller.AlterPartition) *kmsg.AlterPartitionRequest {
	req := kmsg.NewPtrAlterPartitionRequest()
	req.Version, req.BrokerID, req.BrokerEpoch = alterPartitionVersion, e.Broker, e.BrokerEpoch
	at := map[[16]byte]int{}
	for _, change := range e.Changes {
		i, ok := at[change.TopicID]
		if !ok {
			i = len(req.Topics)
			at[change.TopicID] = i
			t := kmsg.NewAlterPartitionRequestTopic()
			t.TopicID = change.TopicID
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewAlterPartitionRequestTopicPartition()
		p.Partition, p.LeaderEpoch, p.PartitionEpoch = change.Partition, change.LeaderEpoch, change.PartitionEpoch
		for _, m := range change.ISR {
			p.NewEpochISR = append(p.NewEpochISR, kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{BrokerID: m.ID, BrokerEpoch: m.Epoch})
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
	}
	return req
}

// alterPartition is the controller's side.
func (c *Client) alterPartition(ctx context.Context, req *kmsg.AlterPartitionRequest) *kmsg.AlterPartitionResponse {
	resp := req.ResponseKind().(*kmsg.AlterPartitionResponse)
	e := controller.AlterPartition{Broker: req.BrokerID, BrokerEpoch: req.BrokerEpoch}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			change := controller.ISRChange{TopicID: t.TopicID, Partition: p.Partition, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch}
			for _, m := range p.NewEpochISR {
				change.ISR = append(change.ISR, controller.ISRMember{ID: m.BrokerID, Epoch: m.BrokerEpoch})
			}
			e.Changes = append(e.Changes, change)
		}
	}
	reply, err := submit[controller.AlterPartitionReply](ctx, c, e)
	if err != nil {
		resp.ErrorCode = codeOf(err)
		return resp
	}
	i := 0
	for _, t := range req.Topics {
		rt := kmsg.NewAlterPartitionResponseTopic()
		rt.TopidID = t.TopicID
		for _, p := range t.Partitions {
			rt.Partitions = append(rt.Partitions, alteredPartition(p.Partition, reply.Results[i]))
			i++
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

func alteredPartition(partition int32, r controller.ISRResult) kmsg.AlterPartitionResponseTopicPartition {
	p := kmsg.NewAlterPartitionResponseTopicPartition()
	p.Partition, p.ErrorCode = partition, codeOf(r.Err)
	p.LeaderID, p.LeaderEpoch, p.PartitionEpoch, p.ISR = r.Partition.Leader, r.Partition.LeaderEpoch, r.Partition.Epoch, r.Partition.ISR
	return p
}

func decodeAlterPartition(e controller.AlterPartition, resp *kmsg.AlterPartitionResponse) (controller.AlterPartitionReply, error) {
	results := map[topicIDPartition]controller.ISRResult{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			r := controller.ISRResult{Err: errorOf(p.ErrorCode)}
			if r.Err == nil {
				r.Partition = cluster.Partition{ISR: p.ISR, Leader: p.LeaderID, LeaderEpoch: p.LeaderEpoch, Epoch: p.PartitionEpoch}
			}
			results[topicIDPartition{t.TopidID, p.Partition}] = r
		}
	}
	reply := controller.AlterPartitionReply{}
	for _, change := range e.Changes {
		r, ok := results[topicIDPartition{change.TopicID, change.Partition}]
		if !ok {
			return reply, fmt.Errorf("alter partition: the answer lacks partition %d of topic %x", change.Partition, change.TopicID)
		}
		reply.Results = append(reply.Results, r)
	}
	return reply, nil
}
