package api

import (
	"context"
	"time"

	"github.com/regency-project/regency/broker/group"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// commitTimeout bounds the wait for the replicas of a group record (Kafka's offsets.commit.timeout.ms).
const commitTimeout = 5 * time.Second

// forGroup hands a request to its group, now, and answers later: reply makes the response of the group's reply, or of the error that came instead. No limit
// means that the group itself bounds the wait.
func (b *Broker) forGroup(ctx context.Context, id string, e group.Requested, limit time.Duration, reply func(body any, err error) kmsg.Response) (Await, error) {
	wait, err := b.Groups.Step(ctx, id, e)
	if err != nil {
		return Done(reply(nil, err)), nil
	}
	return func(ctx context.Context) (kmsg.Response, error) {
		if limit > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, limit)
			defer cancel()
		}
		return reply(wait(ctx)), nil
	}, nil
}

// outcome is the error of a reply that is an Answer.
func outcome(body any, err error) error {
	if err != nil {
		return err
	}
	return body.(group.Answer).Err
}
