package api

import (
	"context"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/group"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetsTopic is the internal topic that holds groups and committed offsets.
const OffsetsTopic = group.Topic

const (
	offsetsReplication = 3
	createOffsetsLimit = 10 * time.Second
	coordinatorGroup   = 0
)

// findCoordinator names the leader of the offsets partition that the group belongs to. The first call in a cluster creates the offsets topic.
func (b *Broker) findCoordinator(_ context.Context, _ Caller, r kmsg.Request) (Await, error) {
	req := r.(*kmsg.FindCoordinatorRequest)
	if req.CoordinatorType != coordinatorGroup {
		return Done(coordinatorError(req, kerr.InvalidRequest, "only group coordinators are served: transactions are not supported")), nil
	}
	if req.CoordinatorKey == "" {
		return Done(coordinatorError(req, kerr.InvalidGroupID, "the group id is empty")), nil
	}
	if b.Current.View().Topics[OffsetsTopic] != nil {
		return Done(b.coordinator(req)), nil
	}
	return func(ctx context.Context) (kmsg.Response, error) {
		ctx, cancel := context.WithTimeout(ctx, createOffsetsLimit)
		defer cancel()
		err := b.ensureTopics(ctx, []string{OffsetsTopic}, b.Config.OffsetsPartitions, offsetsReplication, group.TopicConfigs())
		if err != nil {
			b.Log.Warn("offsets topic not created, clients will ask again", "topic", OffsetsTopic, "error", err)
			return coordinatorError(req, kerr.CoordinatorNotAvailable, "the offsets topic cannot be created now"), nil
		}
		return b.coordinator(req), nil
	}, nil
}

func (b *Broker) coordinator(req *kmsg.FindCoordinatorRequest) kmsg.Response {
	v := b.Current.View()
	t := v.Topics[OffsetsTopic]
	if t == nil {
		return coordinatorError(req, kerr.CoordinatorNotAvailable, "the offsets topic was deleted")
	}
	p, _ := v.Partition(cluster.TopicPartition{Topic: OffsetsTopic, Partition: group.Partition(req.CoordinatorKey, int32(len(t.Partitions)))})
	leader, ok := v.Brokers[p.Leader]
	if !ok || leader.Fenced {
		return coordinatorError(req, kerr.CoordinatorNotAvailable, "the group's offsets partition has no leader")
	}
	resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
	resp.NodeID, resp.Host, resp.Port = leader.ID, leader.Client.Host, leader.Client.Port
	return resp
}

func coordinatorError(req *kmsg.FindCoordinatorRequest, err *kerr.Error, message string) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
	resp.ErrorCode, resp.ErrorMessage, resp.NodeID, resp.Port = err.Code, kmsg.StringPtr(message), -1, -1
	return resp
}
