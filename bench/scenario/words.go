package scenario

import (
	"fmt"
	"strings"
)

var roleWords = map[string]string{
	Controller: "the controller broker", Leader: "a broker that leads partitions", Follower: "a broker that follows partitions",
	Coordination: "the coordination service", CoordinationLeader: "the coordination leader", CoordinationFollower: "a coordination follower",
	CoordinationQuorum: "as many coordination members as make the majority, the leader first",
}

var linkWords = map[string]string{
	BrokerCoordination: "the coordination service", BrokerBroker: "the other brokers", ClientBroker: "its clients",
}

// FaultText says the faults in words.
func (s Scenario) FaultText() string {
	var parts []string
	for _, f := range s.Faults {
		text := f.text()
		if f.After > 0 {
			text = fmt.Sprintf("after %v %s", f.After, text)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

func (f Fault) text() string {
	who := roleWords[f.Role]
	length := ""
	if f.For > 0 {
		length = fmt.Sprintf(" for %v", f.For)
	}
	switch f.Action {
	case Kill:
		return "SIGKILL of " + who + back(f)
	case Stop:
		return "SIGTERM of " + who + back(f)
	case Pause:
		if f.For > 0 {
			return "SIGSTOP of " + who + length + ", then SIGCONT"
		}
		return "SIGSTOP of " + who + " until its successor serves, then SIGCONT"
	case Rolling:
		return "each broker in turn stopped by SIGTERM and started again once the cluster was healthy"
	case Starve:
		return fmt.Sprintf("%d processes of niceness %d that take all the CPU they get%s", f.Burners, f.Nice, length)
	}
	return f.linkText(who) + length
}

func back(f Fault) string {
	if f.For > 0 {
		return fmt.Sprintf(", started again after %v", f.For)
	}
	return ""
}

func (f Fault) linkText(who string) string {
	peer := linkWords[f.Link]
	if f.Link == BrokerCoordination && !f.OnBroker() {
		peer = "all brokers"
	}
	which := "links between " + who + " and " + peer
	switch f.Direction {
	case To:
		which = "what " + peer + " send to " + who
		if f.Link == BrokerCoordination && f.OnBroker() {
			which = "what " + peer + " sends to " + who
		}
	case From:
		which = "what " + who + " sends to " + peer
	}
	switch f.Action {
	case Cut:
		return which + ": cut, connections are reset and refused"
	case Blackhole:
		return which + ": lost, connections stay open and nothing passes"
	case Delay:
		return fmt.Sprintf("%s: delayed by %v and up to %v more", which, f.Delay, f.Jitter)
	}
	return fmt.Sprintf("%s: limited to %d bytes a second on each connection", which, f.Rate)
}
