package protocol

import (
	"encoding/binary"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// AppendResponse appends the frame of a response. The response's version must be set: a request's ResponseKind does.
func AppendResponse(dst []byte, correlationID int32, resp kmsg.Response) []byte {
	if r, ok := resp.(*kmsg.FetchResponse); ok {
		dst = slices.Grow(dst, fetchedLen(r)) // else it grows, and is copied, with each partition
	}
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlationID))
	if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) {
		dst = append(dst, 0) // no tagged fields
	}
	dropUnsafeTags(resp)
	dst = resp.AppendTo(dst)
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// fetchedLen is about the length of a response, not less: what a partition takes beside its records is far below 128 bytes without aborted transactions, which
// are not served.
func fetchedLen(r *kmsg.FetchResponse) int {
	n := 128
	for i := range r.Topics {
		n += 64 + len(r.Topics[i].Topic)
		for k := range r.Topics[i].Partitions {
			n += 128 + len(r.Topics[i].Partitions[k].RecordBatches)
		}
	}
	return n
}

// dropUnsafeTags resets the tagged fields that kmsg would write at versions where the protocol does not have them: it writes a tagged field at every flexible
// version, and librdkafka and the Java client die of one that they do not expect. A handler may fill them regardless of version.
func dropUnsafeTags(resp kmsg.Response) {
	switch r := resp.(type) {
	case *kmsg.ProduceResponse:
		if r.Version < 10 { // KIP-951
			r.Brokers = nil
			eachProduced(r, func(p *kmsg.ProduceResponseTopicPartition) {
				p.CurrentLeader = kmsg.NewProduceResponseTopicPartitionCurrentLeader()
			})
		}
	case *kmsg.FetchResponse:
		if r.Version < 16 { // KIP-951
			r.Brokers = nil
		}
	}
}

func eachProduced(r *kmsg.ProduceResponse, fn func(*kmsg.ProduceResponseTopicPartition)) {
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			fn(&r.Topics[i].Partitions[j])
		}
	}
}
