// Package cluster holds what every broker knows of the cluster: an immutable View, built from the commit chain of package coordination.
//
// Records of the chain (key → JSON):
//
//	broker/ID            Broker
//	topic/NAME/CHUNK     topicChunk: up to ChunkSize partitions of a topic; CHUNK is decimal from 0
//	producer-ids         ProducerIDs: the next block to hand out
//
// A topic is visible when all its chunks are there: creation ends with its last chunk, deletion starts with it.
package cluster

import (
	"github.com/regency-project/regency/coordination"
)

// NoLeader is the Leader of a partition that nobody may serve.
const NoLeader int32 = -1

// Endpoint is a host and port that a broker advertises.
type Endpoint struct {
	Host string `json:"host"`
	Port int32  `json:"port"`
}

// Broker is an admitted broker. The controller writes it.
type Broker struct {
	ID int32 `json:"id"`
	// Epoch is the sequence number of the commit that admitted this registration: it grows with every restart of the broker.
	Epoch         int64    `json:"epoch"`
	Incarnation   string   `json:"incarnation"`
	DirectoryUUID string   `json:"directory_uuid"`
	Client        Endpoint `json:"client"` // for Kafka clients
	Peer          Endpoint `json:"peer"`   // for brokers
	Rack          string   `json:"rack,omitempty"`
	// Fenced: its registration is gone (or it is shutting down): it leads nothing and is in no ISR, unless as the last member.
	Fenced bool `json:"fenced,omitempty"`
	// Stopping: it asked for a controlled shutdown; no leadership is given to it.
	Stopping bool `json:"stopping,omitempty"`
}

// Partition is the controller's decision on one partition.
type Partition struct {
	Replicas []int32 `json:"r"`
	// Directories are the directory UUIDs of the ISR members, in the order of ISR: ISR membership belongs to (broker, directory).
	ISR         []int32  `json:"i"`
	Directories []string `json:"d"`
	Leader      int32    `json:"l"`
	LeaderEpoch int32    `json:"e"` // grows with every change of leader
	Epoch       int32    `json:"p"` // partition epoch: grows with every change of anything here
}

// Topic is a topic with all its partitions.
type Topic struct {
	Name       string
	ID         [16]byte
	Configs    map[string]string
	Partitions []Partition
}

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// ProducerIDs is the allocation state of producer ids.
type ProducerIDs struct {
	Next int64 `json:"next"`
}

// View is the state of the cluster at one sequence number. It is immutable: share it freely.
type View struct {
	ClusterID string // the lineage
	Seq       uint64
	Epoch     int32 // controller epoch
	// Controller is the broker id of the newest claim, -1 before the first. It may be dead.
	Controller  int32
	Brokers     map[int32]Broker
	Topics      map[string]*Topic
	TopicNames  map[[16]byte]string
	ProducerIDs ProducerIDs

	records map[string][]byte // the raw records, for Diff and chunk bookkeeping
}

// Partition looks a partition up.
func (v *View) Partition(tp TopicPartition) (Partition, bool) {
	t := v.Topics[tp.Topic]
	if t == nil || tp.Partition < 0 || int(tp.Partition) >= len(t.Partitions) {
		return Partition{}, false
	}
	return t.Partitions[tp.Partition], true
}

// Live says whether the broker is admitted and not fenced.
func (v *View) Live(id int32) bool {
	b, ok := v.Brokers[id]
	return ok && !b.Fenced
}

// Keys returns the keys of the records at this View (for orphan collection by a new controller).
func (v *View) Keys() []string {
	keys := make([]string, 0, len(v.records))
	for k := range v.records {
		keys = append(keys, k)
	}
	return keys
}

// Empty is the View before anything was committed.
func Empty() *View {
	return &View{Controller: -1, Brokers: map[int32]Broker{}, Topics: map[string]*Topic{}, TopicNames: map[[16]byte]string{}, records: map[string][]byte{}}
}

// Apply returns the View after a Snapshot or Delta event; the receiver is unchanged. Other kinds return the receiver. A record that cannot be decoded is an
// error that names its key: the caller must stop, not guess.
func (v *View) Apply(e coordination.Event) (*View, error) {
	switch e.Kind {
	case coordination.Snapshot:
		return fromSnapshot(e)
	case coordination.Delta:
		return v.applyDelta(e)
	}
	return v, nil
}
