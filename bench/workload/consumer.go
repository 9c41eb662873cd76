package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/regency-project/regency/bench/check"
)

// Follow consumes a topic from its beginning until ctx ends and shows everything to the watcher: what an application sees during the faults.
func Follow(ctx context.Context, seeds []string, topic string, partitions int32, w *check.Watcher) error {
	from := make(map[int32]kgo.Offset)
	for p := range partitions {
		from[p] = kgo.NewOffset().At(0)
	}
	client, err := kgo.NewClient(append(append(clientOptions(seeds, "follower"), tuned()...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))...)
	if err != nil {
		return fmt.Errorf("make consumer: %w", err)
	}
	defer client.Close()
	for ctx.Err() == nil {
		client.PollFetches(ctx).EachPartition(func(t kgo.FetchTopicPartition) {
			p := check.Partition{Topic: t.Topic, ID: t.Partition}
			var loss *kgo.ErrDataLoss
			if errors.As(t.Err, &loss) {
				w.DataLoss(p, loss.ConsumedTo, loss.ResetTo)
			}
			if t.Err == nil && len(t.Records) > 0 {
				w.HighWatermark(p, t.HighWatermark)
			}
			for _, r := range t.Records {
				w.Read(p, r.Offset, r.Value)
			}
		})
	}
	return nil
}

// ReadBack reads the topics from their beginning to their end and shows every record to the verifier. It gets at least to the given ends, which are
// those of acknowledged records, and to the brokers' own ends. The error says how far it got when it did not.
func ReadBack(ctx context.Context, seeds []string, ends map[check.Partition]int64, v *check.Verifier) error {
	client, err := kgo.NewClient(append(clientOptions(seeds, "verifier"), tuned()...)...)
	if err != nil {
		return fmt.Errorf("make reader: %w", err)
	}
	defer client.Close()
	want, err := latest(ctx, client, ends)
	if err != nil {
		return err
	}
	from := make(map[string]map[int32]kgo.Offset)
	next := make(map[check.Partition]int64)
	for p := range want {
		if from[p.Topic] == nil {
			from[p.Topic] = make(map[int32]kgo.Offset)
		}
		from[p.Topic][p.ID] = kgo.NewOffset().At(0)
		next[p] = 0
	}
	client.AddConsumePartitions(from)
	for {
		if left := behind(next, want); len(left) == 0 {
			return nil
		} else if ctx.Err() != nil {
			return fmt.Errorf("read back: %w: %s", context.Cause(ctx), strings.Join(left, ", "))
		}
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			p := check.Partition{Topic: r.Topic, ID: r.Partition}
			next[p] = max(next[p], r.Offset+1)
			v.Read(p, r.Offset, r.Value)
		})
	}
}

// Committed asks how far the partitions are committed, at least up to the given ends, which are those of acknowledged records.
func Committed(ctx context.Context, seeds []string, ends map[check.Partition]int64) (map[check.Partition]int64, error) {
	client, err := kgo.NewClient(append(clientOptions(seeds, "verifier"), tuned()...)...)
	if err != nil {
		return nil, fmt.Errorf("make reader: %w", err)
	}
	defer client.Close()
	return latest(ctx, client, ends)
}

func behind(next, want map[check.Partition]int64) []string {
	var left []string
	for p, end := range want {
		if next[p] < end {
			left = append(left, fmt.Sprintf("%s ended at %d, want %d", p, next[p], end))
		}
	}
	slices.Sort(left)
	return left
}

// latest asks for the ends of all partitions, until each answers or ctx ends, and returns the higher of them and the given ones.
func latest(ctx context.Context, client *kgo.Client, ends map[check.Partition]int64) (map[check.Partition]int64, error) {
	for {
		want, err := listEnds(ctx, client, ends)
		if err == nil {
			return want, nil
		}
		if serr := sleep(ctx, 50*time.Millisecond); serr != nil {
			return nil, fmt.Errorf("list end offsets: %w (last: %w)", serr, err)
		}
	}
}

func listEnds(ctx context.Context, client *kgo.Client, ends map[check.Partition]int64) (map[check.Partition]int64, error) {
	topics := make(map[string][]kmsg.ListOffsetsRequestTopicPartition)
	want := make(map[check.Partition]int64)
	for p, end := range ends {
		want[p] = end
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Partition, part.Timestamp = p.ID, -1
		topics[p.Topic] = append(topics[p.Topic], part)
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	for name, parts := range topics {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic, t.Partitions = name, parts
		req.Topics = append(req.Topics, t)
	}
	for _, shard := range client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, shard.Err
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, part := range t.Partitions {
				if err := kerr.ErrorForCode(part.ErrorCode); err != nil {
					return nil, fmt.Errorf("%s-%d: %w", t.Topic, part.Partition, err)
				}
				p := check.Partition{Topic: t.Topic, ID: part.Partition}
				want[p] = max(want[p], part.Offset)
			}
		}
	}
	return want, nil
}
