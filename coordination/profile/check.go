package profile

import "fmt"

// tunedCheck is Consul's only: a session that a TTL check keeps.
func tunedCheck(b Backend) (Profile, bool) {
	if b != Consul {
		return Profile{}, false
	}
	server := quickConsul()
	server.Check = 400 * ms
	server.Gossip = GossipSettings{ProbeInterval: 100 * ms, ProbeTimeout: 50 * ms, Interval: 20 * ms, SuspicionMult: 2}
	return Profile{
		// No part of the URL: a bound that callers compare with.
		Session: server.Check, Renew: 100 * ms,
		Consul: server,
		Constants: []Constant{
			{"check TTL", "400 ms", measuredSafe + "; 300 ms is the least that was tried"},
			{"checks of the session", "its own, serfHealth", "a check dies with its agent, which says nothing then; gossip finds the agent dead"},
			{"gossip_lan", "probe 100 ms, timeout 50 ms, suspicion 2, interval 20 ms", "a dead agent is found in 0.33 to 0.40 s; as shipped in 6.2 s"},
			{"lock-delay", "1 ns", "the Go client cannot send 0, which means the default of 15 s"},
			{"raft_multiplier", "1", "the lowest that the server takes"},
			{"renewal", "100 ms", "a quarter of the check's TTL"},
		},
	}, true
}

// NeedsAgents says whether each broker needs a Consul agent of its own.
func (p Profile) NeedsAgents() bool { return p.Consul != nil && p.Consul.Check > 0 }

// config renders gossip_lan; nil leaves it as shipped.
func (g GossipSettings) config() map[string]any {
	if g == (GossipSettings{}) {
		return nil
	}
	return map[string]any{
		"probe_interval": g.ProbeInterval.String(), "probe_timeout": g.ProbeTimeout.String(),
		"gossip_interval": g.Interval.String(), "suspicion_mult": g.SuspicionMult,
	}
}

// AgentName names the agent of broker i, counted from 0.
func AgentName(i int) string { return fmt.Sprintf("agent-%d", i+1) }
