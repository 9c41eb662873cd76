package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/regency-project/regency/broker/partition"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// produceLeaderVersion is the first version in which a response says who leads (KIP-951). kmsg would write it in earlier flexible versions as well, which breaks
// clients.
const produceLeaderVersion = 10

// produce appends in request order, and answers when all partitions of the request are acknowledged. The request's bytes, which its topics' names and records
// refer to, are the caller's again when it returns.
func (b *Broker) produce(_ context.Context, _ Caller, req kmsg.Request) (Await, error) {
	r := req.(*kmsg.ProduceRequest)
	resp := r.ResponseKind().(*kmsg.ProduceResponse)
	var appends []produced
	for _, t := range r.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic = strings.Clone(t.Topic)
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.BaseOffset, rp.LogAppendTime, rp.LogStartOffset = p.Partition, -1, -1, -1
			rt.Partitions = append(rt.Partitions, rp)
			pending, err := b.append(r, rt.Topic, p)
			appends = append(appends, produced{topic: len(resp.Topics), partition: len(rt.Partitions) - 1, pending: pending, err: err})
		}
		resp.Topics = append(resp.Topics, rt)
	}
	if r.Acks == partition.AcksNone {
		return unacknowledged(appends)
	}
	return func(ctx context.Context) (kmsg.Response, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Duration(max(0, r.TimeoutMillis))*time.Millisecond)
		defer cancel()
		for _, a := range appends {
			if a.err == nil {
				a.err = a.pending.Wait(ctx)
			}
			b.answerProduce(resp, a)
		}
		return resp, nil
	}, nil
}

// produced is the append for one partition of a request, by its place in the response.
type produced struct {
	topic, partition int
	pending          *partition.Pending
	err              error
}

var errTransactions = errors.New("transactions are not served")

func (b *Broker) append(r *kmsg.ProduceRequest, topic string, p kmsg.ProduceRequestTopicPartition) (*partition.Pending, error) {
	switch {
	case r.TransactionID != nil:
		return nil, fmt.Errorf("%w: %w", partition.ErrInvalidRecord, errTransactions)
	case r.Acks < partition.AcksAll || r.Acks > partition.AcksLeader:
		return nil, kerr.InvalidRequiredAcks
	}
	rep, err := b.replica(topic, p.Partition)
	if err != nil {
		return nil, err
	}
	return rep.Append(p.Records, partition.AppendOptions{Acks: r.Acks, FromClient: true, ExpectedEpoch: -1})
}

// unacknowledged is the end of a request with acks=0: there is no response that could carry an error, so an error closes the connection.
func unacknowledged(appends []produced) (Await, error) {
	for _, a := range appends {
		if a.err != nil {
			return nil, fmt.Errorf("produce with acks=0: %w", a.err)
		}
	}
	return Done(nil), nil
}

func (b *Broker) answerProduce(resp *kmsg.ProduceResponse, a produced) {
	topic := resp.Topics[a.topic].Topic
	rp := &resp.Topics[a.topic].Partitions[a.partition]
	if a.err == nil {
		rp.BaseOffset, rp.LogStartOffset = a.pending.BaseOffset, a.pending.LogStart
		return
	}
	if errors.Is(a.err, kerr.InvalidRequiredAcks) {
		rp.ErrorCode = kerr.InvalidRequiredAcks.Code
		return
	}
	rp.ErrorCode = b.partitionCode(a.err)
	rp.ErrorMessage = kmsg.StringPtr(a.err.Error())
	if resp.Version >= produceLeaderVersion && errors.Is(a.err, partition.ErrNotLeader) {
		b.hintLeader(resp, rp, topic)
	}
}

// hintLeader tells who leads, as far as the newest View knows, so that the client need not ask for metadata.
func (b *Broker) hintLeader(resp *kmsg.ProduceResponse, rp *kmsg.ProduceResponseTopicPartition, topic string) {
	v := b.Current.View()
	t := v.Topics[topic]
	if t == nil || rp.Partition < 0 || int(rp.Partition) >= len(t.Partitions) {
		return
	}
	st := t.Partitions[rp.Partition]
	leader, ok := v.Brokers[st.Leader]
	if !ok {
		return
	}
	rp.CurrentLeader.LeaderID, rp.CurrentLeader.LeaderEpoch = st.Leader, st.LeaderEpoch
	if slices.ContainsFunc(resp.Brokers, func(rb kmsg.ProduceResponseBroker) bool { return rb.NodeID == st.Leader }) {
		return
	}
	rb := kmsg.NewProduceResponseBroker()
	rb.NodeID, rb.Host, rb.Port = leader.ID, leader.Client.Host, leader.Client.Port
	if leader.Rack != "" {
		rb.Rack = kmsg.StringPtr(leader.Rack)
	}
	resp.Brokers = append(resp.Brokers, rb)
}
