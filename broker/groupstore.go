package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/group"
	"github.com/regency-project/regency/broker/partition"
	"github.com/regency-project/regency/storage"
)

// groupStore gives package group the partitions of the offsets topic that this broker leads.
type groupStore struct{ partitions *partition.Set }

func (s groupStore) Open(number, epoch int32) (group.Log, error) {
	p, ok := s.partitions.Get(cluster.TopicPartition{Topic: group.Topic, Partition: number})
	if !ok {
		return nil, group.ErrNotCoordinator
	}
	l := groupLog{p, epoch}
	return l, l.Leads()
}

// groupLog is one partition under one leader epoch.
type groupLog struct {
	p     *partition.Partition
	epoch int32
}

func (l groupLog) Leads() error {
	_, err := l.info()
	return err
}

func (l groupLog) info() (partition.LeaderInfo, error) {
	info, err := l.p.LeaderAt(l.epoch)
	return info, ended(err)
}

// ended says in package group's words that a leadership is over.
func ended(err error) error {
	for _, over := range []error{partition.ErrNotLeader, partition.ErrFencedLeaderEpoch, partition.ErrUnknownLeaderEpoch} {
		if errors.Is(err, over) {
			return fmt.Errorf("%w: %w", group.ErrNotCoordinator, err)
		}
	}
	return err
}

// settledPoll backs the wake-ups of the watch: whether a leader is settled depends on more than the high watermark.
const settledPoll = 100 * time.Millisecond

func (l groupLog) Settled(ctx context.Context) (start, end int64, err error) {
	w := partition.NewWatcher()
	l.p.Watch(w, false)
	defer l.p.Unwatch(w)
	tick := time.NewTicker(settledPoll)
	defer tick.Stop()
	for {
		info, err := l.info()
		if err != nil {
			return 0, 0, err
		}
		if info.Settled() {
			return info.Start, info.HighWatermark, nil
		}
		select {
		case <-w.C():
		case <-tick.C:
		case <-ctx.Done():
			return 0, 0, context.Cause(ctx)
		}
	}
}

func (l groupLog) Read(from int64, maxBytes int) (storage.Chunk, error) {
	r, err := l.p.Read(context.Background(), partition.ReadOptions{From: from, MaxBytes: maxBytes, CurrentLeaderEpoch: l.epoch, LastFetchedEpoch: -1})
	return storage.Chunk{Bytes: r.Batches, Next: r.Next}, ended(err)
}

func (l groupLog) Append(batch []byte) (group.Pending, error) {
	p, err := l.p.Append(batch, partition.AppendOptions{Acks: partition.AcksAll, ExpectedEpoch: l.epoch})
	if err != nil {
		return nil, ended(err)
	}
	return groupPending{p}, nil
}

type groupPending struct{ p *partition.Pending }

func (p groupPending) Wait(ctx context.Context) error { return ended(p.p.Wait(ctx)) }
