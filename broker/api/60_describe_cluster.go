package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// describeCluster lists the live brokers.
func (b *Broker) describeCluster(_ context.Context, _ Caller, r kmsg.Request) (Await, error) {
	v := b.Current.View()
	resp := r.ResponseKind().(*kmsg.DescribeClusterResponse)
	resp.ClusterID, resp.ControllerID = v.ClusterID, liveController(v)
	for _, l := range liveBrokers(v) {
		cb := kmsg.NewDescribeClusterResponseBroker()
		cb.NodeID, cb.Host, cb.Port, cb.Rack = l.ID, l.Client.Host, l.Client.Port, rack(l)
		resp.Brokers = append(resp.Brokers, cb)
	}
	return Done(resp), nil
}
