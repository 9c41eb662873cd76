package api

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// producerIDTimeout bounds the wait for a controller that hands out ids. The client asks again.
const producerIDTimeout = 10 * time.Second

// producerIDs gives out the ids of a block one by one, and gets the next block when it is used up. The zero value has no block.
type producerIDs struct {
	init sync.Once
	turn chan struct{} // cap 1: whoever has put in owns the fields below
	next int64
	left int32
}

// take returns an id that was never given out; allocate gets a block.
func (ids *producerIDs) take(ctx context.Context, allocate func(context.Context) (first int64, n int32, err error)) (int64, error) {
	ids.init.Do(func() { ids.turn = make(chan struct{}, 1) })
	select {
	case ids.turn <- struct{}{}:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	defer func() { <-ids.turn }()
	if ids.left == 0 {
		first, n, err := allocate(ctx)
		if err != nil {
			return 0, err
		}
		ids.next, ids.left = first, n
	}
	id := ids.next
	ids.next++
	ids.left--
	return id, nil
}

// initProducerID gives an idempotent producer a new id with epoch 0, also one that has an id already: only transactional producers keep theirs.
func (b *Broker) initProducerID(_ context.Context, _ Caller, req kmsg.Request) (Await, error) {
	r := req.(*kmsg.InitProducerIDRequest)
	resp := r.ResponseKind().(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	if r.TransactionalID != nil {
		resp.ErrorCode = kerr.UnsupportedVersion.Code // no version of it is served with a transactional id
		return Done(resp), nil
	}
	return func(ctx context.Context) (kmsg.Response, error) {
		ctx, cancel := context.WithTimeout(ctx, producerIDTimeout)
		defer cancel()
		id, err := b.producerIDs.take(ctx, b.Control.AllocateProducerIDs)
		if err != nil {
			b.Log.Warn("no producer id", "err", err)
			resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code // clients try again
			return resp, nil
		}
		resp.ProducerID, resp.ProducerEpoch = id, 0
		return resp, nil
	}, nil
}
