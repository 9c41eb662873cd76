package run

import (
	"time"

	"github.com/regency-project/regency/bench/plan"
	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/coordination/profile"
)

// What the scenarios do not say, in the medians of published runs (2 cores): the announced time is made of these and of the scenarios' phases.
const (
	readyEmbedded  = 500 * time.Millisecond // brokers up, topics made, all ISRs full
	readyEtcd      = 1700 * time.Millisecond
	readyConsul    = 1800 * time.Millisecond
	readyZooKeeper = 3600 * time.Millisecond
	readyPartition = 2 * time.Millisecond   // more for each partition of the cluster
	readBackCost   = 2 * time.Second        // everything read back and compared, and the cluster closed
	settleCost     = 600 * time.Millisecond // until the clients have worked off what the fault before held up
	failoverCost   = 200 * time.Millisecond // detection → the probes succeed again
	leastFailover  = 600 * time.Millisecond // however quick detection is: the trial waits for enough probes
	temptCost      = 650 * time.Millisecond // a victim that lives on is asked for what it led
	restartCost    = 1200 * time.Millisecond
	rollCost       = 4 * time.Second // one broker of a rolling restart: stopped, started, healthy
	costOfProbes   = 4 * costSpell   // once a run
	// hostsLeaderShare: so many trials more does a fault of the controller need on the embedded backend, where the controller's broker may host the
	// coordination leader: such a trial goes to a cell of its own.
	hostsLeaderShare = 0.4
)

// estimator says how long a plan will take.
type estimator struct{ scenarios map[string]scenario.Scenario }

func newEstimator(list []scenario.Scenario) estimator {
	e := estimator{scenarios: make(map[string]scenario.Scenario)}
	for _, s := range list {
		e.scenarios[s.Name] = s
	}
	return e
}

// plan is the time of all blocks.
func (e estimator) plan(p plan.Plan) time.Duration {
	total := time.Duration(0)
	probed := false
	for _, b := range p.Blocks {
		total += e.block(b)
		probed = probed || e.warmup(b) > 0
	}
	if probed {
		total += costOfProbes
	}
	return total
}

// block is the time of one block with its trials.
func (e estimator) block(b plan.Block) time.Duration {
	d := e.overhead(b)
	for _, item := range b.Items {
		d += e.item(b, item)
	}
	return d
}

// overhead is what a block costs beside its trials.
func (e estimator) overhead(b plan.Block) time.Duration {
	ready := map[string]time.Duration{
		string(profile.Embedded): readyEmbedded, string(profile.Etcd): readyEtcd, string(profile.Consul): readyConsul, string(profile.ZooKeeper): readyZooKeeper,
	}[b.Backend]
	return ready + time.Duration(partitions(b.Cluster))*readyPartition + e.warmup(b) + readBackCost
}

// warmup is how long a block's clients run before its first failover.
func (e estimator) warmup(b plan.Block) time.Duration {
	for _, item := range b.Items {
		if s := e.scenarios[item.Scenario]; s.Kind == scenario.Failover {
			return s.Phases.Warmup
		}
	}
	return 0
}

// item is the time of one trial, healing included.
func (e estimator) item(b plan.Block, item plan.Item) time.Duration {
	s := e.scenarios[item.Scenario]
	if s.Kind == scenario.Throughput {
		return s.Phases.Steady + s.Phases.Round
	}
	d := settleCost + s.Phases.Steady + s.Phases.Jitter/2 + e.impact(b, s) + s.Phases.Recovery
	if s.Outlives() {
		d += temptCost
	}
	for _, f := range s.Faults {
		if f.Action == scenario.Kill || f.Action == scenario.Stop {
			d += restartCost
			break
		}
	}
	if item.Counted && b.Backend == string(profile.Embedded) && s.Main().Role == scenario.Controller {
		d += time.Duration(hostsLeaderShare * float64(d))
	}
	return d
}

// impact is from the first fault's effect until everything is available again.
func (e estimator) impact(b plan.Block, s scenario.Scenario) time.Duration {
	longest := time.Duration(0)
	for _, f := range s.Faults {
		longest = max(longest, f.After+f.For+failoverCost)
		if f.Action == scenario.Rolling {
			longest = max(longest, f.After+time.Duration(s.Cluster.Brokers)*rollCost)
		}
	}
	detected := leastFailover
	if f := s.Main(); f.OnBroker() && f.Action != scenario.Stop { // one that is stopped says so itself
		if p, err := profile.Lookup(profile.Backend(b.Backend), profile.Name(b.Profile)); err == nil {
			w := p.DetectionOf(kindOf(f))
			detected = max(detected, (w.Lower+w.Upper)/2)
		}
	}
	return max(longest, detected+failoverCost)
}

// kindOf says how a fault looks to a detector.
func kindOf(f scenario.Fault) profile.Fault {
	if f.Action == scenario.Kill {
		return profile.Killed
	}
	return profile.Unresponsive
}

func partitions(c scenario.Cluster) int {
	n := 0
	for _, t := range c.Topics {
		n += int(t.Partitions)
	}
	return n
}

// Saturated producers write at most this much on two cores, by bytes and by records: for the space that is needed, where too much is the safe side.
const (
	mostBytesPerS   = 250 << 20
	mostRecordsPerS = 200_000
	clusterSpace    = 256 << 20 // of an idle cluster, with its logs
	trialSpace      = 64 << 10  // of the compressed timeline
)

// disk is the space that the plan needs at its peak: clusters are removed one after another, results stay.
func (e estimator) disk(p plan.Plan) int64 {
	most := int64(0)
	for _, b := range p.Blocks {
		n := int64(clusterSpace)
		for _, item := range b.Items {
			s := e.scenarios[item.Scenario]
			seconds := e.item(b, item).Seconds()
			rate, topic := s.Workload.Rate*float64(len(s.Workload.Clients)), scenario.TopicLoad
			if s.Kind == scenario.Throughput {
				rate, topic = min(mostRecordsPerS, mostBytesPerS/float64(s.Workload.Size)), scenario.TopicThroughput
			}
			t, _ := s.Cluster.Topic(topic)
			n += int64(seconds * rate * float64(s.Workload.Size) * float64(t.Replication))
		}
		most = max(most, n)
	}
	return most + int64(p.Trials())*trialSpace
}

// files is how many descriptors one process of the plan needs at most.
func (e estimator) files(p plan.Plan) int {
	const perReplica, others = 4, 512 // a log's files; connections, the coordination store
	most := 0
	for _, b := range p.Blocks {
		replicas := 0
		for _, t := range b.Cluster.Topics {
			replicas += int(t.Partitions) * int(t.Replication)
		}
		// While one broker is down the others lead for it, but hold no more replicas than before.
		most = max(most, perReplica*replicas/max(b.Cluster.Brokers, 1)+others)
	}
	return most
}
