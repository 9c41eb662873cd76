package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// alterPartition commits the ISRs that a leader proposes.
func (b *Broker) alterPartition(_ context.Context, _ Caller, req kmsg.Request) (Await, error) {
	return b.decide(req), nil
}
