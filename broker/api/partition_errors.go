package api

import (
	"context"
	"errors"
	"fmt"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/partition"
	"github.com/twmb/franz-go/pkg/kerr"
)

var errUnknownTopicID = errors.New("unknown topic id")

// partitionErrors are Kafka's codes for what can go wrong with a partition.
var partitionErrors = []struct {
	err  error
	code *kerr.Error
}{
	{errUnknownPartition, kerr.UnknownTopicOrPartition},
	{errUnknownTopicID, kerr.UnknownTopicID},
	{partition.ErrNotLeader, kerr.NotLeaderForPartition},
	{partition.ErrFencedLeaderEpoch, kerr.FencedLeaderEpoch},
	{partition.ErrUnknownLeaderEpoch, kerr.UnknownLeaderEpoch},
	{partition.ErrOffsetOutOfRange, kerr.OffsetOutOfRange},
	{partition.ErrOffsetNotAvailable, kerr.OffsetNotAvailable},
	{partition.ErrNotEnoughReplicas, kerr.NotEnoughReplicas},
	{partition.ErrNotEnoughReplicasAfterAppend, kerr.NotEnoughReplicasAfterAppend},
	{partition.ErrOutOfOrderSequence, kerr.OutOfOrderSequenceNumber},
	{partition.ErrInvalidProducerEpoch, kerr.InvalidProducerEpoch},
	{partition.ErrCorrupt, kerr.CorruptMessage},
	{partition.ErrInvalidRecord, kerr.InvalidRecord},
	{partition.ErrUnsupportedFormat, kerr.UnsupportedForMessageFormat},
	{partition.ErrTooLarge, kerr.MessageTooLarge},
	{partition.ErrStaleBrokerEpoch, kerr.StaleBrokerEpoch},
	{partition.ErrUnknownReplica, kerr.ReplicaNotAvailable},
	{partition.ErrTimedOut, kerr.RequestTimedOut},
	{partition.ErrStorage, kerr.KafkaStorageError},
	{context.Canceled, kerr.RequestTimedOut}, // the broker is stopping, or the client is gone
	{context.DeadlineExceeded, kerr.RequestTimedOut},
}

// partitionCode is the Kafka code of an error of package partition; 0 for nil.
func (b *Broker) partitionCode(err error) int16 {
	if err == nil {
		return 0
	}
	for _, e := range partitionErrors {
		if errors.Is(err, e.err) {
			return e.code.Code
		}
	}
	b.Log.Error("unexpected error of a partition", "err", err)
	return kerr.UnknownServerError.Code
}

// replica finds a partition of which this broker is a replica, by the topic's name.
func (b *Broker) replica(topic string, num int32) (*partition.Partition, error) {
	tp := cluster.TopicPartition{Topic: topic, Partition: num}
	if p, ok := b.Partitions.Get(tp); ok {
		return p, nil
	}
	// The newest View may be ahead of what the partitions have applied.
	for _, v := range []*cluster.View{b.Partitions.View(), b.Current.View()} {
		if st, ok := v.Partition(tp); ok {
			return nil, fmt.Errorf("%s-%d: %w", topic, num, &partition.NotLeaderError{Leader: st.Leader, Epoch: st.LeaderEpoch})
		}
	}
	return nil, fmt.Errorf("%s-%d: %w", topic, num, errUnknownPartition)
}

// replicaByID finds it by the topic's id.
func (b *Broker) replicaByID(id [16]byte, num int32) (*partition.Partition, error) {
	name, ok := b.Partitions.View().TopicNames[id]
	if !ok {
		return nil, fmt.Errorf("topic %x: %w", id, errUnknownTopicID)
	}
	p, err := b.replica(name, num)
	if err == nil && p.TopicID() != id {
		return nil, fmt.Errorf("topic %x: %w", id, errUnknownTopicID)
	}
	return p, err
}
