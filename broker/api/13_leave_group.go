package api

import (
	"context"

	"github.com/regency-project/regency/broker/group"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// leaveGroup removes members from their group: the sender before version 3, a list from there on.
func (b *Broker) leaveGroup(ctx context.Context, _ Caller, r kmsg.Request) (Await, error) {
	req := r.(*kmsg.LeaveGroupRequest)
	members := req.Members
	if req.Version < 3 {
		members = []kmsg.LeaveGroupRequestMember{{MemberID: req.MemberID}}
	}
	reply := func(body any, err error) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.LeaveGroupResponse)
		resp.Members = []kmsg.LeaveGroupResponseMember{}
		resp.ErrorCode = groupCode(err)
		if err != nil {
			return resp
		}
		errs := body.(group.LeaveReply).Errs
		if req.Version < 3 {
			resp.ErrorCode = groupCode(errs[0])
			return resp
		}
		for i, m := range members {
			rm := kmsg.NewLeaveGroupResponseMember()
			rm.MemberID, rm.InstanceID, rm.ErrorCode = m.MemberID, m.InstanceID, groupCode(errs[i])
			resp.Members = append(resp.Members, rm)
		}
		return resp
	}
	if req.Group == "" {
		return Done(reply(nil, group.ErrInvalidGroup)), nil
	}
	leave := group.Leave{}
	for _, m := range members {
		leave.Members = append(leave.Members, group.Identity{MemberID: m.MemberID, InstanceID: m.InstanceID})
	}
	return b.forGroup(ctx, req.Group, leave, 0, reply)
}
