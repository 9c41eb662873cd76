package scenario

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"
)

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,40}$`)

// Validate names every faulty key.
func (s Scenario) Validate() error {
	v := &validator{}
	v.check(nameForm.MatchString(s.Name), "name: %q is not of lower-case letters, digits and dashes", s.Name)
	v.check(s.Kind == Failover || s.Kind == Throughput, "kind: %q: choose failover or throughput", s.Kind)
	s.Cluster.validate(v)
	s.Workload.validate(v)
	for _, c := range s.Workload.Clients {
		v.check(c == "tuned" || c == "default", "workload.clients: %q: choose tuned or default", c)
	}
	v.positive("phases.steady", s.Phases.Steady)
	v.positive("phases.heal", s.Phases.Heal)
	v.check(s.Phases.Warmup >= 0 && s.Phases.Jitter >= 0 && s.Phases.Recovery >= 0, "phases: a negative duration")
	v.check(s.Limits.Delivered >= 0 && s.Limits.Delivered <= 1, "limits.delivered: %v is not a share between 0 and 1", s.Limits.Delivered)
	v.check(s.Limits.DelayP99 >= 0, "limits.delay_p99: %v is negative", s.Limits.DelayP99)
	switch s.Kind {
	case Failover:
		s.failover(v)
	case Throughput:
		v.check(len(s.Faults) == 0, "faults: a throughput scenario has none")
		v.positive("phases.round", s.Phases.Round)
		v.check(s.Cluster.has(TopicThroughput), "cluster.topics: topic %q is missing", TopicThroughput)
	}
	return v.err()
}

func (s Scenario) failover(v *validator) {
	s.validateFaults(v)
	v.positive("phases.impact", s.Phases.Impact)
	v.positive("probes.interval", s.Probes.Interval)
	v.check(s.Probes.Deadline >= s.Probes.Interval, "probes.deadline: %v is below the interval", s.Probes.Deadline)
	v.check(s.Probes.Interval == 0 || s.Probes.Deadline <= 1000*s.Probes.Interval, "probes.deadline: %v is above 1000 intervals", s.Probes.Deadline)
	v.check(s.Probes.Control >= 0, "probes.control: %v is negative", s.Probes.Control)
	s.validateProbes(v)
	v.check(s.Workload.Acks != AcksLeader, "workload.acks: leader promises nothing across a fault: a failover scenario needs all")
	v.check(s.Cluster.has(TopicProbe), "cluster.topics: topic %q is missing", TopicProbe)
	v.check(s.Cluster.has(TopicLoad), "cluster.topics: topic %q is missing", TopicLoad)
	v.check(s.Workload.Rate > 0, "workload.rate: a failover scenario needs an open-loop rate above 0")
	v.check(len(s.Workload.Clients) > 0, "workload.clients: at least one of tuned, default")
}

// validateProbes: what the headline is about must be probed.
func (s Scenario) validateProbes(v *validator) {
	p := s.Probes
	counts := []int{p.Led, p.Followed, p.Untouched, p.Data}
	v.check(slices.Min(counts) >= 0 && slices.Max(counts) <= 16, "probes: led, followed, untouched and data lie between 0 and 16")
	aimed := s.Main().OnBroker()
	v.check(!aimed || p.Data == 0, "probes.data: a broker is aimed at: use led, followed and untouched")
	v.check(aimed || p.Led+p.Followed+p.Untouched == 0, "probes: no broker is aimed at: use data instead of led, followed and untouched")
	switch s.HeadlineClass() {
	case "control":
		v.check(p.Control > 0, "probes.control: a controller fault needs control-plane probes")
		v.check(p.Led == 0, "probes.led: the victim of a controller fault leads no probed partition")
	case "led":
		v.check(p.Led > 0, "probes.led: a leader fault needs probes of led partitions")
	case "followed":
		v.check(p.Followed > 0, "probes.followed: a follower fault needs probes of followed partitions")
	default:
		v.check(p.Data > 0, "probes.data: a fault that is aimed at no broker needs probes of any partitions")
	}
}

func (c Cluster) validate(v *validator) {
	v.check(slices.Contains([]string{"", "sync", "written"}, c.Flush), "cluster.flush: %q: choose sync or written", c.Flush)
	v.check(c.Brokers >= 1 && c.Brokers <= 16, "cluster.brokers: %d is not between 1 and 16", c.Brokers)
	seen := map[string]bool{}
	for i, t := range c.Topics {
		v.check(nameForm.MatchString(t.Name), "cluster.topics[%d].name: %q is not of lower-case letters, digits and dashes", i, t.Name)
		v.check(!seen[t.Name], "cluster.topics[%d].name: %q twice", i, t.Name)
		v.check(t.Partitions >= 1 && t.Partitions <= 10000, "cluster.topics[%d].partitions: %d is not between 1 and 10000", i, t.Partitions)
		v.check(t.Replication >= 1 && int(t.Replication) <= c.Brokers, "cluster.topics[%d].replication: %d is not between 1 and the %d brokers", i, t.Replication, c.Brokers)
		seen[t.Name] = true
	}
}

func (c Cluster) has(name string) bool {
	return slices.ContainsFunc(c.Topics, func(t Topic) bool { return t.Name == name })
}

// Topic returns the topic of that name.
func (c Cluster) Topic(name string) (Topic, bool) {
	i := slices.IndexFunc(c.Topics, func(t Topic) bool { return t.Name == name })
	if i < 0 {
		return Topic{}, false
	}
	return c.Topics[i], true
}

// Equal tells whether two scenarios can share a cluster.
func (c Cluster) Equal(o Cluster) bool {
	return c.Brokers == o.Brokers && c.Flush == o.Flush && slices.Equal(c.Topics, o.Topics) && slices.Equal(c.Links, o.Links)
}

func (w Workload) validate(v *validator) {
	v.check(w.Rate >= 0 && w.Rate <= 1e6, "workload.rate: %v is not between 0 and 1000000", w.Rate)
	v.check(slices.Contains([]string{"", AcksAll, AcksLeader}, w.Acks), "workload.acks: %q: choose all or leader", w.Acks)
	v.check(w.Size >= 64 && w.Size <= 1<<20, "workload.size: %d is not between 64 and 1048576 bytes", w.Size)
}

type validator struct{ errs []error }

func (v *validator) check(ok bool, format string, args ...any) {
	if !ok {
		v.errs = append(v.errs, fmt.Errorf(format, args...))
	}
}

func (v *validator) positive(key string, d time.Duration) {
	v.check(d > 0, "%s: %v is not above 0", key, d)
}

func (v *validator) err() error { return errors.Join(v.errs...) }
