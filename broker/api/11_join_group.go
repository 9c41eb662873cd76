package api

import (
	"context"

	"github.com/regency-project/regency/broker/group"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// joinGroup answers when the group's next generation begins.
func (b *Broker) joinGroup(ctx context.Context, c Caller, r kmsg.Request) (Await, error) {
	req := r.(*kmsg.JoinGroupRequest)
	reply := func(body any, err error) kmsg.Response {
		if err != nil {
			return joinResponse(req, group.JoinReply{Err: err, MemberID: req.MemberID, Generation: -1})
		}
		return joinResponse(req, body.(group.JoinReply))
	}
	if req.Group == "" {
		return Done(reply(nil, group.ErrInvalidGroup)), nil
	}
	join := group.Join{
		MemberID: req.MemberID, NewID: group.NewMemberID(c.ClientID, req.InstanceID), InstanceID: req.InstanceID,
		ClientID: c.ClientID, ClientHost: c.Host(),
		SessionTimeout: group.Millis(req.SessionTimeoutMillis), RebalanceTimeout: group.Millis(req.RebalanceTimeoutMillis),
		ProtocolType: req.ProtocolType, RequireID: req.Version >= 4,
	}
	for _, p := range req.Protocols {
		join.Protocols = append(join.Protocols, group.Protocol{Name: p.Name, Metadata: p.Metadata})
	}
	return b.forGroup(ctx, req.Group, join, 0, reply)
}

func joinResponse(req *kmsg.JoinGroupRequest, j group.JoinReply) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
	resp.ErrorCode, resp.Generation, resp.MemberID, resp.LeaderID = groupCode(j.Err), j.Generation, j.MemberID, j.Leader
	resp.Protocol = kmsg.StringPtr(j.Protocol) // null only from version 7 on, and clients differ in liking it
	if j.ProtocolType != "" {
		resp.ProtocolType = kmsg.StringPtr(j.ProtocolType)
	}
	resp.Members = []kmsg.JoinGroupResponseMember{}
	for _, m := range j.Members {
		rm := kmsg.NewJoinGroupResponseMember()
		rm.MemberID, rm.InstanceID, rm.ProtocolMetadata = m.ID, m.InstanceID, m.Metadata
		resp.Members = append(resp.Members, rm)
	}
	return resp
}
