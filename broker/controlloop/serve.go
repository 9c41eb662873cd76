package controlloop

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/google/uuid"
	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/controller"
	"github.com/regency-project/regency/coordination"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Serve answers a controller request on this broker, which must be the controller (else the answer's codes say NOT_CONTROLLER): it never forwards. It serves
// what a peer sends, and what Client finds to be local.
func (c *Client) Serve(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	if !c.cfg.Loop.Leading() {
		return refuseAll(req, ErrNotController), nil
	}
	switch req := req.(type) {
	case *kmsg.CreateTopicsRequest:
		return c.createTopics(ctx, req), nil
	case *kmsg.DeleteTopicsRequest:
		return c.deleteTopics(ctx, req), nil
	case *kmsg.CreatePartitionsRequest:
		return c.createPartitions(ctx, req), nil
	case *kmsg.AlterPartitionRequest:
		return c.alterPartition(ctx, req), nil
	case *kmsg.ControlledShutdownRequest:
		return c.controlledShutdown(ctx, req), nil
	case *kmsg.AllocateProducerIDsRequest:
		return c.allocateProducerIDs(ctx, req), nil
	}
	return nil, fmt.Errorf("request of key %d is not for the controller", req.Key())
}

// submit asks the loop and gives the reply its type.
func submit[R any](ctx context.Context, c *Client, e controller.Event) (R, error) {
	var r R
	reply, err := c.cfg.Loop.Submit(ctx, e)
	if err != nil {
		return r, err
	}
	r, ok := reply.(R)
	if !ok {
		return r, fmt.Errorf("controller replied %T to %T", reply, e)
	}
	return r, nil
}

func (c *Client) createTopics(ctx context.Context, req *kmsg.CreateTopicsRequest) *kmsg.CreateTopicsResponse {
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	times := map[string]int{}
	for _, t := range req.Topics {
		times[t.Topic]++
	}
	for _, t := range req.Topics {
		e, err := c.createTopic(t, req.ValidateOnly)
		if times[t.Topic] > 1 {
			err = fmt.Errorf("%w: topic %q is named twice", controller.ErrInvalidRequest, t.Topic)
		}
		var made *cluster.Topic
		if err == nil {
			made, err = submit[*cluster.Topic](ctx, c, e)
		}
		resp.Topics = append(resp.Topics, createdTopic(t.Topic, made, err))
	}
	return resp
}

func (c *Client) createTopic(t kmsg.CreateTopicsRequestTopic, validateOnly bool) (controller.CreateTopic, error) {
	e := controller.CreateTopic{
		Name: t.Topic, ID: uuid.New(), Partitions: t.NumPartitions, ReplicationFactor: t.ReplicationFactor,
		Configs: map[string]string{}, Seed: rand.Uint64(), MaxPartitions: c.cfg.MaxPartitions, ValidateOnly: validateOnly,
	}
	for _, config := range t.Configs {
		if config.Value == nil {
			return e, fmt.Errorf("%w: %q has no value", cluster.ErrInvalidConfig, config.Name)
		}
		e.Configs[config.Name] = *config.Value
	}
	if len(t.ReplicaAssignment) == 0 {
		if e.Partitions == -1 {
			e.Partitions = c.cfg.DefaultPartitions
		}
		if e.ReplicationFactor == -1 {
			e.ReplicationFactor = c.cfg.DefaultReplicationFactor
		}
		return e, nil
	}
	e.Assignment = make([][]int32, len(t.ReplicaAssignment))
	for _, a := range t.ReplicaAssignment {
		if a.Partition < 0 || int(a.Partition) >= len(e.Assignment) || e.Assignment[a.Partition] != nil {
			return e, fmt.Errorf("%w: partitions must be numbered from 0 without gaps; %d is not", controller.ErrInvalidAssignment, a.Partition)
		}
		e.Assignment[a.Partition] = a.Replicas
	}
	return e, nil
}

// Kafka's config sources, as CreateTopics answers them.
const (
	sourceTopic   = 1 // DYNAMIC_TOPIC_CONFIG
	sourceDefault = 5 // DEFAULT_CONFIG
)

func createdTopic(name string, made *cluster.Topic, err error) kmsg.CreateTopicsResponseTopic {
	r := kmsg.NewCreateTopicsResponseTopic()
	r.Topic, r.ErrorCode, r.ErrorMessage = name, codeOf(err), message(err)
	r.NumPartitions, r.ReplicationFactor = -1, -1
	r.Configs = []kmsg.CreateTopicsResponseTopicConfig{} // nil is a null pointer exception in Java clients
	if err != nil {
		return r
	}
	r.TopicID = made.ID
	r.NumPartitions, r.ReplicationFactor = int32(len(made.Partitions)), int16(len(made.Partitions[0].Replicas))
	for _, def := range cluster.ConfigDefs() {
		config := kmsg.NewCreateTopicsResponseTopicConfig()
		config.Name, config.Source = def.Name, sourceDefault
		value := made.Config(def.Name)
		if _, set := made.Configs[def.Name]; set {
			config.Source = sourceTopic
		}
		if def.Name == cluster.ConfigMinInSyncReplicas {
			value = fmt.Sprint(made.MinInSync(len(made.Partitions[0].Replicas)))
		}
		config.Value = &value
		r.Configs = append(r.Configs, config)
	}
	return r
}

func message(err error) *string {
	if err == nil {
		return nil
	}
	s := err.Error()
	return &s
}

func (c *Client) deleteTopics(ctx context.Context, req *kmsg.DeleteTopicsRequest) *kmsg.DeleteTopicsResponse {
	resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
	for _, t := range topicsToDelete(req) {
		e := controller.DeleteTopic{ID: t.TopicID}
		if t.Topic != nil {
			e.Name = *t.Topic
		}
		was, err := submit[*cluster.Topic](ctx, c, e)
		r := kmsg.NewDeleteTopicsResponseTopic()
		r.Topic, r.TopicID, r.ErrorCode, r.ErrorMessage = t.Topic, t.TopicID, codeOf(err), message(err)
		if err == nil {
			r.Topic, r.TopicID = &was.Name, was.ID
		} else if t.Topic == nil && errors.Is(err, controller.ErrUnknownTopic) {
			r.ErrorCode = kerr.UnknownTopicID.Code
		}
		resp.Topics = append(resp.Topics, r)
	}
	return resp
}

func topicsToDelete(req *kmsg.DeleteTopicsRequest) []kmsg.DeleteTopicsRequestTopic {
	topics := req.Topics
	for _, name := range req.TopicNames {
		topics = append(topics, kmsg.DeleteTopicsRequestTopic{Topic: &name})
	}
	return topics
}

func (c *Client) createPartitions(ctx context.Context, req *kmsg.CreatePartitionsRequest) *kmsg.CreatePartitionsResponse {
	resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
	for _, t := range req.Topics {
		e := controller.CreatePartitions{
			Name: t.Topic, Count: t.Count, Seed: rand.Uint64(), MaxPartitions: c.cfg.MaxPartitions, ValidateOnly: req.ValidateOnly,
		}
		for _, a := range t.Assignment {
			e.Assignment = append(e.Assignment, a.Replicas)
		}
		_, err := submit[*cluster.Topic](ctx, c, e)
		r := kmsg.NewCreatePartitionsResponseTopic()
		r.Topic, r.ErrorCode, r.ErrorMessage = t.Topic, codeOf(err), message(err)
		resp.Topics = append(resp.Topics, r)
	}
	return resp
}

func (c *Client) controlledShutdown(ctx context.Context, req *kmsg.ControlledShutdownRequest) *kmsg.ControlledShutdownResponse {
	resp := req.ResponseKind().(*kmsg.ControlledShutdownResponse)
	remaining, err := submit[[]cluster.TopicPartition](ctx, c, controller.ControlledShutdown{Broker: req.BrokerID, BrokerEpoch: req.BrokerEpoch})
	resp.ErrorCode = codeOf(err)
	for _, tp := range remaining {
		resp.PartitionsRemaining = append(resp.PartitionsRemaining, kmsg.ControlledShutdownResponsePartitionsRemaining{Topic: tp.Topic, Partition: tp.Partition})
	}
	return resp
}

func (c *Client) allocateProducerIDs(ctx context.Context, req *kmsg.AllocateProducerIDsRequest) *kmsg.AllocateProducerIDsResponse {
	resp := req.ResponseKind().(*kmsg.AllocateProducerIDsResponse)
	block, err := submit[controller.ProducerIDBlock](ctx, c, controller.AllocateProducerIDs{Broker: req.BrokerID, BrokerEpoch: req.BrokerEpoch})
	resp.ErrorCode, resp.ProducerIDStart, resp.ProducerIDLen = codeOf(err), block.First, block.Len
	return resp
}

// wholeCode is a code that concerns the whole request, or that all its parts have in common and that says that nothing was done and a retry may help.
func wholeCode(resp kmsg.Response) int16 {
	switch r := resp.(type) {
	case *kmsg.AlterPartitionResponse:
		return r.ErrorCode
	case *kmsg.ControlledShutdownResponse:
		return r.ErrorCode
	case *kmsg.AllocateProducerIDsResponse:
		return r.ErrorCode
	}
	var codes []int16
	switch r := resp.(type) {
	case *kmsg.CreateTopicsResponse:
		for _, t := range r.Topics {
			codes = append(codes, t.ErrorCode)
		}
	case *kmsg.DeleteTopicsResponse:
		for _, t := range r.Topics {
			codes = append(codes, t.ErrorCode)
		}
	case *kmsg.CreatePartitionsResponse:
		for _, t := range r.Topics {
			codes = append(codes, t.ErrorCode)
		}
	}
	if len(codes) == 0 || slices.ContainsFunc(codes, func(c int16) bool { return c != codes[0] }) {
		return 0
	}
	if codes[0] != codeOf(ErrNotController) && codes[0] != codeOf(coordination.ErrUnavailable) {
		return 0
	}
	return codes[0]
}

// refuseAll answers every part of a request with one error.
func refuseAll(req kmsg.Request, err error) kmsg.Response {
	code, text := codeOf(err), message(err)
	if code == kerr.UnknownServerError.Code {
		code = codeOf(ErrUnsettled) // sent, for all we know, and no answer in time
	}
	switch req := req.(type) {
	case *kmsg.CreateTopicsRequest:
		resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
		for _, t := range req.Topics {
			r := createdTopic(t.Topic, nil, err)
			r.ErrorCode = code
			resp.Topics = append(resp.Topics, r)
		}
		return resp
	case *kmsg.DeleteTopicsRequest:
		resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
		for _, t := range topicsToDelete(req) {
			resp.Topics = append(resp.Topics, kmsg.DeleteTopicsResponseTopic{Topic: t.Topic, TopicID: t.TopicID, ErrorCode: code, ErrorMessage: text})
		}
		return resp
	case *kmsg.CreatePartitionsRequest:
		resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
		for _, t := range req.Topics {
			resp.Topics = append(resp.Topics, kmsg.CreatePartitionsResponseTopic{Topic: t.Topic, ErrorCode: code, ErrorMessage: text})
		}
		return resp
	case *kmsg.AlterPartitionRequest:
		resp := req.ResponseKind().(*kmsg.AlterPartitionResponse)
		resp.ErrorCode = code
		return resp
	case *kmsg.ControlledShutdownRequest:
		resp := req.ResponseKind().(*kmsg.ControlledShutdownResponse)
		resp.ErrorCode = code
		return resp
	}
	resp := req.ResponseKind()
	if r, ok := resp.(*kmsg.AllocateProducerIDsResponse); ok {
		r.ErrorCode = code
	}
	return resp
}
