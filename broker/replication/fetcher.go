package replication

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/regency-project/regency/broker/partition"
	"github.com/regency-project/regency/broker/peer"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// fetchVersion carries topic ids, so that a topic made anew under a name is not taken for the old one, and the follower's broker epoch.
	fetchVersion = 16
	// answerGrace is how long after the long poll an answer is waited for, at first. It is short, because a connection that leads nowhere is noticed by it alone.
	answerGrace = 2 * time.Second
	// mostPatience bounds how often the grace is doubled and the size of an answer halved, when answers are too slow: up to 32 s, as much as Kafka's
	// replica.socket.timeout.ms.
	mostPatience = 4
	// shortest pause before a partition is asked for again after an error. Often the leader is a moment behind in learning that it leads.
	shortest = 5 * time.Millisecond
)

// fetcher is one fetch loop. It is used by one goroutine.
type fetcher struct {
	cfg     Config
	leader  int32
	log     *slog.Logger
	conn    *peer.Conn
	backoff map[*partition.Partition]backoff
	// patience is how many answers in a row were too slow, for a slow link may need longer than a dead one should be waited for.
	patience int
	turn     int // which partition comes first: an answer that is full has left out the last ones
}

type backoff struct {
	until time.Time
	pause time.Duration
}

func (f *fetcher) run(ctx context.Context, l *loop) {
	defer f.disconnect()
	for ctx.Err() == nil {
		j, changed := l.current()
		if err := f.round(ctx, j, changed); err != nil && ctx.Err() == nil {
			f.disconnect()
			f.log.Debug("fetch", "err", err)
			pause(ctx, f.cfg.Backoff, changed)
		}
	}
}

func pause(ctx context.Context, d time.Duration, changed <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-changed:
	case <-ctx.Done():
	}
}

func (f *fetcher) disconnect() {
	if f.conn != nil {
		f.conn.Close()
		f.conn = nil
	}
}

// round is one fetch, from the request until what it brought is on disk.
func (f *fetcher) round(ctx context.Context, j job, changed <-chan struct{}) error {
	req, sent, wait := f.request(j)
	if len(sent) == 0 {
		pause(ctx, wait, changed)
		return nil
	}
	resp, err := f.ask(ctx, j.addr, req, changed)
	if err != nil || resp == nil {
		return err
	}
	if resp.ErrorCode != 0 {
		return fmt.Errorf("fetch from broker %d: %w", f.leader, kerr.ErrorForCode(resp.ErrorCode))
	}
	f.apply(ctx, resp, sent)
	return nil
}

// ask sends the request. If there is more to do meanwhile, the long poll is given up with its connection, whose answers come in order: resp is nil then.
func (f *fetcher) ask(ctx context.Context, addr string, req *kmsg.FetchRequest, changed <-chan struct{}) (*kmsg.FetchResponse, error) {
	poll := time.Duration(req.MaxWaitMillis) * time.Millisecond
	type answer struct {
		resp kmsg.Response
		err  error
	}
	if f.conn == nil {
		dialing, cancel := context.WithTimeout(ctx, answerGrace)
		conn, err := f.cfg.Peers.Dial(dialing, addr)
		cancel()
		if err != nil {
			return nil, err
		}
		f.conn = conn
	}
	grace := answerGrace << f.patience
	ctx, cancel := context.WithTimeout(ctx, poll+grace)
	defer cancel()
	answered, began := make(chan answer, 1), time.Now()
	go func() {
		resp, err := f.conn.Request(ctx, req)
		answered <- answer{resp, err}
	}()
	select {
	case a := <-answered:
		f.learn(a.err, time.Since(began), grace)
		if a.err != nil {
			return nil, a.err
		}
		return a.resp.(*kmsg.FetchResponse), nil
	case <-changed:
		cancel()
		<-answered
		f.disconnect()
		return nil, nil
	}
}

// learn adapts the patience to how long an answer took.
func (f *fetcher) learn(err error, took, grace time.Duration) {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		f.patience = min(f.patience+1, mostPatience)
	case err == nil && took < grace/4:
		f.patience = max(f.patience-1, 0)
	}
}

type key struct {
	topicID   [16]byte
	partition int32
}

// sent is a partition in a request.
type sent struct {
	p        *partition.Partition
	position partition.Position
}

// request asks for all partitions that can be fetched now. wait is when to look again for the others.
func (f *fetcher) request(j job) (*kmsg.FetchRequest, map[key]sent, time.Duration) {
	req := kmsg.NewPtrFetchRequest()
	self := f.cfg.Set.Self()
	req.SetVersion(fetchVersion)
	req.ReplicaState.ID, req.ReplicaState.Epoch = self.ID, self.Epoch
	req.MinBytes, req.MaxBytes = 1, max(f.cfg.MaxBytes>>f.patience, 1)
	req.SessionID, req.SessionEpoch = 0, -1
	asked := make(map[key]sent, len(j.parts))
	wait, now := f.cfg.MaxWait, time.Now()
	f.turn++
	f.forget(j)
	for i := range j.parts {
		p := j.parts[(i+f.turn)%len(j.parts)].Partition
		if b, ok := f.backoff[p]; ok && now.Before(b.until) {
			wait = min(wait, b.until.Sub(now))
			continue
		}
		if p.Damaged() {
			wait = min(wait, f.cfg.Backoff) // until the controller has taken it out of the ISR; the others need not hurry for it
			continue
		}
		pos, ok := p.Position(f.leader)
		if !ok {
			wait = min(wait, shortest) // its disk is busy, or it has just moved away
			continue
		}
		asked[key{p.TopicID(), p.TopicPartition().Partition}] = sent{p, pos}
		f.add(req, p, pos)
	}
	req.MaxWaitMillis = int32(max(wait, time.Millisecond) / time.Millisecond)
	return req, asked, wait
}

// forget drops the backoffs of partitions that have moved away.
func (f *fetcher) forget(j job) {
	if len(f.backoff) == 0 {
		return
	}
	kept := map[*partition.Partition]backoff{}
	for _, p := range j.parts {
		if b, ok := f.backoff[p.Partition]; ok {
			kept[p.Partition] = b
		}
	}
	f.backoff = kept
}

func (f *fetcher) add(req *kmsg.FetchRequest, p *partition.Partition, pos partition.Position) {
	if n := len(req.Topics); n == 0 || req.Topics[n-1].TopicID != p.TopicID() {
		t := kmsg.NewFetchRequestTopic()
		t.TopicID = p.TopicID()
		req.Topics = append(req.Topics, t)
	}
	t := &req.Topics[len(req.Topics)-1]
	fp := kmsg.NewFetchRequestTopicPartition()
	fp.Partition, fp.PartitionMaxBytes = p.TopicPartition().Partition, f.cfg.PartitionMaxBytes
	fp.CurrentLeaderEpoch, fp.FetchOffset, fp.LastFetchedEpoch, fp.LogStartOffset = pos.LeaderEpoch, pos.Offset, pos.LastEpoch, pos.Start
	t.Partitions = append(t.Partitions, fp)
}

// apply hands the answers to the partitions and waits for their disk.
func (f *fetcher) apply(ctx context.Context, resp *kmsg.FetchResponse, asked map[key]sent) {
	type wait struct {
		p *partition.Partition
		d *partition.Pending
	}
	var waits []wait
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for k := range t.Partitions {
			s, ok := asked[key{t.TopicID, t.Partitions[k].Partition}]
			if !ok {
				continue // not asked for
			}
			d, err := f.replicate(s, &t.Partitions[k])
			f.settle(s.p, err)
			if d != nil {
				waits = append(waits, wait{s.p, d})
			}
		}
	}
	for _, w := range waits {
		if err := w.d.Wait(ctx); err != nil {
			f.settle(w.p, err)
		}
	}
}

func (f *fetcher) replicate(s sent, r *kmsg.FetchResponseTopicPartition) (*partition.Pending, error) {
	fetched := partition.Fetched{Position: s.position, Batches: r.RecordBatches, HighWatermark: r.HighWatermark, LogStart: r.LogStartOffset}
	if d := r.DivergingEpoch; d.EndOffset >= 0 {
		fetched.Diverging = &partition.EpochEnd{Epoch: d.Epoch, EndOffset: d.EndOffset}
	}
	if err := kerr.ErrorForCode(r.ErrorCode); errors.Is(err, kerr.OffsetOutOfRange) {
		fetched.OutOfRange = true
	} else if err != nil {
		return nil, err
	}
	return s.p.Replicate(fetched)
}

// settle makes a partition with an error wait a little, longer each time, while the others go on.
func (f *fetcher) settle(p *partition.Partition, err error) {
	b, had := f.backoff[p]
	if err == nil {
		if had {
			delete(f.backoff, p)
		}
		return
	}
	b.pause = min(max(2*b.pause, shortest), f.cfg.Backoff)
	b.until = time.Now().Add(b.pause)
	f.backoff[p] = b
	tp := p.TopicPartition()
	level := slog.LevelWarn
	if expected(err) {
		level = slog.LevelDebug
	}
	if !had || b.pause < f.cfg.Backoff { // once per row of errors, about
		f.log.Log(context.Background(), level, "replica cannot follow", "topic", tp.Topic, "partition", tp.Partition, "err", err)
	}
}

// expected says that an error is usual while leadership moves or brokers stop.
func expected(err error) bool {
	var answered *kerr.Error
	return errors.As(err, &answered) || errors.Is(err, partition.ErrStale) || errors.Is(err, partition.ErrNotLeader) || errors.Is(err, partition.ErrTimedOut)
}
