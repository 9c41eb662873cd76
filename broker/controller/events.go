package controller

import (
	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/coordination"
)

// Event is something to decide on.
type Event interface {
	step(v *cluster.View) Result
}

// Result is a decision.
type Result struct {
	// Mutations are to be committed in this order; they may be split over several commits at any place.
	Mutations []coordination.Mutation
	// Reply answers the requester once everything is committed; its type is named at the event.
	Reply any
	// Err refuses the request; there are no mutations then.
	Err error
	// Again asks to step the same event on the view that follows the mutations: the decision has a further part.
	Again bool
}

// RegistrationsChanged tells the complete set of present registrations. Dead brokers are fenced and lose leaderships and ISR memberships; new registrations are
// admitted. It is idempotent, and finishes what an earlier controller left half-done. No reply.
type RegistrationsChanged struct {
	Present []coordination.Registered
}

// CreateTopic makes a topic. Reply: *cluster.Topic as it is created.
type CreateTopic struct {
	Name string
	ID   [16]byte // chosen by the sender: Step has no randomness
	// Partitions and ReplicationFactor must be at least 1, unless Assignment is given (then they are -1).
	Partitions        int32
	ReplicationFactor int16
	// Assignment, when set, lists the replicas of each partition, the preferred leader first.
	Assignment [][]int32
	Configs    map[string]string
	// Seed spreads the assignments of different topics.
	Seed uint64
	// MaxPartitions bounds the partitions of the topic.
	MaxPartitions int32
	ValidateOnly  bool
}

// DeleteTopic deletes a topic, by name, or by ID when Name is empty. Reply: *cluster.Topic as it was.
type DeleteTopic struct {
	Name string
	ID   [16]byte
}

// CreatePartitions grows a topic to Count partitions. Reply: *cluster.Topic as it becomes.
type CreatePartitions struct {
	Name  string
	Count int32
	// Assignment, when set, lists the replicas of each new partition.
	Assignment    [][]int32
	Seed          uint64
	MaxPartitions int32
	ValidateOnly  bool
}

// AlterPartition is a leader's proposal of new ISRs, or a replica's farewell: any member may propose the ISR without itself, because its log is damaged. Reply:
// AlterPartitionReply. A stale broker epoch refuses all of it.
type AlterPartition struct {
	Broker      int32
	BrokerEpoch int64
	Changes     []ISRChange
}

// ISRChange proposes the ISR of one partition.
type ISRChange struct {
	TopicID        [16]byte
	Partition      int32
	LeaderEpoch    int32
	PartitionEpoch int32 // of the state on which the proposal is based
	ISR            []ISRMember
}

// ISRMember is a proposed member with the broker epoch with which it fetched.
type ISRMember struct {
	ID    int32
	Epoch int64
}

// AlterPartitionReply answers each change, in order.
type AlterPartitionReply struct {
	Results []ISRResult
}

// ISRResult is the partition's state after the change, or why it was refused.
type ISRResult struct {
	Err       error
	Partition cluster.Partition // when Err is nil
}

// ControlledShutdown takes everything from a broker that is about to stop. It may be repeated. Reply: []cluster.TopicPartition that it must keep on leading
// because no other ISR member is live.
type ControlledShutdown struct {
	Broker      int32
	BrokerEpoch int64
}

// AllocateProducerIDs hands out a block of producer ids. Reply: ProducerIDBlock.
type AllocateProducerIDs struct {
	Broker      int32
	BrokerEpoch int64
}

// ProducerIDBlock is First … First+Len-1.
type ProducerIDBlock struct {
	First int64
	Len   int32
}

// Rebalance gives each partition back to its preferred replica where that one is in the ISR. No reply.
type Rebalance struct{}

// CollectOrphans deletes the chunks of topics that an earlier controller began to create or to delete. No reply.
type CollectOrphans struct{}
