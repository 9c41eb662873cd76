package api

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// autoCreateTimeout bounds how long a Metadata request waits for the topics that it creates; the client asks again.
const autoCreateTimeout = 5 * time.Second

// metadata describes brokers and topics as this broker's view has them.
func (b *Broker) metadata(_ context.Context, _ Caller, r kmsg.Request) (Await, error) {
	req := r.(*kmsg.MetadataRequest)
	missing := b.missingTopics(req)
	if len(missing) == 0 {
		return Done(b.describeMetadata(req)), nil
	}
	return func(ctx context.Context) (kmsg.Response, error) {
		b.autoCreate(ctx, missing)
		return b.describeMetadata(req), nil
	}, nil
}

// missingTopics are the requested topics to create.
func (b *Broker) missingTopics(req *kmsg.MetadataRequest) []string {
	allowed := b.Config.AutoCreateTopics && (req.Version < 4 || req.AllowAutoTopicCreation)
	if !allowed {
		return nil
	}
	v := b.Current.View()
	var names []string
	for _, t := range req.Topics {
		if t.Topic != nil && v.Topics[*t.Topic] == nil && validTopicName(*t.Topic) && *t.Topic != OffsetsTopic {
			names = append(names, *t.Topic)
		}
	}
	return names
}

// autoCreate creates topics and waits until this broker knows them. Whatever goes wrong shows in the answer: the topic is still unknown.
func (b *Broker) autoCreate(ctx context.Context, names []string) {
	ctx, cancel := context.WithTimeout(ctx, autoCreateTimeout)
	defer cancel()
	err := b.ensureTopics(ctx, names, b.Config.DefaultPartitions, b.Config.DefaultReplicationFactor, nil)
	if err != nil && ctx.Err() == nil {
		b.Log.Warn("topics not created automatically", "topics", names, "error", err)
	}
}

// ensureTopics creates what does not exist and waits until the view shows all. The replication factor is lowered to the number of live brokers.
func (b *Broker) ensureTopics(ctx context.Context, names []string, partitions int32, factor int16, configs map[string]string) error {
	live := len(liveBrokers(b.Current.View()))
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = 5
	req.TimeoutMillis = int32(autoCreateTimeout / time.Millisecond)
	for _, name := range names {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, max(partitions, 1), max(min(factor, int16(live)), 1)
		for _, k := range slices.Sorted(maps.Keys(configs)) {
			cfg := kmsg.NewCreateTopicsRequestTopicConfig()
			cfg.Name, cfg.Value = k, kmsg.StringPtr(configs[k])
			t.Configs = append(t.Configs, cfg)
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := b.Control.CreateTopics(ctx, req)
	if err != nil {
		return err
	}
	var errs []error
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			errs = append(errs, err)
			names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == t.Topic })
		}
	}
	_, err = b.Current.Wait(ctx, func(v *cluster.View) bool {
		return !slices.ContainsFunc(names, func(n string) bool { return v.Topics[n] == nil })
	})
	return errors.Join(append(errs, err)...)
}

func (b *Broker) describeMetadata(req *kmsg.MetadataRequest) *kmsg.MetadataResponse {
	v := b.Current.View()
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	resp.ControllerID = liveController(v)
	if v.ClusterID != "" {
		resp.ClusterID = kmsg.StringPtr(v.ClusterID)
	}
	for _, l := range liveBrokers(v) {
		mb := kmsg.NewMetadataResponseBroker()
		mb.NodeID, mb.Host, mb.Port, mb.Rack = l.ID, l.Client.Host, l.Client.Port, rack(l)
		resp.Brokers = append(resp.Brokers, mb)
	}
	// No list is all topics; before version 1 so is an empty one.
	if req.Topics == nil || req.Version == 0 && len(req.Topics) == 0 {
		for _, name := range slices.Sorted(maps.Keys(v.Topics)) {
			resp.Topics = append(resp.Topics, topicMetadata(v, v.Topics[name], req.Version))
		}
		return resp
	}
	for _, t := range req.Topics {
		resp.Topics = append(resp.Topics, requestedTopic(v, t, req.Version))
	}
	return resp
}

func requestedTopic(v *cluster.View, t kmsg.MetadataRequestTopic, version int16) kmsg.MetadataResponseTopic {
	missing := kmsg.NewMetadataResponseTopic()
	missing.Topic = kmsg.StringPtr("") // not nullable before version 12
	if t.Topic == nil {
		if name, ok := v.TopicNames[t.TopicID]; ok {
			return topicMetadata(v, v.Topics[name], version)
		}
		missing.TopicID, missing.ErrorCode = t.TopicID, kerr.UnknownTopicID.Code
		return missing
	}
	if topic := v.Topics[*t.Topic]; topic != nil {
		return topicMetadata(v, topic, version)
	}
	missing.Topic, missing.ErrorCode = t.Topic, kerr.UnknownTopicOrPartition.Code
	if !validTopicName(*t.Topic) {
		missing.ErrorCode = kerr.InvalidTopicException.Code
	}
	return missing
}

func topicMetadata(v *cluster.View, t *cluster.Topic, version int16) kmsg.MetadataResponseTopic {
	mt := kmsg.NewMetadataResponseTopic()
	mt.Topic, mt.TopicID, mt.IsInternal = kmsg.StringPtr(t.Name), t.ID, t.Name == OffsetsTopic
	for i, p := range t.Partitions {
		mt.Partitions = append(mt.Partitions, partitionMetadata(v, int32(i), p, version))
	}
	return mt
}

// partitionMetadata never names a leader that is not among the brokers of the same response: librdkafka would ask for a broker that it does not know.
func partitionMetadata(v *cluster.View, i int32, p cluster.Partition, version int16) kmsg.MetadataResponseTopicPartition {
	mp := kmsg.NewMetadataResponseTopicPartition()
	mp.Partition, mp.Leader, mp.LeaderEpoch = i, p.Leader, p.LeaderEpoch
	mp.Replicas, mp.ISR, mp.OfflineReplicas = slices.Clone(p.Replicas), slices.Clone(p.ISR), []int32{}
	dead := func(id int32) bool { return !v.Live(id) }
	for _, id := range p.Replicas {
		if dead(id) {
			mp.OfflineReplicas = append(mp.OfflineReplicas, id)
		}
	}
	if version == 0 {
		mp.Replicas, mp.ISR = slices.DeleteFunc(mp.Replicas, dead), slices.DeleteFunc(mp.ISR, dead)
	}
	if dead(p.Leader) {
		mp.Leader, mp.ErrorCode = cluster.NoLeader, kerr.LeaderNotAvailable.Code
	}
	return mp
}

// liveBrokers are the brokers to tell clients about, by id.
func liveBrokers(v *cluster.View) []cluster.Broker {
	var live []cluster.Broker
	for _, id := range slices.Sorted(maps.Keys(v.Brokers)) {
		if b := v.Brokers[id]; !b.Fenced {
			live = append(live, b)
		}
	}
	return live
}

func liveController(v *cluster.View) int32 {
	if v.Live(v.Controller) {
		return v.Controller
	}
	return -1
}

func rack(b cluster.Broker) *string {
	if b.Rack == "" {
		return nil
	}
	return kmsg.StringPtr(b.Rack)
}

// validTopicName holds Kafka's rule (org.apache.kafka.common.internals.Topic).
func validTopicName(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > 249 {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
