// Package suite reads suites: files that name the scenarios of a run, vary them, and say on which backends, under which profiles and how often they are
// run. The files of bench/suites are built in; a user's own file has the same form.
//
//	name: partitions
//	title: Failover with more partitions
//	backends: [embedded, etcd]          # all when absent
//	profiles:                           # matched when absent
//	  - matched
//	  - {profile: default, trials: 3}   # at most 3 trials of each scenario
//	trials: 15                          # of each scenario on each backend
//	flush: sync                         # of scenarios that say nothing
//	expected: 45m                       # announced: the harness's own estimate must not be above it
//	scenarios:
//	  - leader-kill                     # a built-in scenario, or a file beside this one
//	  - scenario: leader-kill
//	    name: small                     # of what follows from it
//	    trials: 5
//	    partitions: 100                 # any of partitions, replication, rate, size, acks, flush
//	    sweep: {size: [128, 1024]}      # one scenario for each combination of the values
//	sweep: {partitions: [1, 1000]}      # of every scenario that has no sweep of its own
//
// Everything is checked before anything runs; errors name file, line and key.
package suite

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/bench/suites"
	"github.com/regency-project/regency/bench/yamlpos"
)

// Suite is what a file holds, resolved: each scenario stands by itself.
type Suite struct {
	Name        string
	Title       string
	Description string
	Backends    []string // empty: all
	Profiles    []string
	Trials      int
	Flush       string        // empty: sync
	Expected    time.Duration // how long it may take by the harness's estimate
	Scenarios   []scenario.Scenario
	// ScenarioTrials and ProfileTrials hold the exceptions from Trials, as plan.Options takes them.
	ScenarioTrials map[string]int
	ProfileTrials  map[string]int
}

// file is the form of a suite's file.
type file struct {
	Name        string        `yaml:"name"`
	Title       string        `yaml:"title"`
	Description string        `yaml:"description"`
	Backends    []string      `yaml:"backends"`
	Profiles    []inProfile   `yaml:"profiles"`
	Trials      int           `yaml:"trials"`
	Flush       string        `yaml:"flush"`
	Expected    time.Duration `yaml:"expected"`
	Scenarios   []entry       `yaml:"scenarios"`
	Sweep       *sweep        `yaml:"sweep"`
}

// inProfile is a profile's name, or a map with it.
type inProfile struct {
	Profile string `yaml:"profile"`
	Trials  int    `yaml:"trials"`
}

// UnmarshalYAML takes the short form too.
func (p *inProfile) UnmarshalYAML(decode func(any) error) error {
	if decode(&p.Profile) == nil {
		return nil
	}
	type plain inProfile
	return decode((*plain)(p))
}

// entry is a scenario's name, or a map with it and with what differs from it.
type entry struct {
	Scenario    string   `yaml:"scenario"`
	Name        string   `yaml:"name"`
	Title       string   `yaml:"title"`
	Description string   `yaml:"description"`
	Trials      int      `yaml:"trials"`
	Partitions  *int32   `yaml:"partitions"`
	Replication *int16   `yaml:"replication"`
	Rate        *float64 `yaml:"rate"`
	Size        *int     `yaml:"size"`
	Acks        *string  `yaml:"acks"`
	Flush       *string  `yaml:"flush"`
	Sweep       *sweep   `yaml:"sweep"`
}

// UnmarshalYAML takes the short form too.
func (e *entry) UnmarshalYAML(decode func(any) error) error {
	if decode(&e.Scenario) == nil {
		return nil
	}
	type plain entry
	return decode((*plain)(e))
}

// sweep lists values; the scenarios are all their combinations, in this order of keys.
type sweep struct {
	Partitions  []int32   `yaml:"partitions"`
	Replication []int16   `yaml:"replication"`
	Rate        []float64 `yaml:"rate"`
	Size        []int     `yaml:"size"`
	Acks        []string  `yaml:"acks"`
	Flush       []string  `yaml:"flush"`
}

// Names lists the built-in suites, quick first: it is what one wants to begin with.
func Names() []string {
	found, err := fs.Glob(suites.Files, "*.yaml")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	var names []string
	for _, f := range found {
		names = append(names, strings.TrimSuffix(f, ".yaml"))
	}
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	return names
}

func rank(name string) int {
	if i := slices.Index([]string{"quick", "failover"}, name); i >= 0 {
		return i
	}
	return 2
}

// Load finds a built-in suite by its name, or reads a file when the argument ends in .yaml or .yml.
func Load(name string) (Suite, error) {
	if ext := path.Ext(name); ext == ".yaml" || ext == ".yml" {
		data, err := os.ReadFile(name)
		if err != nil {
			return Suite{}, fmt.Errorf("read suite: %w", err)
		}
		return Parse(name, data)
	}
	data, err := suites.Files.ReadFile(name + ".yaml")
	if err != nil {
		return Suite{}, fmt.Errorf("unknown suite %q: choose from %s, or give a .yaml file", name, strings.Join(Names(), ", "))
	}
	s, err := Parse(name+".yaml", data)
	if err == nil && s.Name != name {
		return Suite{}, fmt.Errorf("%s.yaml: name: %q is not the file's", name, s.Name)
	}
	return s, err
}

// Parse reads one file. Scenario files that it names are looked up beside it.
func Parse(name string, data []byte) (Suite, error) {
	var f file
	if err := yaml.UnmarshalWithOptions(data, &f, yaml.Strict()); err != nil {
		return Suite{}, yamlpos.Syntax(name, err)
	}
	r := resolver{dir: filepath.Dir(name), where: yamlpos.Places(name, data), file: f}
	return r.resolve()
}
