package scenario

import (
	"slices"
	"strings"
	"time"
)

// Actions of a fault.
const (
	Kill      = "kill"      // SIGKILL
	Stop      = "stop"      // SIGTERM: a graceful stop
	Pause     = "pause"     // SIGSTOP, then SIGCONT
	Rolling   = "rolling"   // each broker stopped and started in turn, with a healthy cluster awaited between
	Cut       = "cut"       // connections are reset and refused
	Blackhole = "blackhole" // connections stay open and nothing passes
	Delay     = "delay"     // what passes is late
	Rate      = "rate"      // what passes is slow
	Starve    = "starve"    // other processes take the CPU
)

// Roles are resolved when a trial begins.
const (
	Controller = "controller" // the controller broker
	Leader     = "leader"     // a broker that leads probed partitions, is not the controller and hosts no coordination leader
	Follower   = "follower"   // a broker that follows probed partitions, is not the controller and hosts no coordination leader

	Coordination         = "coordination"          // the whole coordination service, for links
	CoordinationLeader   = "coordination-leader"   // the member that leads it; of the embedded service the broker that hosts it
	CoordinationFollower = "coordination-follower" // a member that does not
	CoordinationQuorum   = "coordination-quorum"   // so many members, the leader first, that no majority is left
)

// Links that can be disturbed.
const (
	BrokerCoordination = "broker-coordination"
	BrokerBroker       = "broker-broker"
	ClientBroker       = "client-broker"
)

// Directions of bytes on a link, as the target of the fault sees them.
const (
	Both = "both"
	To   = "to"   // towards the target
	From = "from" // from the target
)

// When a fault ends that has no length.
const (
	Recovered = "recovered" // the probes succeed again and the survivors have noticed
	Healed    = "healed"    // after the observation, when the cluster is made whole
)

// Fault is one disturbance. Those of a scenario may overlap.
type Fault struct {
	Action string `yaml:"action" json:"action,omitempty"`
	Role   string `yaml:"role" json:"role,omitempty"`

	Link      string `yaml:"link" json:"link,omitempty"`
	Direction string `yaml:"direction" json:"direction,omitempty"` // both when empty

	After time.Duration `yaml:"after" json:"after,omitempty"` // since the first fault took effect
	For   time.Duration `yaml:"for" json:"for,omitempty"`     // its length; 0: see Ends
	Until string        `yaml:"until" json:"until,omitempty"`

	Delay  time.Duration `yaml:"delay" json:"delay,omitempty"`   // of one direction
	Jitter time.Duration `yaml:"jitter" json:"jitter,omitempty"` // up to so much more
	Rate   int           `yaml:"rate" json:"rate,omitempty"`     // bytes per second and connection, each direction

	Burners int `yaml:"burners" json:"burners,omitempty"` // processes that take all the CPU they get
	Nice    int `yaml:"nice" json:"nice,omitempty"`       // of the burners; 0: they compete with the brokers as equals
}

// OnLink tells whether the fault is one of links.
func (f Fault) OnLink() bool { return slices.Contains([]string{Cut, Blackhole, Delay, Rate}, f.Action) }

// OnBroker tells whether a broker has the fault's role, whatever the coordination service is.
func (f Fault) OnBroker() bool {
	return slices.Contains([]string{Controller, Leader, Follower}, f.Role)
}

// OnCoordination tells whether the coordination service has the fault's role.
func (f Fault) OnCoordination() bool { return strings.HasPrefix(f.Role, Coordination) }

// Ends says when a fault without a length ends; empty for one that has a length or an end of its own.
func (f Fault) Ends() string {
	switch {
	case f.For > 0 || f.Action == Rolling:
		return ""
	case f.Until != "":
		return f.Until
	case f.Action == Kill || f.Action == Stop:
		return Healed
	}
	return Recovered
}

// MainIndex is the index of the fault whose effect is the zero of all durations: the first that hits a broker by its role, or else the first.
func (s Scenario) MainIndex() int { return max(slices.IndexFunc(s.Faults, Fault.OnBroker), 0) }

// Main is the fault at MainIndex; the zero value without faults.
func (s Scenario) Main() Fault {
	if len(s.Faults) == 0 {
		return Fault{}
	}
	return s.Faults[s.MainIndex()]
}

// Outlives tells whether the main fault leaves its victim running, so that what it still believes to lead can be asked for.
func (s Scenario) Outlives() bool {
	f := s.Main()
	return f.OnBroker() && (f.Action == Pause || f.OnLink() && f.Link == BrokerCoordination)
}

// Replaces tells whether others must have the victim's roles before the main fault ends.
func (s Scenario) Replaces() bool {
	f := s.Main()
	return f.OnBroker() && f.Ends() != ""
}

// Length is how long the faults last that have a length.
func (s Scenario) Length() time.Duration {
	var longest time.Duration
	for _, f := range s.Faults {
		longest = max(longest, f.After+f.For)
	}
	return longest
}

// links are the kinds of links that the faults need.
func links(faults []Fault) []string {
	var list []string
	for _, f := range faults {
		if f.Link != "" {
			list = append(list, f.Link)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// HeadlineClass is the outage class whose figure is the scenario's: control for a controller fault, led or followed for one of a partition's replicas, data (every
// probed partition) where no broker was aimed at.
func (s Scenario) HeadlineClass() string {
	switch {
	case s.Kind != Failover:
		return ""
	case s.Main().Role == Controller:
		return "control"
	case s.Main().Role == Leader:
		return "led"
	case s.Main().Role == Follower:
		return "followed"
	default:
		return "data"
	}
}
