package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// controllerKeys are the requests that the controller decides.
func (b *Broker) controllerKeys() []Key {
	return []Key{
		{Num: 7, Min: 3, Max: 3, Handle: b.controlledShutdown, PeerOnly: true},
		{Num: 19, Min: 0, Max: 7, Handle: b.createTopics},
		{Num: 20, Min: 0, Max: 6, Handle: b.deleteTopics},
		{Num: 37, Min: 0, Max: 3, Handle: b.createPartitions},
		{Num: 56, Min: 3, Max: 3, Handle: b.alterPartition, PeerOnly: true},
		{Num: 67, Min: 0, Max: 0, Handle: b.allocateProducerIDs, PeerOnly: true},
	}
}

// decide waits for this broker's own decision.
func (b *Broker) decide(req kmsg.Request) Await {
	return func(ctx context.Context) (kmsg.Response, error) { return b.Decide.Serve(ctx, req) }
}
