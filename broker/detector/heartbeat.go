package detector

import (
	"fmt"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A heartbeat is Kafka's BrokerHeartbeat (key 63, version 0) on the peer listener, sent by a broker to another, with the asked broker's id in it. The answer
// says in two tagged fields who answers: which process (a UUID made at its start) and under which incarnation it is registered now, empty for none.
const (
	tagProcess     = 10_000
	tagIncarnation = 10_001
)

// Self is who answers a heartbeat.
type Self struct {
	Broker      int32
	Process     uuid.UUID
	Incarnation string
}

func request(broker int32) *kmsg.BrokerHeartbeatRequest {
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.Version, req.BrokerID, req.BrokerEpoch = 0, broker, -1
	return req
}

// Answer answers a heartbeat.
func (s Self) Answer(req *kmsg.BrokerHeartbeatRequest) *kmsg.BrokerHeartbeatResponse {
	resp := req.ResponseKind().(*kmsg.BrokerHeartbeatResponse)
	if req.BrokerID != s.Broker {
		resp.ErrorCode = kerr.BrokerIDNotRegistered.Code
		return resp
	}
	resp.IsCaughtUp, resp.IsFenced = true, false
	resp.UnknownTags.Set(tagProcess, s.Process[:])
	resp.UnknownTags.Set(tagIncarnation, []byte(s.Incarnation))
	return resp
}

// read is the inverse of Answer.
func read(broker int32, resp *kmsg.BrokerHeartbeatResponse) (Self, error) {
	s := Self{Broker: broker}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return s, fmt.Errorf("heartbeat of broker %d: %w", broker, err)
	}
	resp.UnknownTags.Each(func(tag uint32, value []byte) {
		switch tag {
		case tagProcess:
			s.Process, _ = uuid.FromBytes(value) // one of another length stays zero, and is refused below
		case tagIncarnation:
			s.Incarnation = string(value)
		}
	})
	if s.Process == uuid.Nil {
		return s, fmt.Errorf("heartbeat of broker %d: the answer does not say which process it is", broker)
	}
	return s, nil
}
