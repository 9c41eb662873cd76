package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// brokerHeartbeat tells another broker that this process lives. It waits for nothing: whether the broker is fit to serve is its session's matter.
func (b *Broker) brokerHeartbeat(_ context.Context, _ Caller, r kmsg.Request) (Await, error) {
	return Done(b.Self().Answer(r.(*kmsg.BrokerHeartbeatRequest))), nil
}
