package api

import (
	"context"

	"github.com/regency-project/regency/broker/group"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// deleteGroups deletes groups without members.
func (b *Broker) deleteGroups(ctx context.Context, _ Caller, r kmsg.Request) (Await, error) {
	req := r.(*kmsg.DeleteGroupsRequest)
	waits := make([]func(context.Context) error, len(req.Groups))
	for i, id := range req.Groups {
		waits[i] = b.deleteGroup(ctx, id)
	}
	return func(ctx context.Context) (kmsg.Response, error) {
		ctx, cancel := context.WithTimeout(ctx, commitTimeout)
		defer cancel()
		resp := req.ResponseKind().(*kmsg.DeleteGroupsResponse)
		for i, id := range req.Groups {
			rg := kmsg.NewDeleteGroupsResponseGroup()
			rg.Group, rg.ErrorCode = id, groupCode(waits[i](ctx))
			resp.Groups = append(resp.Groups, rg)
		}
		return resp, nil
	}, nil
}

func (b *Broker) deleteGroup(ctx context.Context, id string) func(context.Context) error {
	failed := func(err error) func(context.Context) error { return func(context.Context) error { return err } }
	known := false
	if err := b.Groups.Query(ctx, id, func(g *group.Group) { known = g != nil }); err != nil {
		return failed(err)
	}
	if !known {
		return failed(group.ErrGroupNotFound)
	}
	wait, err := b.Groups.Step(ctx, id, group.Delete{})
	if err != nil {
		return failed(err)
	}
	return func(ctx context.Context) error { return outcome(wait(ctx)) }
}
