package cluster

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/regency-project/regency/coordination"
)

// ChunkSize is how many partitions of a topic share one record: below every backend's transaction limits, and few enough records that loading
// a large cluster is not one read per partition.
const ChunkSize = 64

const producerIDsKey = "producer-ids"

type topicChunk struct {
	ID         string            `json:"id"`
	Partitions int               `json:"partitions"` // of the whole topic
	Configs    map[string]string `json:"configs,omitempty"`
	First      int32             `json:"first"`
	States     []Partition       `json:"states"`
}

func brokerKey(id int32) string               { return "broker/" + strconv.Itoa(int(id)) }
func chunkKey(topic string, chunk int) string { return "topic/" + topic + "/" + strconv.Itoa(chunk) }

// PutBroker is the mutation that writes a broker.
func PutBroker(b Broker) coordination.Mutation { return put(brokerKey(b.ID), b) }

// DeleteBroker is the mutation that forgets a broker.
func DeleteBroker(id int32) coordination.Mutation {
	return coordination.Mutation{Key: brokerKey(id)}
}

// PutProducerIDs is the mutation that writes the producer id allocation.
func PutProducerIDs(p ProducerIDs) coordination.Mutation { return put(producerIDsKey, p) }

// PutTopic returns the mutations that write the whole topic, in the order in which they may be split over commits: the last one makes it visible.
func PutTopic(t *Topic) []coordination.Mutation {
	var ms []coordination.Mutation
	for c := range chunks(t) {
		ms = append(ms, putChunk(t, c))
	}
	return ms
}

// PutPartitions returns the mutations for the chunks of t that hold one of the changed partitions.
func PutPartitions(t *Topic, changed []int32) []coordination.Mutation {
	dirty := map[int]bool{}
	var ms []coordination.Mutation
	for _, p := range changed {
		c := int(p) / ChunkSize
		if !dirty[c] {
			dirty[c] = true
			ms = append(ms, putChunk(t, c))
		}
	}
	return ms
}

// DeleteTopic returns the mutations that remove the topic, in the order in which they may be split: after the first the topic is no longer visible.
func DeleteTopic(t *Topic) []coordination.Mutation {
	var ms []coordination.Mutation
	for c := chunks(t) - 1; c >= 0; c-- {
		ms = append(ms, coordination.Mutation{Key: chunkKey(t.Name, c)})
	}
	return ms
}

// ParseChunkKey takes the key of a topic's chunk apart.
func ParseChunkKey(key string) (topic string, chunk int, ok bool) {
	rest, ok := strings.CutPrefix(key, "topic/")
	if !ok {
		return "", 0, false
	}
	topic, number, ok := strings.Cut(rest, "/")
	if !ok {
		return "", 0, false
	}
	chunk, err := strconv.Atoi(number)
	return topic, chunk, err == nil
}

// DeleteChunk is the mutation that removes one chunk of a topic.
func DeleteChunk(topic string, chunk int) coordination.Mutation {
	return coordination.Mutation{Key: chunkKey(topic, chunk)}
}

func chunks(t *Topic) int { return (len(t.Partitions) + ChunkSize - 1) / ChunkSize }

func putChunk(t *Topic, c int) coordination.Mutation {
	first := c * ChunkSize
	last := min(first+ChunkSize, len(t.Partitions))
	tc := topicChunk{ID: hex.EncodeToString(t.ID[:]), Partitions: len(t.Partitions), First: int32(first), States: t.Partitions[first:last]}
	if c == 0 {
		tc.Configs = t.Configs
	}
	return put(chunkKey(t.Name, c), tc)
}

func put(key string, v any) coordination.Mutation {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode record %s: %v", key, err)) // plain structs of this package: cannot fail
	}
	return coordination.Mutation{Key: key, Value: b}
}

func fromSnapshot(e coordination.Event) (*View, error) {
	v := Empty()
	v.ClusterID, v.Seq, v.Epoch, v.Controller = e.Lineage, e.Seq, e.Epoch, e.Holder
	v.records = maps.Clone(e.Records)
	if v.records == nil {
		v.records = map[string][]byte{}
	}
	topics := map[string]bool{}
	for key, value := range v.records {
		if err := v.decode(key, value, topics); err != nil {
			return nil, err
		}
	}
	return v, v.assemble(topics)
}

func (v *View) applyDelta(e coordination.Event) (*View, error) {
	if e.Seq != v.Seq+1 {
		return nil, fmt.Errorf("apply delta %d to view %d: gap", e.Seq, v.Seq)
	}
	n := *v
	n.Seq, n.Epoch, n.Controller = e.Seq, e.Epoch, e.Holder
	if len(e.Mutations) == 0 {
		return &n, nil
	}
	n.records = maps.Clone(v.records)
	n.Brokers, n.Topics, n.TopicNames = maps.Clone(v.Brokers), maps.Clone(v.Topics), maps.Clone(v.TopicNames)
	topics := map[string]bool{}
	for _, m := range e.Mutations {
		if m.Value == nil {
			delete(n.records, m.Key)
		} else {
			n.records[m.Key] = m.Value
		}
		if err := n.decode(m.Key, m.Value, topics); err != nil {
			return nil, err
		}
	}
	return &n, n.assemble(topics)
}

// decode applies one record (nil: deleted) to everything but topics, whose names it collects for assemble.
func (v *View) decode(key string, value []byte, topics map[string]bool) error {
	kind, rest, _ := strings.Cut(key, "/")
	switch kind {
	case "broker":
		id, err := strconv.ParseInt(rest, 10, 32)
		if err != nil {
			return fmt.Errorf("decode record %q: %w", key, err)
		}
		if value == nil {
			delete(v.Brokers, int32(id))
			return nil
		}
		var b Broker
		if err := json.Unmarshal(value, &b); err != nil {
			return fmt.Errorf("decode record %q: %w", key, err)
		}
		v.Brokers[int32(id)] = b
	case producerIDsKey:
		v.ProducerIDs = ProducerIDs{}
		if value != nil {
			if err := json.Unmarshal(value, &v.ProducerIDs); err != nil {
				return fmt.Errorf("decode record %q: %w", key, err)
			}
		}
	case "topic":
		name, _, ok := strings.Cut(rest, "/")
		if !ok {
			return fmt.Errorf("decode record %q: want topic/NAME/CHUNK", key)
		}
		topics[name] = true
	default:
		return fmt.Errorf("decode record %q: unknown kind (written by a newer version?)", key)
	}
	return nil
}

// assemble rebuilds the named topics from their chunks; an incomplete one is not visible.
func (v *View) assemble(names map[string]bool) error {
	for name := range names {
		if old := v.Topics[name]; old != nil {
			delete(v.Topics, name)
			delete(v.TopicNames, old.ID)
		}
		t, err := v.topic(name)
		if err != nil {
			return err
		}
		if t != nil {
			v.Topics[name] = t
			v.TopicNames[t.ID] = name
		}
	}
	return nil
}

var errMixedTopic = errors.New("chunks of different topics under one name")

func (v *View) topic(name string) (*Topic, error) {
	var t *Topic
	for c := 0; ; c++ {
		raw, ok := v.records[chunkKey(name, c)]
		if !ok {
			return nil, nil // not complete (yet), or being deleted
		}
		var tc topicChunk
		if err := json.Unmarshal(raw, &tc); err != nil {
			return nil, fmt.Errorf("decode record %q: %w", chunkKey(name, c), err)
		}
		id, err := parseID(tc.ID)
		if err != nil {
			return nil, fmt.Errorf("decode record %q: %w", chunkKey(name, c), err)
		}
		if t == nil {
			t = &Topic{Name: name, ID: id, Configs: tc.Configs}
		}
		if t.ID != id {
			return nil, fmt.Errorf("decode record %q: %w", chunkKey(name, c), errMixedTopic)
		}
		t.Partitions = append(t.Partitions, tc.States...)
		if len(t.Partitions) >= tc.Partitions {
			return t, nil
		}
	}
}

// parseID reads a topic id. (Not by package uuid: through it the controller would depend on a source of randomness.)
func parseID(text string) (id [16]byte, err error) {
	b, err := hex.DecodeString(text)
	if err == nil && len(b) != len(id) {
		err = fmt.Errorf("topic id %q has %d bytes, want %d", text, len(b), len(id))
	}
	copy(id[:], b)
	return id, err
}
