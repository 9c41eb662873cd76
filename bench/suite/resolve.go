package suite

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/coordination/profile"
)

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,40}$`)

// mostTrials is what a plan takes.
const mostTrials = 10000

// resolver turns a file into a suite and collects everything that is wrong with it.
type resolver struct {
	dir   string
	where func(key string) string
	file  file
	suite Suite
	errs  []error
}

func (r *resolver) fail(key, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s: %s: %s", r.where(key), key, fmt.Sprintf(format, args...)))
}

func (r *resolver) resolve() (Suite, error) {
	f := r.file
	r.suite = Suite{
		Name: f.Name, Title: f.Title, Description: f.Description, Backends: f.Backends, Trials: f.Trials, Flush: f.Flush, Expected: f.Expected,
		ScenarioTrials: map[string]int{}, ProfileTrials: map[string]int{},
	}
	if !nameForm.MatchString(f.Name) {
		r.fail("name", "%q is not of lower-case letters, digits and dashes", f.Name)
	}
	if f.Title == "" {
		r.fail("title", "it is missing")
	}
	if f.Trials < 1 || f.Trials > mostTrials {
		r.fail("trials", "%d is not between 1 and %d", f.Trials, mostTrials)
	}
	if !slices.Contains([]string{"", "sync", "written"}, f.Flush) {
		r.fail("flush", "%q: choose sync or written", f.Flush)
	}
	if f.Expected < 0 {
		r.fail("expected", "%v is negative", f.Expected)
	}
	r.names()
	if len(f.Scenarios) == 0 {
		r.fail("scenarios", "at least one is needed")
	}
	for i, e := range f.Scenarios {
		r.entry(fmt.Sprintf("scenarios[%d]", i), e)
	}
	return r.suite, errors.Join(r.errs...)
}

// names checks backends and profiles.
func (r *resolver) names() {
	for i, b := range r.file.Backends {
		key := fmt.Sprintf("backends[%d]", i)
		if !slices.Contains(profile.Backends(), profile.Backend(b)) {
			r.fail(key, "unknown backend %q: choose from %v", b, profile.Backends())
		}
		if slices.Index(r.file.Backends, b) != i {
			r.fail(key, "%s is given twice", b)
		}
	}
	for i, p := range r.file.Profiles {
		key := fmt.Sprintf("profiles[%d]", i)
		if !slices.Contains(profile.Names(), profile.Name(p.Profile)) {
			r.fail(key, "unknown profile %q: choose from %v", p.Profile, profile.Names())
		}
		if slices.Contains(r.suite.Profiles, p.Profile) {
			r.fail(key, "%s is given twice", p.Profile)
		}
		if p.Trials < 0 || p.Trials > mostTrials {
			r.fail(key+".trials", "%d is not between 1 and %d", p.Trials, mostTrials)
		}
		r.suite.Profiles = append(r.suite.Profiles, p.Profile)
		if p.Trials > 0 {
			r.suite.ProfileTrials[p.Profile] = p.Trials
		}
	}
	if len(r.suite.Profiles) == 0 {
		r.suite.Profiles = []string{string(profile.Matched)}
	}
}

// entry adds the scenarios of one entry.
func (r *resolver) entry(key string, e entry) {
	base, err := r.load(e.Scenario)
	if err != nil {
		r.fail(key+".scenario", "%v", err)
		return
	}
	if e.Trials < 0 || e.Trials > mostTrials {
		r.fail(key+".trials", "%d is not between 1 and %d", e.Trials, mostTrials)
	}
	given := e.values()
	s := vary(base, given)
	if e.Name != "" {
		s.Name = e.Name
	} else if len(given) > 0 {
		s.Name += suffix(given)
	}
	if len(given) > 0 {
		s.Title += " (" + words(given) + ")"
	}
	if e.Title != "" {
		s.Title = e.Title
	}
	if e.Description != "" {
		s.Description = e.Description
	}
	over := e.Sweep
	if over == nil {
		over = r.file.Sweep
	}
	for _, combination := range over.combinations() {
		v := vary(s, combination)
		if len(combination) > 0 {
			v.Name += suffix(combination)
			v.Title = fmt.Sprintf("%s, %s", v.Title, words(combination))
		}
		r.add(key, v, e.Trials)
	}
}

func (r *resolver) add(key string, s scenario.Scenario, trials int) {
	if err := s.Validate(); err != nil {
		r.fail(key, "scenario %s: %v", s.Name, err)
	}
	if slices.ContainsFunc(r.suite.Scenarios, func(o scenario.Scenario) bool { return o.Name == s.Name }) {
		r.fail(key, "scenario %s is there twice: give one of them another name", s.Name)
	}
	r.suite.Scenarios = append(r.suite.Scenarios, s)
	if trials > 0 {
		r.suite.ScenarioTrials[s.Name] = trials
	}
}

func (r *resolver) load(name string) (scenario.Scenario, error) {
	if name == "" {
		return scenario.Scenario{}, errors.New("it is missing")
	}
	if ext := path.Ext(name); (ext == ".yaml" || ext == ".yml") && !filepath.IsAbs(name) {
		name = filepath.Join(r.dir, name)
	}
	list, err := scenario.Load(name)
	if err != nil {
		return scenario.Scenario{}, err
	}
	return list[0], nil
}

// value is one change of a scenario.
type value struct {
	suffix string // of the name
	words  string // of the title
	apply  func(*scenario.Scenario)
}

func (e entry) values() []value {
	one := &sweep{}
	one.Partitions, one.Replication, one.Rate = optional(e.Partitions), optional(e.Replication), optional(e.Rate)
	one.Size, one.Acks, one.Flush = optional(e.Size), optional(e.Acks), optional(e.Flush)
	return one.combinations()[0]
}

func optional[T any](v *T) []T {
	if v == nil {
		return nil
	}
	return []T{*v}
}

// combinations is the product of all lists that are not empty; of nothing, the one empty combination.
func (w *sweep) combinations() [][]value {
	all := [][]value{nil}
	if w == nil {
		return all
	}
	for _, axis := range w.axes() {
		if len(axis) == 0 {
			continue
		}
		var next [][]value
		for _, c := range all {
			for _, v := range axis {
				next = append(next, append(slices.Clone(c), v))
			}
		}
		all = next
	}
	return all
}

func (w *sweep) axes() [][]value {
	return [][]value{
		each(w.Partitions, func(n int32) value {
			return value{fmt.Sprintf("-p%d", n), count(int(n), "partition"), func(s *scenario.Scenario) {
				s.Cluster.Topics[loadTopic(s)].Partitions = n
			}}
		}),
		each(w.Replication, func(n int16) value {
			return value{fmt.Sprintf("-rf%d", n), fmt.Sprintf("replication %d", n), func(s *scenario.Scenario) {
				s.Cluster.Topics[loadTopic(s)].Replication = n
			}}
		}),
		each(w.Rate, func(n float64) value {
			return value{fmt.Sprintf("-r%.0f", n), fmt.Sprintf("%g records/s", n), func(s *scenario.Scenario) { s.Workload.Rate = n }}
		}),
		each(w.Size, func(n int) value {
			return value{fmt.Sprintf("-%db", n), fmt.Sprintf("%d B", n), func(s *scenario.Scenario) { s.Workload.Size = n }}
		}),
		each(w.Acks, func(a string) value {
			return value{"-" + a, "acks=" + a, func(s *scenario.Scenario) { s.Workload.Acks = a }}
		}),
		each(w.Flush, func(f string) value {
			return value{"-" + f, "flush " + f, func(s *scenario.Scenario) { s.Cluster.Flush = f }}
		}),
	}
}

func each[T any](list []T, make func(T) value) []value {
	var values []value
	for _, v := range list {
		values = append(values, make(v))
	}
	return values
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// loadTopic is the place of the topic that the scenario's load is on. Every valid scenario has it.
func loadTopic(s *scenario.Scenario) int {
	name := scenario.TopicLoad
	if s.Kind == scenario.Throughput {
		name = scenario.TopicThroughput
	}
	return slices.IndexFunc(s.Cluster.Topics, func(t scenario.Topic) bool { return t.Name == name })
}

// vary changes a copy.
func vary(s scenario.Scenario, values []value) scenario.Scenario {
	s.Cluster.Topics = slices.Clone(s.Cluster.Topics)
	for _, v := range values {
		v.apply(&s)
	}
	return s
}

func suffix(values []value) string {
	var text strings.Builder
	for _, v := range values {
		text.WriteString(v.suffix)
	}
	return text.String()
}

func words(values []value) string {
	var list []string
	for _, v := range values {
		list = append(list, v.words)
	}
	return strings.Join(list, ", ")
}
