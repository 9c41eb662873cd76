package api

// Config is what the handlers need to know of the broker's configuration.
type Config struct {
	// AutoCreateTopics lets a Metadata request that allows it create the topics that it names.
	AutoCreateTopics bool
	// DefaultPartitions and DefaultReplicationFactor are for topics that are created without saying; the factor is lowered to the number of live brokers
	// for automatic creation only.
	DefaultPartitions        int32
	DefaultReplicationFactor int16
	// OffsetsPartitions is the number of partitions of the internal offsets topic, when this broker is the one that creates it.
	OffsetsPartitions int32
}
