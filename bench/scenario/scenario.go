// Package scenario is the declarative description of an experiment: the cluster's shape, the load, the fault, how long each phase lasts and which
// limits make a trial count. The scenarios that ship with the harness are YAML files in this package; a user's own file has the same form.
package scenario

import (
	"embed"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/regency-project/regency/bench/yamlpos"
)

// Kinds of scenarios.
const (
	Failover   = "failover"   // one fault a trial
	Throughput = "throughput" // no fault; each trial is one round at saturation
)

// What a throughput scenario's producers wait for.
const (
	AcksAll    = "all"    // every in-sync replica
	AcksLeader = "leader" // the leader alone
)

// Names of topics with a fixed meaning.
const (
	TopicLoad       = "load"       // what the clients write and read
	TopicProbe      = "probe"      // what the prober writes
	TopicThroughput = "throughput" // what is saturated
)

// Scenario is one file.
type Scenario struct {
	Name        string `yaml:"name" json:"name"` // lower case, digits and dashes: it is part of trial ids
	Title       string `yaml:"title" json:"title"`
	Description string `yaml:"description" json:"description"`
	Kind        string `yaml:"kind" json:"kind"`

	Cluster  Cluster  `yaml:"cluster" json:"cluster"`
	Workload Workload `yaml:"workload" json:"workload"`
	Faults   []Fault  `yaml:"faults" json:"faults,omitempty"`
	Probes   Probes   `yaml:"probes" json:"probes"`
	Phases   Phases   `yaml:"phases" json:"phases"`
	Limits   Limits   `yaml:"limits" json:"limits"`
}

// Cluster is what is started. Scenarios of equal clusters share one.
type Cluster struct {
	Brokers int     `yaml:"brokers" json:"brokers"`
	Topics  []Topic `yaml:"topics" json:"topics"`
	// Links are the kinds that can be disturbed: each goes through a proxy. They follow from the faults.
	Links []string `yaml:"-" json:"links,omitempty"`
	Flush string   `yaml:"flush" json:"flush,omitempty"` // sync or written; the run's when empty
}

// Topic is made before the first trial.
type Topic struct {
	Name        string `yaml:"name" json:"name"`
	Partitions  int32  `yaml:"partitions" json:"partitions"`
	Replication int16  `yaml:"replication" json:"replication"`
}

// Workload is the load on topic "load" (failover) or "throughput" (throughput).
type Workload struct {
	Clients []string `yaml:"clients" json:"clients"`     // tuned, default: one producer each
	Rate    float64  `yaml:"rate" json:"rate"`           // records per second of each client, open loop; 0: as many as are acknowledged
	Size    int      `yaml:"size" json:"size"`           // bytes of a record's value
	Acks    string   `yaml:"acks" json:"acks,omitempty"` // all (when empty) or leader; leader only without a fault, because it promises nothing across one
}

// Probes say what the prober watches.
type Probes struct {
	Interval  time.Duration `yaml:"interval" json:"interval"` // of each partition's probes: the resolution
	Deadline  time.Duration `yaml:"deadline" json:"deadline"`
	Led       int           `yaml:"led" json:"led"` // partitions probed of each class
	Followed  int           `yaml:"followed" json:"followed"`
	Untouched int           `yaml:"untouched" json:"untouched"`
	Data      int           `yaml:"data" json:"data,omitempty"` // partitions of any kind, where no broker is aimed at
	Control   time.Duration `yaml:"control" json:"control"`     // interval of control-plane probes; 0: none
}

// Phases bound the parts of a trial.
type Phases struct {
	Warmup   time.Duration `yaml:"warmup" json:"warmup"`     // once a cluster: load without a fault
	Steady   time.Duration `yaml:"steady" json:"steady"`     // before the fault; of a throughput trial: before the round
	Jitter   time.Duration `yaml:"jitter" json:"jitter"`     // a random part of this is added to steady, so that the fault meets heartbeats at any phase
	Impact   time.Duration `yaml:"impact" json:"impact"`     // longest wait for recovery
	Recovery time.Duration `yaml:"recovery" json:"recovery"` // observed after recovery
	Heal     time.Duration `yaml:"heal" json:"heal"`         // longest wait for the cluster to be whole again
	Round    time.Duration `yaml:"round" json:"round"`       // length of a throughput round
}

// Limits are the validity gates.
type Limits struct {
	Delivered float64       `yaml:"delivered" json:"delivered"` // least share of the offered load that is acknowledged in the steady phase
	DelayP99  time.Duration `yaml:"delay_p99" json:"delay_p99"` // the harness's own timers may be this late
}

//go:embed *.yaml
var files embed.FS

// standard is what runs when nothing is named.
var standard = []string{"controller-kill", "leader-kill", "leader-unresponsive", "steady-throughput"}

// further scenarios ship with the harness and run when they are named.
var further = []string{
	"zombie", "coordination-leader-kill", "coordination-quorum-lost", "coordination-unreachable", "controller-and-coordination-leader",
	"leader-partitioned", "leader-isolated", "one-way-cut", "slow-link", "rolling-restart",
}

// Defaults returns the scenarios that run when nothing is named, in the order of the report.
func Defaults() ([]Scenario, error) { return embedded(standard) }

// All returns every scenario that ships with the harness.
func All() ([]Scenario, error) { return embedded(slices.Concat(standard, further)) }

func embedded(names []string) ([]Scenario, error) {
	var list []Scenario
	for _, name := range names {
		data, err := files.ReadFile(name + ".yaml")
		if err != nil {
			return nil, fmt.Errorf("read embedded scenario: %w", err)
		}
		s, err := Parse(name+".yaml", data)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// Load finds scenarios by name among those that ship, or reads a file when the argument ends in .yaml or .yml.
func Load(names ...string) ([]Scenario, error) {
	if len(names) == 0 {
		return Defaults()
	}
	known, err := All()
	if err != nil {
		return nil, err
	}
	var list []Scenario
	for _, name := range names {
		s, err := load(name, known)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(list, func(o Scenario) bool { return o.Name == s.Name }) {
			return nil, fmt.Errorf("scenario %s is given twice", s.Name)
		}
		list = append(list, s)
	}
	return list, nil
}

func load(name string, known []Scenario) (Scenario, error) {
	if ext := path.Ext(name); ext == ".yaml" || ext == ".yml" {
		data, err := os.ReadFile(name)
		if err != nil {
			return Scenario{}, fmt.Errorf("read scenario: %w", err)
		}
		return Parse(name, data)
	}
	var names []string
	for _, s := range known {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Scenario{}, fmt.Errorf("unknown scenario %q: choose from %s, or give a .yaml file", name, strings.Join(names, ", "))
}

// Parse reads one file. Its errors name the file, the line and the key.
func Parse(file string, data []byte) (Scenario, error) {
	var s Scenario
	if err := yaml.UnmarshalWithOptions(data, &s, yaml.Strict()); err != nil {
		return Scenario{}, yamlpos.Syntax(file, err)
	}
	if err := s.Validate(); err != nil {
		return Scenario{}, locate(file, data, err)
	}
	s.Cluster.Links = links(s.Faults)
	return s, nil
}
