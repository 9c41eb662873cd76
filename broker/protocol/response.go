package protocol

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// AppendResponse appends the frame of a response. The response's version must be set: a request's ResponseKind does.
func AppendResponse(dst []byte, correlationID int32, resp kmsg.Response) []byte {
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
