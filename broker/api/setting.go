package api

import (
	"strconv"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// setting is one configuration value as DescribeConfigs tells it.
type setting struct {
	name, value, doc string
	kind             kmsg.ConfigType
	source           kmsg.ConfigSource
	readOnly         bool
	fallback         string // what the value would be if it were not set
}

func (s setting) describe(req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	c := kmsg.NewDescribeConfigsResponseResourceConfig()
	c.Name, c.Value, c.Source, c.ConfigType, c.ReadOnly = s.name, kmsg.StringPtr(s.value), s.source, s.kind, s.readOnly
	c.IsDefault = s.source == kmsg.ConfigSourceDefaultConfig
	c.ConfigSynonyms = []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{}
	if req.IncludeSynonyms {
		c.ConfigSynonyms = s.synonyms()
	}
	if req.IncludeDocumentation {
		c.Documentation = kmsg.StringPtr(s.doc)
	}
	return c
}

// synonyms are the places that the value may come from, the effective one first.
func (s setting) synonyms() []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym {
	synonym := func(value string, source kmsg.ConfigSource) kmsg.DescribeConfigsResponseResourceConfigConfigSynonym {
		y := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
		y.Name, y.Value, y.Source = s.name, kmsg.StringPtr(value), source
		return y
	}
	list := []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{synonym(s.value, s.source)}
	if s.source == kmsg.ConfigSourceDynamicTopicConfig {
		list = append(list, synonym(s.fallback, kmsg.ConfigSourceDefaultConfig))
	}
	return list
}

var configTypes = map[cluster.ConfigKind]kmsg.ConfigType{
	cluster.ConfigInt:    kmsg.ConfigTypeLong,
	cluster.ConfigBool:   kmsg.ConfigTypeBoolean,
	cluster.ConfigList:   kmsg.ConfigTypeList,
	cluster.ConfigString: kmsg.ConfigTypeString,
	cluster.ConfigRatio:  kmsg.ConfigTypeDouble,
}

// topicSettings are the known settings with the values that the topic has, by name.
func topicSettings(t *cluster.Topic) []setting {
	var list []setting
	for _, d := range cluster.ConfigDefs() {
		s := setting{name: d.Name, doc: d.Doc, kind: configTypes[d.Kind], fallback: d.Default}
		if d.Name == cluster.ConfigMinInSyncReplicas { // its default depends on the number of replicas
			s.fallback = strconv.Itoa((&cluster.Topic{}).MinInSync(len(t.Partitions[0].Replicas)))
		}
		s.value, s.source = s.fallback, kmsg.ConfigSourceDefaultConfig
		if v, ok := t.Configs[d.Name]; ok {
			s.value, s.source = v, kmsg.ConfigSourceDynamicTopicConfig
		}
		list = append(list, s)
	}
	return list
}

// brokerSettings are this broker's settings under the names that Kafka's tools look for.
func (b *Broker) brokerSettings() []setting {
	static := func(name, value, doc string, kind kmsg.ConfigType) setting {
		return setting{name: name, value: value, doc: doc, kind: kind, source: kmsg.ConfigSourceStaticBrokerConfig, readOnly: true}
	}
	num := func(n int64) string { return strconv.FormatInt(n, 10) }
	return []setting{
		static("auto.create.topics.enable", strconv.FormatBool(b.Config.AutoCreateTopics), "Metadata requests create topics that do not exist.", kmsg.ConfigTypeBoolean),
		static("broker.id", num(int64(b.ID)), "The broker's id.", kmsg.ConfigTypeInt),
		static("default.replication.factor", num(int64(b.Config.DefaultReplicationFactor)), "For topics created without one.", kmsg.ConfigTypeInt),
		static("num.partitions", num(int64(b.Config.DefaultPartitions)), "For topics created without a number.", kmsg.ConfigTypeInt),
		static("offsets.topic.num.partitions", num(int64(b.Config.OffsetsPartitions)), "For the internal offsets topic.", kmsg.ConfigTypeInt),
	}
}
