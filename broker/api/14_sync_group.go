package api

import (
	"context"

	"github.com/regency-project/regency/broker/group"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// syncGroup brings the leader's assignment, and answers each member with its own once it is kept.
func (b *Broker) syncGroup(ctx context.Context, _ Caller, r kmsg.Request) (Await, error) {
	req := r.(*kmsg.SyncGroupRequest)
	reply := func(body any, err error) kmsg.Response {
		s, ok := body.(group.SyncReply)
		if !ok {
			s = group.SyncReply{Err: err}
		}
		resp := req.ResponseKind().(*kmsg.SyncGroupResponse)
		resp.ErrorCode, resp.MemberAssignment = groupCode(s.Err), s.Assignment
		if s.Err == nil {
			resp.ProtocolType, resp.Protocol = &s.ProtocolType, &s.Protocol
		}
		return resp
	}
	if req.Group == "" {
		return Done(reply(nil, group.ErrInvalidGroup)), nil
	}
	sync := group.Sync{
		MemberID: req.MemberID, InstanceID: req.InstanceID, Generation: req.Generation,
		ProtocolType: req.ProtocolType, Protocol: req.Protocol,
		Assignments: make(map[string][]byte, len(req.GroupAssignment)),
	}
	for _, a := range req.GroupAssignment {
		sync.Assignments[a.MemberID] = a.MemberAssignment
	}
	return b.forGroup(ctx, req.Group, sync, 0, reply)
}
