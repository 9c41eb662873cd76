package group

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/partition"
	"github.com/regency-project/regency/storage"
)

// Partitions presents the partitions that a broker holds as a Store.
func Partitions(s *partition.Set) Store { return partitions{s} }

type partitions struct{ set *partition.Set }

func (s partitions) Open(p, epoch int32) (Log, error) {
	part, ok := s.set.Get(cluster.TopicPartition{Topic: Topic, Partition: p})
	if !ok {
		return nil, fmt.Errorf("%s-%d is not here: %w", Topic, p, ErrNotCoordinator)
	}
	return partitionLog{part, epoch}, nil
}

type partitionLog struct {
	p     *partition.Partition
	epoch int32
}

// Settled reads no record that could still be lost: a group that was restored from one would remember what never was acknowledged.
func (l partitionLog) Settled(ctx context.Context) (start, end int64, err error) {
	w := partition.NewWatcher()
	l.p.Watch(w, false)
	defer l.p.Unwatch(w)
	for {
		info, err := l.p.LeaderAt(l.epoch)
		if err != nil {
			return 0, 0, translate(err)
		}
		if info.Settled() {
			return info.Start, info.HighWatermark, nil
		}
		select {
		case <-w.C():
		case <-ctx.Done():
			return 0, 0, context.Cause(ctx)
		}
	}
}

func (l partitionLog) Read(from int64, maxBytes int) (storage.Chunk, error) {
	r, err := l.p.Read(context.Background(), partition.ReadOptions{From: from, MaxBytes: maxBytes, CurrentLeaderEpoch: l.epoch, LastFetchedEpoch: -1})
	if err != nil {
		return storage.Chunk{}, translate(err)
	}
	return storage.Chunk{Bytes: r.Batches, Next: r.Next}, nil
}

func (l partitionLog) Append(batch []byte) (Pending, error) {
	d, err := l.p.Append(batch, partition.AppendOptions{Acks: partition.AcksAll, ExpectedEpoch: l.epoch})
	if err != nil {
		return nil, translate(err)
	}
	return translated{d}, nil
}

func (l partitionLog) Leads() error {
	_, err := l.p.LeaderAt(l.epoch)
	return translate(err)
}

type translated struct{ *partition.Pending }

func (d translated) Wait(ctx context.Context) error { return translate(d.Pending.Wait(ctx)) }

// translate says what an error of the partition means for the group's members: the coordinator has moved, or it cannot now.
func translate(err error) error {
	moved := []error{partition.ErrNotLeader, partition.ErrFencedLeaderEpoch, partition.ErrUnknownLeaderEpoch}
	switch {
	case err == nil:
		return nil
	case slices.ContainsFunc(moved, func(m error) bool { return errors.Is(err, m) }):
		return fmt.Errorf("%w: %w", ErrNotCoordinator, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
