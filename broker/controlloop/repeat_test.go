package controlloop

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/peer"
	"github.com/regency-project/regency/coordination/memory"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// flaky fails the first requests without sending them, then loses the answer of one, and then delivers.
type flaky struct {
	Requester
	unsent int
	lost   func() // runs after the request whose answer is lost was served
	served int
}

func (f *flaky) Request(ctx context.Context, addr string, req kmsg.Request) (kmsg.Response, error) {
	if f.unsent > 0 {
		f.unsent--
		return nil, fmt.Errorf("dial %s: %w", addr, peer.ErrUnavailable)
	}
	f.served++
	resp, err := f.Requester.Request(ctx, addr, req)
	if f.lost != nil {
		f.lost()
		f.lost = nil
		return nil, fmt.Errorf("%w: connection reset", peer.ErrOutcomeUnknown)
	}
	return resp, err
}

// A deletion whose answer was lost must not be sent again: the name may be that of a new topic by then.
func TestDeletionIsNotRepeated(t *testing.T) {
	all := startAll(t, memory.NewServer(10*time.Second), -1)
	leader, others := leaderOf(t, all)
	create(t, leader, "t", 1)
	c := others[0]
	was := c.wait(t, "the topic", func(v *cluster.View) bool { return v.Topics["t"] != nil }).Topics["t"].ID
	f := &flaky{Requester: c.client.cfg.Peers, unsent: 2, lost: func() { create(t, leader, "t", 1) }}
	c.client.cfg.Peers = f
	del, name := kmsg.NewPtrDeleteTopicsRequest(), "t"
	del.Version, del.TimeoutMillis, del.Topics = 6, 20_000, []kmsg.DeleteTopicsRequestTopic{{Topic: &name}}
	resp, err := c.client.DeleteTopics(t.Context(), del)
	if err != nil {
		t.Fatal(err)
	}
	if code := resp.Topics[0].ErrorCode; code != kerr.RequestTimedOut.Code {
		t.Errorf("DeleteTopics with a lost answer = code %d, want %d", code, kerr.RequestTimedOut.Code)
	}
	if f.unsent != 0 || f.served != 1 {
		t.Errorf("%d tries left unsent, %d served; want 0 and 1", f.unsent, f.served)
	}
	leader.wait(t, "the new topic", func(v *cluster.View) bool { return v.Topics["t"] != nil && v.Topics["t"].ID != was })
	// What may be repeated still is.
	f.lost, f.served = func() {}, 0
	if _, _, err := c.client.AllocateProducerIDs(t.Context()); err != nil || f.served != 2 {
		t.Errorf("AllocateProducerIDs with a lost answer = %v after %d tries, want a block at the second", err, f.served)
	}
}
