package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// controlledShutdown takes leaderships and ISR memberships from a broker that is about to stop.
func (b *Broker) controlledShutdown(_ context.Context, _ Caller, req kmsg.Request) (Await, error) {
	return b.decide(req), nil
}
