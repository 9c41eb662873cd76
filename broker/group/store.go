package group

import (
	"context"

	"github.com/regency-project/regency/storage"
)

// Topic is the internal topic.
const Topic = "__consumer_offsets"

// TopicConfigs are the settings that the internal topic is created with: nothing in it ages.
func TopicConfigs() map[string]string {
	return map[string]string{"cleanup.policy": "compact", "retention.ms": "-1", "retention.bytes": "-1"}
}

// Partition is the partition of the internal topic that a group belongs to, by Kafka's rule, so that Kafka's tools find it: the absolute value of Java's
// String.hashCode, which runs over UTF-16 units.
func Partition(group string, partitions int32) int32 {
	var h int32
	unit := func(u uint16) { h = 31*h + int32(u) }
	for _, r := range group {
		if r >= 0x10000 {
			r -= 0x10000
			unit(uint16(0xd800 + r>>10))
			unit(uint16(0xdc00 + r&0x3ff))
			continue
		}
		unit(uint16(r))
	}
	if h == -1<<31 {
		h = 0 // as Kafka's Utils.abs
	}
	if h < 0 {
		h = -h
	}
	return h % partitions
}

// Store gives access to the partitions of the internal topic that this broker leads.
type Store interface {
	// Open returns the partition's log for the leader epoch; ErrNotCoordinator if this broker does not lead in it.
	Open(partition, epoch int32) (Log, error)
}

// Log is one partition of the internal topic under one leadership. Its errors wrap ErrNotCoordinator when that leadership is over; others pass.
type Log interface {
	// Settled waits until all that was ever committed is known as such to this leader, and returns the range to read.
	Settled(ctx context.Context) (start, end int64, err error)
	// Read returns whole batches from offset on.
	Read(from int64, maxBytes int) (storage.Chunk, error)
	// Append appends a batch if the leadership still holds.
	Append(batch []byte) (Pending, error)
	// Leads checks that the leadership still holds.
	Leads() error
}

// Pending is an append under way. Wait returns nil when all in-sync replicas have it. It is called once.
type Pending interface {
	Wait(ctx context.Context) error
}
