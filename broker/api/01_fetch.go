package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/regency-project/regency/broker/partition"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	fetchTopicIDVersion = 13       // topics by id instead of name
	fetchStateVersion   = 15       // a replica tells its broker epoch
	maxFetchBytes       = 64 << 20 // of one response, whatever the client allows
	noReplica           = -1
)

// fetch reads for consumers, and for followers on the peer listener. What a follower's position tells takes effect in request order; the reading waits its turn.
// There are no fetch sessions: each request is answered in full, which clients accept.
func (b *Broker) fetch(_ context.Context, c Caller, req kmsg.Request) (Await, error) {
	r := req.(*kmsg.FetchRequest)
	f := &fetching{b: b, r: r, resp: r.ResponseKind().(*kmsg.FetchResponse), replica: noReplica}
	id, epoch := r.ReplicaID, int64(-1)
	if r.Version >= fetchStateVersion {
		id, epoch = r.ReplicaState.ID, r.ReplicaState.Epoch
	}
	if id >= 0 {
		if c.Listener != Peer || r.Version < fetchStateVersion {
			return nil, fmt.Errorf("fetch as replica %d: only brokers do that, by the peer listener and version %d or newer", id, fetchStateVersion)
		}
		f.replica = id
	}
	if r.SessionID != 0 {
		f.resp.ErrorCode = kerr.FetchSessionIDNotFound.Code // the client begins anew, with a full request
		return Done(f.resp), nil
	}
	f.open(epoch, time.Now())
	return f.await, nil
}

// fetching is a fetch request at work.
type fetching struct {
	b       *Broker
	r       *kmsg.FetchRequest
	resp    *kmsg.FetchResponse
	replica int32
	items   []fetchItem
	size    int // of what was read
}

// fetchItem is one partition of a request.
type fetchItem struct {
	req  *kmsg.FetchRequestTopicPartition
	p    *partition.Partition
	err  error
	read partition.ReadResult // all that was read so far
}

// open finds the partitions and takes in a follower's positions.
func (f *fetching) open(brokerEpoch int64, now time.Time) {
	for i := range f.r.Topics {
		t := &f.r.Topics[i]
		for k := range t.Partitions {
			it := fetchItem{req: &t.Partitions[k], read: partition.ReadResult{Start: -1, HighWatermark: -1, Next: t.Partitions[k].FetchOffset}}
			if f.r.Version >= fetchTopicIDVersion {
				it.p, it.err = f.b.replicaByID(t.TopicID, it.req.Partition)
			} else {
				it.p, it.err = f.b.replica(t.Topic, it.req.Partition)
			}
			if it.err == nil && f.replica != noReplica {
				it.read.Diverging, it.err = it.p.Follow(partition.FollowerFetch{
					Replica: f.replica, BrokerEpoch: brokerEpoch, CurrentLeaderEpoch: it.req.CurrentLeaderEpoch,
					Offset: it.req.FetchOffset, LastFetchedEpoch: it.req.LastFetchedEpoch, LogStart: it.req.LogStartOffset, Now: now,
				})
				if errors.Is(it.err, partition.ErrOffsetOutOfRange) {
					if info, err := it.p.Leader(); err == nil {
						it.read.Start = info.Start // where a follower that fell behind retention starts over
					}
				}
			}
			f.items = append(f.items, it)
		}
	}
}

// await answers when there is enough to tell, or the client's patience is over.
func (f *fetching) await(ctx context.Context) (kmsg.Response, error) {
	if !f.collect(ctx) && f.r.MaxWaitMillis > 0 {
		f.wait(ctx)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx) // nobody reads the answer
	}
	return f.answer(), nil
}

// wait is the long poll. No partition has an error yet.
func (f *fetching) wait(ctx context.Context) {
	w := partition.NewWatcher()
	for _, it := range f.items {
		it.p.Watch(w, f.replica != noReplica)
		defer it.p.Unwatch(w)
	}
	over := time.NewTimer(time.Duration(f.r.MaxWaitMillis) * time.Millisecond)
	defer over.Stop()
	for !f.collect(ctx) {
		select {
		case <-w.C():
		case <-over.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// collect reads on where it stopped, and reports whether the answer should go.
func (f *fetching) collect(ctx context.Context) (ready bool) {
	limit := maxFetchBytes
	if f.r.MaxBytes > 0 {
		limit = min(limit, int(f.r.MaxBytes))
	}
	for i := range f.items {
		it := &f.items[i]
		if it.err != nil || it.read.Diverging != nil {
			ready = true
			continue
		}
		room := min(int(it.req.PartitionMaxBytes)-len(it.read.Batches), limit-f.size)
		if room <= 0 && f.size > 0 {
			ready = true // full
			continue
		}
		ready = f.readOn(ctx, it, room) || ready
	}
	return ready || f.size >= int(f.r.MinBytes)
}

// readOn reads more of one partition, and reports whether that ends the wait. One batch passes even if it is larger than there is room, when it is the first.
func (f *fetching) readOn(ctx context.Context, it *fetchItem, room int) (ready bool) {
	o := partition.ReadOptions{From: it.read.Next, MaxBytes: max(room, 1), CurrentLeaderEpoch: it.req.CurrentLeaderEpoch, LastFetchedEpoch: -1, Replica: f.replica != noReplica}
	if len(it.read.Batches) == 0 {
		o.LastFetchedEpoch = it.req.LastFetchedEpoch
	}
	more, err := it.p.Read(ctx, o)
	switch {
	case err != nil && len(it.read.Batches) > 0:
		return true // what was read before stands
	case err != nil || more.Diverging != nil:
		it.read, it.err = more, err
		return true
	case len(more.Batches) > room && f.size > 0:
		return true // for the next request
	}
	f.size += len(more.Batches)
	if len(it.read.Batches) > 0 {
		more.Batches = append(it.read.Batches, more.Batches...)
	}
	it.read = more
	return false
}

func (f *fetching) answer() kmsg.Response {
	next := 0
	for _, t := range f.r.Topics {
		rt := kmsg.NewFetchResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for range t.Partitions {
			rt.Partitions = append(rt.Partitions, f.answerItem(&f.items[next]))
			next++
		}
		f.resp.Topics = append(f.resp.Topics, rt)
	}
	return f.resp
}

func (f *fetching) answerItem(it *fetchItem) kmsg.FetchResponseTopicPartition {
	rp := kmsg.NewFetchResponseTopicPartition()
	rp.Partition = it.req.Partition
	rp.RecordBatches = []byte{} // null would be an error to some clients
	if f.r.IsolationLevel == 1 {
		rp.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
	}
	rp.HighWatermark, rp.LastStableOffset, rp.LogStartOffset = it.read.HighWatermark, it.read.HighWatermark, it.read.Start
	if it.err != nil {
		rp.ErrorCode = f.b.partitionCode(it.err)
		rp.HighWatermark, rp.LastStableOffset = -1, -1
		return rp
	}
	if d := it.read.Diverging; d != nil {
		rp.DivergingEpoch.Epoch, rp.DivergingEpoch.EndOffset = d.Epoch, d.EndOffset
	}
	if len(it.read.Batches) > 0 {
		rp.RecordBatches = it.read.Batches
	}
	return rp
}
