package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// allocateProducerIDs hands a broker a block of producer ids.
func (b *Broker) allocateProducerIDs(_ context.Context, _ Caller, req kmsg.Request) (Await, error) {
	return b.decide(req), nil
}
