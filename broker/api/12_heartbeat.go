package api

import (
	"context"

	"github.com/regency-project/regency/broker/group"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// heartbeat keeps a member in its group.
func (b *Broker) heartbeat(ctx context.Context, _ Caller, r kmsg.Request) (Await, error) {
	req := r.(*kmsg.HeartbeatRequest)
	reply := func(body any, err error) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
		resp.ErrorCode = groupCode(outcome(body, err))
		return resp
	}
	if req.Group == "" {
		return Done(reply(nil, group.ErrInvalidGroup)), nil
	}
	return b.forGroup(ctx, req.Group, group.Heartbeat{MemberID: req.MemberID, InstanceID: req.InstanceID, Generation: req.Generation}, 0, reply)
}
