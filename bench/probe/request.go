package probe

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Versions without tagged fields, old enough for every broker of the last eight years and new enough for Kafka 4 (KIP-896).
const (
	produceVersion = 7
	createVersion  = 4
	deleteVersion  = 3
)

// An attempt is one probe's request, sent to one broker or to several, and what makes an answer a success.
type attempt struct {
	req   kmsg.Request
	judge func(kmsg.Response) error
	// won is called once, when the probe has succeeded, with the answer that made it so.
	won func(kmsg.Response)
}

func (a attempt) outcome(r reply) (kmsg.Response, error) {
	if r.err != nil {
		return nil, r.err
	}
	resp, err := decode(a.req, r.body)
	if err != nil {
		return nil, err
	}
	return resp, a.judge(resp)
}

// produceAttempt writes one record with acks=all.
func produceAttempt(topic string, partition int32, value []byte, deadline time.Duration, acked func(offset int64)) attempt {
	part := kmsg.NewProduceRequestTopicPartition()
	part.Partition, part.Records = partition, appendBatch(value, time.Now())
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.Partitions = topic, []kmsg.ProduceRequestTopicPartition{part}
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(produceVersion)
	req.Acks, req.TimeoutMillis, req.Topics = -1, int32(deadline.Milliseconds()), []kmsg.ProduceRequestTopic{t}
	return attempt{
		req:   req,
		judge: func(resp kmsg.Response) error { _, err := produced(resp); return err },
		won: func(resp kmsg.Response) {
			if offset, err := produced(resp); err == nil {
				acked(offset)
			}
		},
	}
}

func produced(resp kmsg.Response) (int64, error) {
	r, ok := resp.(*kmsg.ProduceResponse)
	if !ok || len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
		return 0, fmt.Errorf("produce response of another form")
	}
	p := r.Topics[0].Partitions[0]
	return p.BaseOffset, kerr.ErrorForCode(p.ErrorCode)
}

// createAttempt makes a topic of one replica. That it exists already is a success: only an attempt of the same probe can have made it.
func createAttempt(topic string, deadline time.Duration, won func()) attempt {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = topic, 1, 1
	req := kmsg.NewPtrCreateTopicsRequest()
	req.SetVersion(createVersion)
	req.TimeoutMillis, req.Topics = int32(deadline.Milliseconds()), []kmsg.CreateTopicsRequestTopic{t}
	return attempt{
		req: req,
		judge: func(resp kmsg.Response) error {
			r, ok := resp.(*kmsg.CreateTopicsResponse)
			if !ok || len(r.Topics) != 1 {
				return fmt.Errorf("create response of another form")
			}
			if code := r.Topics[0].ErrorCode; code != kerr.TopicAlreadyExists.Code {
				return kerr.ErrorForCode(code)
			}
			return nil
		},
		won: func(kmsg.Response) { won() },
	}
}

// deleteAttempt removes a topic. That it is gone already is a success, for the same reason.
func deleteAttempt(topic string, deadline time.Duration) attempt {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.SetVersion(deleteVersion)
	req.TimeoutMillis, req.TopicNames = int32(deadline.Milliseconds()), []string{topic}
	return attempt{
		req: req,
		judge: func(resp kmsg.Response) error {
			r, ok := resp.(*kmsg.DeleteTopicsResponse)
			if !ok || len(r.Topics) != 1 {
				return fmt.Errorf("delete response of another form")
			}
			if code := r.Topics[0].ErrorCode; code != kerr.UnknownTopicOrPartition.Code {
				return kerr.ErrorForCode(code)
			}
			return nil
		},
		won: func(kmsg.Response) {},
	}
}
