package probe

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	fetchVersion = 10 // the last without tagged fields that every broker knows
	// fetchBytes is what a probe reads: a broker returns at least one batch, however small this is.
	fetchBytes = 1
)

// Reads returns a target that is fetched from instead of written to, beside t, as a class of its own. Its partition is to be written by someone.
func (t Target) Reads(class string) Target {
	t.Class, t.Fetch = class, true
	return t
}

// reading is what a fetch target knows of its partition. Its probes run at the same time.
type reading struct {
	end atomic.Int64 // the highest high watermark seen
}

// attempt fetches the newest record that is known to be committed: what a consumer was shown once it must be shown again. There is no waiting at the broker.
func (r *reading) attempt(topic string, partition int32) attempt {
	part := kmsg.NewFetchRequestTopicPartition()
	at := max(r.end.Load()-1, 0)
	part.Partition, part.FetchOffset, part.PartitionMaxBytes, part.CurrentLeaderEpoch = partition, at, fetchBytes, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.Partitions = topic, []kmsg.FetchRequestTopicPartition{part}
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(fetchVersion)
	req.ReplicaID, req.MinBytes, req.MaxBytes, req.SessionID, req.SessionEpoch = -1, 0, fetchBytes, 0, -1
	req.Topics = []kmsg.FetchRequestTopic{t}
	return attempt{
		req: req,
		judge: func(resp kmsg.Response) error {
			p, err := fetched(resp)
			if err == nil && len(p.RecordBatches) == 0 && (at > 0 || p.HighWatermark > 0) {
				return fmt.Errorf("%w: offset %d, the high watermark is %d", errNothing, at, p.HighWatermark)
			}
			return err
		},
		won: func(resp kmsg.Response) {
			if p, err := fetched(resp); err == nil {
				r.saw(p.HighWatermark)
			}
		},
	}
}

var errNothing = errors.New("what was committed is not served")

func (r *reading) saw(end int64) {
	for {
		known := r.end.Load()
		if end <= known || r.end.CompareAndSwap(known, end) {
			return
		}
	}
}

func fetched(resp kmsg.Response) (kmsg.FetchResponseTopicPartition, error) {
	r, ok := resp.(*kmsg.FetchResponse)
	if !ok || (r.ErrorCode == 0 && (len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1)) {
		return kmsg.FetchResponseTopicPartition{}, errors.New("fetch response of another form")
	}
	if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
		return kmsg.FetchResponseTopicPartition{}, err
	}
	p := r.Topics[0].Partitions[0]
	return p, kerr.ErrorForCode(p.ErrorCode)
}
