package api

import (
	"context"

	"github.com/regency-project/regency/broker/group"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// describeGroups tells what groups are; a group that does not exist is Dead, without an error.
func (b *Broker) describeGroups(_ context.Context, _ Caller, r kmsg.Request) (Await, error) {
	req := r.(*kmsg.DescribeGroupsRequest)
	return func(ctx context.Context) (kmsg.Response, error) {
		resp := req.ResponseKind().(*kmsg.DescribeGroupsResponse)
		for _, id := range req.Groups {
			rg := kmsg.NewDescribeGroupsResponseGroup()
			rg.Group, rg.Members = id, []kmsg.DescribeGroupsResponseGroupMember{}
			err := b.Groups.Query(ctx, id, func(g *group.Group) { describeGroup(&rg, g.Describe()) })
			rg.ErrorCode = groupCode(err)
			resp.Groups = append(resp.Groups, rg)
		}
		return resp, nil
	}, nil
}

func describeGroup(rg *kmsg.DescribeGroupsResponseGroup, d group.Description) {
	rg.State, rg.ProtocolType, rg.Protocol = d.State.String(), d.ProtocolType, d.Protocol
	for _, m := range d.Members {
		rm := kmsg.NewDescribeGroupsResponseGroupMember()
		rm.MemberID, rm.InstanceID, rm.ClientID, rm.ClientHost = m.ID, m.InstanceID, m.ClientID, m.ClientHost
		rm.ProtocolMetadata, rm.MemberAssignment = m.Metadata, m.Assignment
		rg.Members = append(rg.Members, rm)
	}
}
