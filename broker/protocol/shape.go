package protocol

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// kmsg reads as many tagged fields as a count says, also when the body has ended long before: a request of 14 bytes that claims 2³² of them takes a core for
// minutes. And it allocates arrays by their claimed length, as long as a byte is there for each element: a produce request of 100 MiB could claim gigabytes. So
// the bodies of flexible requests, and of all produce requests, are walked by their shape first, which costs a few nanoseconds a field. Other bodies are
// bounded by maxControl instead.
//
// A shape lists the fields: 1 2 4 8 are integers of so many bytes, u is a UUID, s is a string and b bytes (null or not), (x) is an array of one-field elements,
// and [xyz] of structures. In flexible versions lengths are compact, and tagged fields end every structure and the message.
var shapes = map[kmsg.Key][]shape{
	kmsg.Produce:              {{3, 10, "s24[s[4b]]"}},
	kmsg.Fetch:                {{12, 12, "4444144[s[448484]][s(4)]s"}, {13, 14, "4444144[u[448484]][u(4)]s"}, {15, 16, "444144[u[448484]][u(4)]s"}},
	kmsg.ListOffsets:          {{6, 6, "41[s[448]]"}},
	kmsg.Metadata:             {{9, 9, "[s]111"}, {10, 10, "[us]111"}, {11, 11, "[us]11"}},
	kmsg.ControlledShutdown:   {{3, 3, "48"}},
	kmsg.OffsetCommit:         {{8, 8, "s4ss[s[484s]]"}},
	kmsg.OffsetFetch:          {{6, 6, "s[s(4)]"}, {7, 7, "s[s(4)]1"}},
	kmsg.FindCoordinator:      {{3, 3, "s1"}},
	kmsg.JoinGroup:            {{6, 7, "s44sss[ss]"}},
	kmsg.Heartbeat:            {{4, 4, "s4ss"}},
	kmsg.LeaveGroup:           {{4, 4, "s[ss]"}},
	kmsg.SyncGroup:            {{4, 4, "s4ss[ss]"}, {5, 5, "s4ssss[ss]"}},
	kmsg.DescribeGroups:       {{5, 5, "(s)1"}},
	kmsg.ListGroups:           {{3, 3, ""}, {4, 4, "(s)"}},
	kmsg.ApiVersions:          {{3, 4, "ss"}},
	kmsg.CreateTopics:         {{5, 7, "[s42[4(4)][ss]]41"}},
	kmsg.DeleteTopics:         {{4, 5, "(s)4"}, {6, 6, "[su]4"}},
	kmsg.DeleteRecords:        {{2, 2, "[s[48]]4"}},
	kmsg.InitProducerID:       {{2, 2, "s4"}, {3, 4, "s482"}},
	kmsg.OffsetForLeaderEpoch: {{4, 4, "4[s[444]]"}},
	kmsg.DescribeConfigs:      {{4, 4, "[1s(s)]11"}},
	kmsg.CreatePartitions:     {{2, 3, "[s4[(4)]]41"}},
	kmsg.DeleteGroups:         {{2, 2, "(s)"}},
	kmsg.AlterPartition:       {{2, 2, "48[u[44(4)14]]"}, {3, 3, "48[u[44[48]14]]"}},
	kmsg.DescribeCluster:      {{0, 0, "1"}},
	kmsg.BrokerHeartbeat:      {{0, 0, "48811"}},
	kmsg.AllocateProducerIDs:  {{0, 0, "48"}},
}

// maxControl bounds the body of every request but produce, in bytes. The largest that occur carry the assignments of large groups.
const maxControl = 8 << 20

type shape struct {
	min, max int16
	fields   string
}

// fetchReplicaState is the tagged field that holds a structure of its own, with tagged fields again.
const (
	fetchReplicaState      = 1
	fetchReplicaStateShape = "48"
)

// Decodable says whether Decode knows the request's version.
func Decodable(key, version int16) bool {
	_, _, _, err := shapeOf(Header{Key: key, Version: version})
	return err == nil
}

// shapeOf finds the shape of a request; it is an error that a flexible one has none.
func shapeOf(h Header) (fields string, flexible, found bool, err error) {
	req := kmsg.RequestForKey(h.Key)
	if req == nil {
		return "", false, false, fmt.Errorf("decode %s: %w", h, ErrUnknownKey)
	}
	req.SetVersion(h.Version)
	flexible = req.IsFlexible()
	for _, s := range shapes[kmsg.Key(h.Key)] {
		if h.Version >= s.min && h.Version <= s.max {
			return s.fields, flexible, true, nil
		}
	}
	if flexible {
		return "", true, false, fmt.Errorf("decode %s: version has no known shape: %w", h, ErrMalformed)
	}
	return "", false, false, nil
}

// checkShape walks the body to its end.
func checkShape(h Header, body []byte) error {
	fields, flexible, found, err := shapeOf(h)
	if err != nil {
		return err
	}
	if len(body) > maxControl && h.Key != int16(kmsg.Produce) {
		return fmt.Errorf("decode %s: %d bytes, limit %d: %w", h, len(body), maxControl, ErrMalformed)
	}
	if !found {
		return nil
	}
	w := walker{rest: body, flexible: flexible, fetch: h.Key == int16(kmsg.Fetch)}
	w.structure(fields, true)
	if w.bad || len(w.rest) > 0 {
		return fmt.Errorf("decode %s: fields do not fit %d bytes: %w", h, len(body), ErrMalformed)
	}
	return nil
}

type walker struct {
	rest     []byte
	bad      bool
	flexible bool
	fetch    bool
}

func (w *walker) take(n uint64) []byte {
	if n > uint64(len(w.rest)) {
		w.bad, w.rest = true, nil
		return nil
	}
	b := w.rest[:n]
	w.rest = w.rest[n:]
	return b
}

func (w *walker) uvarint() uint64 {
	v, n := binary.Uvarint(w.rest)
	if n <= 0 || n > 5 {
		w.bad, w.rest = true, nil
		return 0
	}
	w.rest = w.rest[n:]
	return v
}

// length reads a length in classic bytes or compact; null is 0.
func (w *walker) length(classic uint64) uint64 {
	if w.flexible {
		return max(w.uvarint(), 1) - 1
	}
	var n int64
	switch b := w.take(classic); {
	case b == nil:
	case classic == 2:
		n = int64(int16(binary.BigEndian.Uint16(b)))
	default:
		n = int64(int32(binary.BigEndian.Uint32(b)))
	}
	return uint64(max(n, 0))
}

// structure walks the fields and the tagged fields after them.
func (w *walker) structure(fields string, top bool) {
	w.fields(fields)
	if !w.flexible {
		return
	}
	for n := w.uvarint(); n > 0 && !w.bad; n-- {
		tag := w.uvarint()
		value := w.take(w.uvarint())
		if w.fetch && top && tag == fetchReplicaState {
			inner := walker{rest: value, flexible: true}
			inner.structure(fetchReplicaStateShape, false)
			w.bad = w.bad || inner.bad
		}
	}
}

func (w *walker) fields(fields string) {
	for i := 0; i < len(fields) && !w.bad; i++ {
		switch c := fields[i]; c {
		case 's':
			w.take(w.length(2))
		case 'b':
			w.take(w.length(4))
		case 'u':
			w.take(16)
		case '[', '(':
			end := i + closing(fields[i:])
			w.array(fields[i+1:end], c == '[')
			i = end
		default:
			w.take(uint64(c - '0'))
		}
	}
}

// array walks the elements; each has at least a byte, so that the bytes bound their number.
func (w *walker) array(fields string, structures bool) {
	for n := w.length(4); n > 0 && !w.bad; n-- {
		if len(w.rest) == 0 {
			w.bad = true
			return
		}
		if structures {
			w.structure(fields, false)
		} else {
			w.fields(fields)
		}
	}
}

// closing is the index of the bracket that closes the one at 0.
func closing(fields string) int {
	depth := 0
	for i, c := range fields {
		switch c {
		case '[', '(':
			depth++
		case ']', ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return len(fields)
}
