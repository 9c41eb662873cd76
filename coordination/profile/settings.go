package profile

import "time"

const (
	ms = time.Millisecond

	ours         = "chosen here, see the package comment"
	measuredSafe = "fastest that gave no false losses on loaded loopback ensembles"
)

func matched(b Backend) (Profile, bool) {
	switch b {
	case Embedded, Etcd:
		return Profile{
			Session: 2 * time.Second, Renew: 500 * ms,
			Etcd: &EtcdSettings{Heartbeat: 50 * ms, Election: 500 * ms},
			Constants: []Constant{
				{"lease TTL", "2 s", ours + ": 2 s + 500 ms of the lessor's loop"},
				{"heartbeat-interval", "50 ms", "etcd tuning guide: about the round trip between members, with room for fsync"},
				{"election-timeout", "500 ms", "etcd tuning guide: 10 × the heartbeat"},
				{"renewal", "500 ms", "a quarter of the TTL: three may be lost"},
			},
		}, true
	case ZooKeeper:
		return Profile{
			Session: 2200 * ms, Renew: 500 * ms,
			ZooKeeper: quickZooKeeper(),
			Constants: []Constant{
				{"session timeout", "2200 ms", ours + ": 2.2 s + 1.5 ticks"},
				{"tickTime", "200 ms", measuredSafe},
				{"initLimit", "100", "20 s of ticks, as shipped (10 × 2 s)"},
				{"syncLimit", "5", "zoo_sample.cfg"},
				{"renewal", "500 ms", "as for the other backends"},
			},
		}, true
	case Consul:
		return Profile{
			Session: 1250 * ms, Renew: 500 * ms,
			Consul: quickConsul(),
			Constants: []Constant{
				{"session TTL", "1250 ms", ours + ": the server waits for twice the TTL"},
				{"session_ttl_min", "100 ms", "below the TTL; the shipped 10 s would refuse it"},
				{"lock-delay", "1 ns", "the Go client cannot send 0, which means the default of 15 s"},
				{"raft_multiplier", "1", "Consul's server performance guide, for production"},
				{"renewal", "500 ms", "as for the other backends"},
			},
		}, true
	}
	return Profile{}, false
}

func tuned(b Backend) (Profile, bool) {
	switch b {
	case Embedded, Etcd:
		return Profile{
			Session: time.Second, Renew: 250 * ms,
			Etcd: &EtcdSettings{Heartbeat: 20 * ms, Election: 200 * ms},
			Constants: []Constant{
				{"lease TTL", "1 s", "etcd's shortest: whole seconds"},
				{"heartbeat-interval", "20 ms", measuredSafe},
				{"election-timeout", "200 ms", "10 × the heartbeat; a 1 s lease needs at most 666 ms"},
				{"renewal", "250 ms", "a quarter of the TTL"},
			},
		}, true
	case ZooKeeper:
		return Profile{
			Session: 800 * ms, Renew: 200 * ms,
			ZooKeeper: quickZooKeeper(),
			Constants: []Constant{
				{"session timeout", "800 ms", measuredSafe + "; 300 ms gave some in 1 round of 3"},
				{"tickTime", "200 ms", measuredSafe},
				{"syncLimit", "5", "zoo_sample.cfg"},
				{"renewal", "200 ms", "a quarter of the session timeout"},
			},
		}, true
	case Consul:
		return Profile{
			Session: time.Second, Renew: 250 * ms,
			Consul: quickConsul(),
			Constants: []Constant{
				{"session TTL", "1 s", measuredSafe},
				{"session_ttl_min", "100 ms", "below the TTL"},
				{"lock-delay", "1 ns", "the Go client cannot send 0, which means the default of 15 s"},
				{"raft_multiplier", "1", "the lowest that the server takes"},
				{"renewal", "250 ms", "a quarter of the TTL"},
			},
		}, true
	}
	return Profile{}, false
}

// shipped is what a user gets who sets nothing.
func shipped(b Backend) (Profile, bool) {
	switch b {
	case Embedded:
		p, ok := matched(b)
		p.Constants = append([]Constant{{"all", "as matched", "embedded ships with this project, with these settings"}}, p.Constants...)
		return p, ok
	case Etcd:
		return Profile{
			Session: 60 * time.Second, Renew: 20 * time.Second,
			Etcd: &EtcdSettings{Heartbeat: 100 * ms, Election: time.Second},
			Constants: []Constant{
				{"lease TTL", "60 s", "client/v3/concurrency/session.go, defaultSessionTTL: the server ships none"},
				{"heartbeat-interval", "100 ms", "server/embed/config.go, NewConfig, TickMs"},
				{"election-timeout", "1000 ms", "server/embed/config.go, NewConfig, ElectionMs"},
				{"renewal", "20 s", "client/v3/lease.go, keep-alive every TTL/3"},
			},
		}, true
	case ZooKeeper:
		return Profile{
			Session: 18 * time.Second, Renew: 6 * time.Second,
			ZooKeeper: &ZooKeeperSettings{
				Tick: 2 * time.Second, InitLimit: 10, SyncLimit: 5,
				MinSession: 4 * time.Second, MaxSession: 40 * time.Second, MaxClients: 60,
			},
			Constants: []Constant{
				{"session timeout", "18 s", "Apache Kafka's zookeeper.session.timeout.ms (KIP-537): ZooKeeper ships none"},
				{"tickTime", "2000 ms", "zoo_sample.cfg"},
				{"initLimit", "10", "zoo_sample.cfg"},
				{"syncLimit", "5", "zoo_sample.cfg"},
				{"minSessionTimeout", "4 s", "QuorumPeerConfig: 2 × tickTime"},
				{"maxSessionTimeout", "40 s", "QuorumPeerConfig: 20 × tickTime"},
				{"maxClientCnxns", "60", "ServerCnxnFactory"},
				{"renewal", "6 s", "the client's ping, a third of the session timeout"},
			},
		}, true
	case Consul:
		return Profile{
			Session: 15 * time.Second, Renew: 7500 * ms,
			Consul: &ConsulSettings{
				RaftMultiplier: 5, SessionTTLMin: 10 * time.Second, MaxConns: 200,
				CleanupDeadServers: true, LockDelay: 15 * time.Second,
			},
			Constants: []Constant{
				{"session TTL", "15 s", "api/lock.go, DefaultLockSessionTTL: the server ships none"},
				{"session_ttl_min", "10 s", "agent/consul/config.go, SessionTTLMin"},
				{"lock-delay", "15 s", "agent/session_endpoint.go, SessionCreate"},
				{"raft_multiplier", "5", "agent/consul/config.go, DefaultRaftMultiplier"},
				{"http_max_conns_per_client", "200", "agent/config/default.go"},
				{"cleanup_dead_servers", "true", "agent/config/default.go"},
				{"renewal", "7.5 s", "api/session.go, RenewPeriodic: TTL/2"},
			},
		}, true
	}
	return Profile{}, false
}

// quickZooKeeper is the server under both profiles of ours: the session timeout alone differs. A tick of 100 ms detects
// sooner, but a follower that is 500 ms late is then dropped.
func quickZooKeeper() *ZooKeeperSettings {
	return &ZooKeeperSettings{
		Tick: 200 * ms, InitLimit: 100, SyncLimit: 5,
		MinSession: 200 * ms, MaxSession: 60 * time.Second,
	}
}

// quickConsul keeps dead servers in the Raft configuration: with autopilot's clean-up a killed server comes back as a
// non-voter for 10 s, and the next kill in that window takes the quorum.
func quickConsul() *ConsulSettings {
	return &ConsulSettings{
		RaftMultiplier: 1, SessionTTLMin: 100 * ms, MaxConns: 2000,
		LockDelay: time.Nanosecond,
	}
}
