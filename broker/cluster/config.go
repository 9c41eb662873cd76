package cluster

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrInvalidConfig: a topic configuration that is unknown or has a value that it cannot have. The text says which, and what is allowed.
var ErrInvalidConfig = errors.New("invalid topic configuration")

// ConfigKind is the type of a topic configuration's value.
type ConfigKind uint8

const (
	ConfigInt ConfigKind = iota + 1
	ConfigBool
	ConfigList
	ConfigString
	ConfigRatio // 0 to 1
)

// ConfigDef describes a topic configuration.
type ConfigDef struct {
	Name    string
	Kind    ConfigKind
	Default string
	Min     int64    // of a ConfigInt
	Allowed []string // of a ConfigList or ConfigString; nil allows anything
	Doc     string
}

const (
	ConfigCleanupPolicy     = "cleanup.policy"
	ConfigCompression       = "compression.type"
	ConfigDeleteRetention   = "delete.retention.ms"
	ConfigMaxCompactionLag  = "max.compaction.lag.ms"
	ConfigMaxMessageBytes   = "max.message.bytes"
	ConfigTimestampType     = "message.timestamp.type"
	ConfigMinDirtyRatio     = "min.cleanable.dirty.ratio"
	ConfigMinCompactionLag  = "min.compaction.lag.ms"
	ConfigMinInSyncReplicas = "min.insync.replicas"
	ConfigRetentionBytes    = "retention.bytes"
	ConfigRetentionMillis   = "retention.ms"
	ConfigUncleanElection   = "unclean.leader.election.enable"
)

// configDefs is ordered by name. A configuration is here only if it has an effect, or if its only allowed value is what the brokers do anyway.
var configDefs = []ConfigDef{
	{Name: ConfigCleanupPolicy, Kind: ConfigList, Default: "delete", Allowed: []string{"delete", "compact"},
		Doc: "delete: records go after retention. compact: of the records of a key only the newest is kept, and records need a key."},
	{Name: ConfigCompression, Kind: ConfigString, Default: "producer", Allowed: []string{"producer"},
		Doc: "Batches are stored as the producer compressed them."},
	{Name: ConfigDeleteRetention, Kind: ConfigInt, Default: "86400000", Min: 0,
		Doc: "How long compaction keeps a deletion (a record without a value), in milliseconds."},
	{Name: ConfigMaxCompactionLag, Kind: ConfigInt, Default: "9223372036854775807", Min: 1,
		Doc: "A record older than this makes its log due for compaction, whatever its dirty ratio, in milliseconds."},
	{Name: ConfigMaxMessageBytes, Kind: ConfigInt, Default: "1048588", Min: 0,
		Doc: "The largest record batch that is accepted, in bytes."},
	{Name: ConfigTimestampType, Kind: ConfigString, Default: "CreateTime", Allowed: []string{"CreateTime"},
		Doc: "Records keep the producer's timestamps."},
	{Name: ConfigMinDirtyRatio, Kind: ConfigRatio, Default: "0.5",
		Doc: "A log is compacted when this share of its bytes was not compacted before."},
	{Name: ConfigMinCompactionLag, Kind: ConfigInt, Default: "0", Min: 0,
		Doc: "How long a record is left alone by compaction, in milliseconds."},
	{Name: ConfigMinInSyncReplicas, Kind: ConfigInt, Default: "", Min: 1,
		Doc: "How many in-sync replicas acks=all needs. Unset: 2 for partitions of three or more replicas, else 1."},
	{Name: ConfigRetentionBytes, Kind: ConfigInt, Default: "-1", Min: -1,
		Doc: "The size that a partition's log keeps at least, in bytes; -1 is no limit."},
	{Name: ConfigRetentionMillis, Kind: ConfigInt, Default: "604800000", Min: -1,
		Doc: "How long records are kept, in milliseconds; -1 is no limit."},
	{Name: ConfigUncleanElection, Kind: ConfigBool, Default: "false", Allowed: []string{"false"},
		Doc: "A replica that may lack acknowledged records is never elected."},
}

// maxConfigValue bounds a value's length: it is part of a record that is written as a whole.
const maxConfigValue = 256

// ConfigDefs lists the known topic configurations, ordered by name.
func ConfigDefs() []ConfigDef { return slices.Clone(configDefs) }

// ValidateConfigs checks a topic's configurations; the error wraps ErrInvalidConfig and names every fault.
func ValidateConfigs(configs map[string]string) error {
	var errs []error
	for name, value := range configs {
		i := slices.IndexFunc(configDefs, func(d ConfigDef) bool { return d.Name == name })
		if i < 0 {
			errs = append(errs, fmt.Errorf("%w: %q is unknown", ErrInvalidConfig, name))
		} else if err := configDefs[i].validate(value); err != nil {
			errs = append(errs, err)
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

func (d ConfigDef) validate(value string) error {
	bad := func(want string) error {
		return fmt.Errorf("%w: %s=%q: want %s", ErrInvalidConfig, d.Name, value, want)
	}
	if len(value) > maxConfigValue {
		return fmt.Errorf("%w: %s=%.32q...: want at most %d bytes, not %d", ErrInvalidConfig, d.Name, value, maxConfigValue, len(value))
	}
	switch d.Kind {
	case ConfigInt:
		if n, err := strconv.ParseInt(value, 10, 64); err != nil || n < d.Min {
			return bad(fmt.Sprintf("an integer of at least %d", d.Min))
		}
	case ConfigRatio:
		if r, err := strconv.ParseFloat(value, 64); err != nil || !(r >= 0 && r <= 1) {
			return bad("a number from 0 to 1")
		}
	case ConfigBool:
		if _, err := strconv.ParseBool(value); err != nil {
			return bad("true or false")
		}
		fallthrough
	case ConfigString:
		if d.Allowed != nil && !slices.Contains(d.Allowed, value) {
			return bad(strings.Join(d.Allowed, " or "))
		}
	case ConfigList:
		var seen []string
		for item := range strings.SplitSeq(value, ",") {
			item = strings.TrimSpace(item)
			if !slices.Contains(d.Allowed, item) || slices.Contains(seen, item) {
				return bad("a list of " + strings.Join(d.Allowed, ", ") + ", each at most once")
			}
			seen = append(seen, item)
		}
	}
	return nil
}

// Config is the topic's value of a known configuration, its default if it was not set.
func (t *Topic) Config(name string) string {
	if v, ok := t.Configs[name]; ok {
		return v
	}
	i := slices.IndexFunc(configDefs, func(d ConfigDef) bool { return d.Name == name })
	if i < 0 {
		return ""
	}
	return configDefs[i].Default
}

func (t *Topic) configInt(name string) int64 {
	n, err := strconv.ParseInt(t.Config(name), 10, 64)
	if err != nil {
		return -1 // validated when it was written
	}
	return n
}

// MinInSync is how many in-sync replicas acks=all needs on a partition of that many replicas.
func (t *Topic) MinInSync(replicas int) int {
	if n := t.configInt(ConfigMinInSyncReplicas); n > 0 {
		return int(n)
	}
	if replicas >= 3 {
		return 2
	}
	return 1
}

// MaxMessageBytes is the largest batch that the topic takes.
func (t *Topic) MaxMessageBytes() int { return int(t.configInt(ConfigMaxMessageBytes)) }

// Retention says how long and how much the topic keeps; 0 is no limit.
func (t *Topic) Retention() (age time.Duration, bytes int64) {
	if !t.Deletes() {
		return 0, 0
	}
	if ms := t.configInt(ConfigRetentionMillis); ms >= 0 {
		// 0 would mean no limit; Kafka's 0 means at once.
		age = time.Duration(max(1, min(ms, int64(1<<63-1)/int64(time.Millisecond)))) * time.Millisecond
	}
	return age, max(0, t.configInt(ConfigRetentionBytes))
}

// Compacts says whether the topic keeps the newest record of each key.
func (t *Topic) Compacts() bool { return t.hasCleanup("compact") }

// Deletes says whether records may go: by retention, or by DeleteRecords.
func (t *Topic) Deletes() bool { return t.hasCleanup("delete") }

func (t *Topic) hasCleanup(policy string) bool {
	return slices.ContainsFunc(strings.Split(t.Config(ConfigCleanupPolicy), ","), func(item string) bool { return strings.TrimSpace(item) == policy })
}

// Compaction is when and how a topic that compacts is compacted.
type Compaction struct {
	MinDirtyRatio  float64
	MinLag, MaxLag time.Duration
	KeepDeletions  time.Duration
}

// Compaction says how the topic is compacted.
func (t *Topic) Compaction() Compaction {
	ratio, err := strconv.ParseFloat(t.Config(ConfigMinDirtyRatio), 64)
	if err != nil {
		ratio = 0.5 // validated when it was written
	}
	return Compaction{
		MinDirtyRatio: ratio, MinLag: t.configMillis(ConfigMinCompactionLag), MaxLag: t.configMillis(ConfigMaxCompactionLag),
		KeepDeletions: t.configMillis(ConfigDeleteRetention),
	}
}

func (t *Topic) configMillis(name string) time.Duration {
	return time.Duration(min(max(0, t.configInt(name)), math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}
