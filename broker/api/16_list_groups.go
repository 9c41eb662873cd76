package api

import (
	"context"
	"slices"
	"strings"

	"github.com/regency-project/regency/broker/group"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// listGroups lists the groups that this broker coordinates.
func (b *Broker) listGroups(_ context.Context, _ Caller, r kmsg.Request) (Await, error) {
	req := r.(*kmsg.ListGroupsRequest)
	return func(ctx context.Context) (kmsg.Response, error) {
		resp := req.ResponseKind().(*kmsg.ListGroupsResponse)
		resp.Groups = []kmsg.ListGroupsResponseGroup{}
		err := b.Groups.Each(ctx, func(g *group.Group) {
			if !stateAsked(req, g.State) {
				return
			}
			lg := kmsg.NewListGroupsResponseGroup()
			lg.Group, lg.ProtocolType, lg.GroupState = g.ID, g.ProtocolType, g.State.String()
			resp.Groups = append(resp.Groups, lg)
		})
		resp.ErrorCode = groupCode(err)
		slices.SortFunc(resp.Groups, func(a, b kmsg.ListGroupsResponseGroup) int { return strings.Compare(a.Group, b.Group) })
		return resp, nil
	}, nil
}

func stateAsked(req *kmsg.ListGroupsRequest, s group.State) bool {
	return len(req.StatesFilter) == 0 || slices.ContainsFunc(req.StatesFilter, func(f string) bool { return strings.EqualFold(f, s.String()) })
}
