package controlloop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/controller"
	"github.com/regency-project/regency/broker/peer"
	"github.com/regency-project/regency/coordination"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// tryTimeout bounds one try of a repeatable request to a controller that does not answer; it ends earlier when another one is seen.
	tryTimeout = 3 * time.Second
	// defaultTimeout bounds requests on topics that name no limit themselves.
	defaultTimeout = 30 * time.Second
	// clientPause is between tries while there is no controller; a newer view ends it.
	clientPause = 20 * time.Millisecond
	// visibleTimeout bounds the wait for our own view to show what the controller has done.
	visibleTimeout = 2 * time.Second
)

// Requester sends a request to another broker's peer listener. An error wraps peer.ErrUnavailable if nothing was sent; any other leaves the outcome open.
type Requester interface {
	Request(ctx context.Context, addr string, req kmsg.Request) (kmsg.Response, error)
}

// ClientConfig of a Client. All but the defaults' zero values is required.
type ClientConfig struct {
	ID      int32
	Loop    *Loop // this broker's own
	Current *cluster.Current
	Peers   Requester
	// Epoch is this broker's own epoch, -1 while it is not admitted.
	Epoch func() int64
	// DefaultPartitions and DefaultReplicationFactor serve requests that leave them to the broker; MaxPartitions bounds a topic.
	DefaultPartitions        int32
	DefaultReplicationFactor int16
	MaxPartitions            int32
}

// Client brings requests to the controller, wherever it is, and waits for one until ctx ends.
type Client struct{ cfg ClientConfig }

// NewClient makes a Client.
func NewClient(cfg ClientConfig) *Client { return &Client{cfg} }

// AlterPartition proposes new ISRs. A result's Partition has Leader, LeaderEpoch, ISR and Epoch set; the view tells the rest. A request that was sent twice
// because its answer was lost is refused as ErrInvalidUpdateVersion the second time: the view tells what it has become.
func (c *Client) AlterPartition(ctx context.Context, e controller.AlterPartition) (controller.AlterPartitionReply, error) {
	req := encodeAlterPartition(e)
	resp, err := c.do(ctx, req)
	if err != nil {
		return controller.AlterPartitionReply{}, fmt.Errorf("alter partition: %w", err)
	}
	return decodeAlterPartition(e, resp.(*kmsg.AlterPartitionResponse))
}

// AllocateProducerIDs returns a block of producer ids that nobody else gets.
func (c *Client) AllocateProducerIDs(ctx context.Context) (first int64, n int32, err error) {
	resp, err := c.doAs(ctx, func(epoch int64) kmsg.Request {
		req := kmsg.NewPtrAllocateProducerIDsRequest()
		req.BrokerID, req.BrokerEpoch = c.cfg.ID, epoch
		return req
	})
	if err != nil {
		return 0, 0, fmt.Errorf("allocate producer ids: %w", err)
	}
	r := resp.(*kmsg.AllocateProducerIDsResponse)
	return r.ProducerIDStart, r.ProducerIDLen, nil
}

// ControlledShutdown hands over what this broker leads, and returns what it must keep because no other replica is in sync.
func (c *Client) ControlledShutdown(ctx context.Context) ([]cluster.TopicPartition, error) {
	resp, err := c.doAs(ctx, func(epoch int64) kmsg.Request {
		req := kmsg.NewPtrControlledShutdownRequest()
		req.Version, req.BrokerID, req.BrokerEpoch = 3, c.cfg.ID, epoch
		return req
	})
	if err != nil {
		return nil, fmt.Errorf("controlled shutdown: %w", err)
	}
	var remaining []cluster.TopicPartition
	for _, p := range resp.(*kmsg.ControlledShutdownResponse).PartitionsRemaining {
		remaining = append(remaining, cluster.TopicPartition{Topic: p.Topic, Partition: p.Partition})
	}
	return remaining, nil
}

// CreateTopics creates topics, and waits a little for this broker's view to show them.
func (c *Client) CreateTopics(ctx context.Context, req *kmsg.CreateTopicsRequest) (*kmsg.CreateTopicsResponse, error) {
	resp, err := c.forward(ctx, req, req.TimeoutMillis)
	if err != nil {
		return nil, fmt.Errorf("create topics: %w", err)
	}
	r := resp.(*kmsg.CreateTopicsResponse)
	if !req.ValidateOnly {
		c.await(ctx, func(v *cluster.View) bool {
			for _, t := range r.Topics {
				if t.ErrorCode == 0 && v.Topics[t.Topic] == nil {
					return false
				}
			}
			return true
		})
	}
	return r, nil
}

// DeleteTopics deletes topics, and waits a little for this broker's view to show it.
func (c *Client) DeleteTopics(ctx context.Context, req *kmsg.DeleteTopicsRequest) (*kmsg.DeleteTopicsResponse, error) {
	resp, err := c.forward(ctx, req, req.TimeoutMillis)
	if err != nil {
		return nil, fmt.Errorf("delete topics: %w", err)
	}
	r := resp.(*kmsg.DeleteTopicsResponse)
	c.await(ctx, func(v *cluster.View) bool {
		for _, t := range r.Topics {
			if t.ErrorCode == 0 && t.Topic != nil && v.Topics[*t.Topic] != nil && (t.TopicID == [16]byte{} || v.Topics[*t.Topic].ID == t.TopicID) {
				return false
			}
		}
		return true
	})
	return r, nil
}

// CreatePartitions adds partitions, and waits a little for this broker's view to show them.
func (c *Client) CreatePartitions(ctx context.Context, req *kmsg.CreatePartitionsRequest) (*kmsg.CreatePartitionsResponse, error) {
	resp, err := c.forward(ctx, req, req.TimeoutMillis)
	if err != nil {
		return nil, fmt.Errorf("create partitions: %w", err)
	}
	r := resp.(*kmsg.CreatePartitionsResponse)
	if !req.ValidateOnly {
		want := map[string]int32{}
		for _, t := range req.Topics {
			want[t.Topic] = t.Count
		}
		c.await(ctx, func(v *cluster.View) bool {
			for _, t := range r.Topics {
				if topic := v.Topics[t.Topic]; t.ErrorCode == 0 && topic != nil && int32(len(topic.Partitions)) < want[t.Topic] {
					return false
				}
			}
			return true
		})
	}
	return r, nil
}

func (c *Client) await(ctx context.Context, ok func(*cluster.View) bool) {
	ctx, cancel := context.WithTimeout(ctx, visibleTimeout)
	defer cancel()
	_, _ = c.cfg.Current.Wait(ctx, ok) // late is not wrong: the requester retries on what it does not find yet
}

// forward is do within the requester's own time limit, at whose end every topic is answered as timed out.
func (c *Client) forward(ctx context.Context, req kmsg.Request, timeoutMillis int32) (kmsg.Response, error) {
	limit := defaultTimeout
	if timeoutMillis > 0 {
		limit = time.Duration(timeoutMillis) * time.Millisecond
	}
	tctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	resp, err := c.do(tctx, req)
	if err != nil && ctx.Err() == nil {
		return refuseAll(req, err), nil
	}
	return resp, err
}

// doAs is do for requests that carry our broker epoch: a stale one is read again.
func (c *Client) doAs(ctx context.Context, build func(epoch int64) kmsg.Request) (kmsg.Response, error) {
	for {
		_, changed := c.cfg.Current.Next()
		epoch := c.cfg.Epoch()
		err := fmt.Errorf("%w: not admitted", controller.ErrStaleBrokerEpoch)
		if epoch >= 0 {
			var resp kmsg.Response
			if resp, err = c.do(ctx, build(epoch)); err == nil {
				return resp, nil
			}
		}
		if !errors.Is(err, controller.ErrStaleBrokerEpoch) {
			return nil, err
		}
		if !pause(ctx, changed) {
			return nil, fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
	}
}

// do brings one request to the controller. It tries again while there is none, or it cannot be reached, or answers that it is not (or not now) able. A request
// that must not be repeated is not sent again once it may have been served: the error is ErrUnsettled.
func (c *Client) do(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	for {
		v, changed := c.cfg.Current.Next()
		resp, err := c.try(ctx, v, req)
		if err == nil {
			return resp, nil
		}
		var refused *refusal
		if errors.As(err, &refused) && !refused.retriable() {
			return nil, refused.err
		}
		if !repeatable(req) && !undone(err) {
			return nil, fmt.Errorf("%w: %w", ErrUnsettled, err)
		}
		if ctx.Err() != nil || !pause(ctx, changed) {
			return nil, fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
	}
}

// repeatable says whether a request may be served twice. Those on topics may not: what a second deletion removes can be a new topic of the same name, with
// records that were acknowledged since, and a second creation answers failure for what has succeeded.
func repeatable(req kmsg.Request) bool {
	switch req.(type) {
	case *kmsg.CreateTopicsRequest, *kmsg.DeleteTopicsRequest, *kmsg.CreatePartitionsRequest:
		return false
	}
	return true
}

// undone says that a failed try has certainly had no effect.
func undone(err error) bool {
	if errors.Is(err, ErrUnsettled) || errors.Is(err, peer.ErrOutcomeUnknown) {
		return false
	}
	return errors.Is(err, peer.ErrUnavailable) || errors.Is(err, ErrNotController) || errors.Is(err, coordination.ErrUnavailable)
}

// refusal is an answer that concerns the whole request.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func (r *refusal) retriable() bool {
	return errors.Is(r.err, ErrNotController) || errors.Is(r.err, coordination.ErrUnavailable) || errors.Is(r.err, ErrUnsettled)
}

func (c *Client) try(ctx context.Context, v *cluster.View, req kmsg.Request) (kmsg.Response, error) {
	var resp kmsg.Response
	var err error
	if c.cfg.Loop.Leading() {
		resp, err = c.Serve(ctx, req)
	} else {
		resp, err = c.ask(ctx, v, req)
	}
	if err != nil {
		return nil, err
	}
	if err := errorOf(wholeCode(resp)); err != nil {
		return nil, &refusal{err}
	}
	return resp, nil
}

// ask sends the request to the controller of the view, for as long as it is that. One that cannot be sent again is given all of the requester's time.
func (c *Client) ask(ctx context.Context, v *cluster.View, req kmsg.Request) (kmsg.Response, error) {
	b, ok := v.Brokers[v.Controller]
	if !ok || v.Controller == c.cfg.ID {
		return nil, fmt.Errorf("%w; none is known now", ErrNotController)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if repeatable(req) {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, tryTimeout)
		defer stop()
	}
	go func() { // ends with the try
		if _, err := c.cfg.Current.Wait(ctx, func(n *cluster.View) bool { return n.Epoch != v.Epoch }); err == nil {
			cancel()
		}
	}()
	addr := net.JoinHostPort(b.Peer.Host, strconv.Itoa(int(b.Peer.Port)))
	resp, err := c.cfg.Peers.Request(ctx, addr, req)
	if err != nil {
		return nil, fmt.Errorf("ask controller %d at %s: %w", b.ID, addr, err)
	}
	return resp, nil
}

func pause(ctx context.Context, changed <-chan struct{}) bool {
	t := time.NewTimer(clientPause)
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	case <-ctx.Done():
		return false
	}
	return true
}
