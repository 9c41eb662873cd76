package controller

import "errors"

// The refusals of Step. The requester corrects its request, or re-reads the cluster's state; none is worth a blind retry.
var (
	// ErrTopicExists: there is a topic of that name (or of one that differs only in '.' and '_').
	ErrTopicExists = errors.New("topic already exists")
	// ErrUnknownTopic: no such topic or partition.
	ErrUnknownTopic = errors.New("unknown topic or partition")
	// ErrInvalidTopic: a name that Kafka does not allow.
	ErrInvalidTopic = errors.New("invalid topic name")
	// ErrInvalidPartitions: a number of partitions that is not allowed.
	ErrInvalidPartitions = errors.New("invalid number of partitions")
	// ErrInvalidReplicationFactor: below one, or more than there are live brokers.
	ErrInvalidReplicationFactor = errors.New("invalid replication factor")
	// ErrInvalidAssignment: an explicit assignment of replicas that contradicts itself or the cluster.
	ErrInvalidAssignment = errors.New("invalid replica assignment")
	// ErrInvalidRequest: the request contradicts itself.
	ErrInvalidRequest = errors.New("invalid request")

	// ErrNotLeader: the sender does not lead the partition. It learns the leader from its view.
	ErrNotLeader = errors.New("not the leader of the partition")
	// ErrFencedLeaderEpoch: another leader epoch is current. The sender waits for its view.
	ErrFencedLeaderEpoch = errors.New("leader epoch is not current")
	// ErrInvalidUpdateVersion: the partition changed since the sender looked. It decides anew on the new state.
	ErrInvalidUpdateVersion = errors.New("partition epoch is not current")
	// ErrIneligibleReplica: a proposed ISR member is fenced, stopping, or another incarnation than the sender saw.
	ErrIneligibleReplica = errors.New("replica is not eligible for the ISR")
	// ErrStaleBrokerEpoch: the sender's own registration is not the current one.
	ErrStaleBrokerEpoch = errors.New("broker epoch is not current")
)
