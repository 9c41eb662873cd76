package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// deleteTopics deletes topics through the controller. What a peer sends was forwarded already, so it is decided here or not at all.
func (b *Broker) deleteTopics(_ context.Context, c Caller, req kmsg.Request) (Await, error) {
	if c.Listener == Peer {
		return b.decide(req), nil
	}
	r := req.(*kmsg.DeleteTopicsRequest)
	return func(ctx context.Context) (kmsg.Response, error) {
		resp, err := b.Control.DeleteTopics(ctx, r)
		if err != nil {
			return nil, err
		}
		return resp, nil
	}, nil
}
