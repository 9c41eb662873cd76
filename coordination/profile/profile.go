// Package profile holds the timing settings under which coordination services are compared, where each comes from, and the
// formulas that say how long each service then takes to notice a dead process. It is data: no client, no network.
//
// A figure that compares services means nothing before their settings are said. There are three profiles:
//
//   - Matched, the headline: every service gets the same upper bound on detection, 2.5 s ± 10 %.
//   - Tuned: for each service the fastest settings that are safe on a LAN with SSDs.
//   - Default: as shipped, each constant with its source. It is never ranked: the defaults answer different questions.
//
// A variant is a profile with one thing changed, and is named for it: "tuned+peer" is tuned, with brokers that watch each
// other. A variant need not exist for every backend (Lookup then wraps ErrAbsent).
//
// Why 2.5 s and not a rounder number: etcd's leases last whole seconds and its lessor looks for expired ones every 500 ms
// (server/lease/lessor.go, runLoop), so its upper bounds are 1.5 s, 2.5 s, 3.5 s, …; the others can be set to the
// millisecond and so meet it there. Refused: 2.0 s, which etcd cannot have; 1.5 s, where one lost renewal of a one-second
// lease is a false failover on a busy host; comparing at the nearest settings each, which hides 0.5 s in the result.
package profile

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Backend names a coordination service as the scheme of its URL does.
type Backend string

const (
	Embedded  Backend = "embedded"
	Etcd      Backend = "etcd"
	ZooKeeper Backend = "zookeeper"
	Consul    Backend = "consul"
)

// Backends lists every backend, in the order in which reports show them.
func Backends() []Backend { return []Backend{Embedded, Etcd, ZooKeeper, Consul} }

// Name names a profile.
type Name string

const (
	Matched Name = "matched"
	Tuned   Name = "tuned"
	Default Name = "default"

	// Variants of Tuned.
	TunedPeer     Name = "tuned+peer"
	TunedGuardian Name = "tuned+guardian"
	TunedCheck    Name = "tuned+check"
)

// profiles is every profile and variant, in the order in which they are listed. Settings tells with false that there are
// none for that backend.
var profiles = []profileOf{
	{Matched, fmt.Sprintf("Every backend has the same upper bound of detection, %v ± %.0f %%.", MatchedBound, 100*MatchedTolerance), matched},
	{Tuned, "For each backend the fastest settings that are safe on a LAN with SSDs.", tuned},
	{Default, "As shipped. Not ranked: the defaults answer different questions.", shipped},
	{TunedPeer, "As tuned, and the brokers watch each other's connections and heartbeats and evict a dead one without waiting for its session.", tunedPeer},
	{TunedCheck, "As tuned, and a Consul session is kept by a TTL check at an agent beside each broker, not by a TTL of its own.", tunedCheck},
	{TunedGuardian, "As tuned, and beside each broker a guardian process that evicts it as soon as it has died.", tunedGuardian},
}

type profileOf struct {
	name     Name
	title    string
	settings func(Backend) (Profile, bool)
}

// Names lists every profile and variant.
func Names() []Name {
	var names []Name
	for _, p := range profiles {
		names = append(names, p.name)
	}
	return names
}

// Title says in a sentence what a profile is; empty for an unknown one.
func (n Name) Title() string {
	for _, p := range profiles {
		if p.name == n {
			return p.title
		}
	}
	return ""
}

// The matched profile's upper detection bound, and how far a backend may be from it.
const (
	MatchedBound     = 2500 * time.Millisecond
	MatchedTolerance = 0.10
)

// Profile is one backend's settings. Exactly one of the server settings is set: Etcd (for Embedded too, which runs etcd's
// server inside the broker), ZooKeeper or Consul.
type Profile struct {
	Backend Backend
	Name    Name

	// Session is what the client asks for: an etcd lease's TTL, a ZooKeeper session timeout, a Consul session's TTL
	// (Consul itself waits for twice as long). The client renews it every Renew.
	Session time.Duration
	Renew   time.Duration

	// Request bounds one try of one request to the service. It is the same for every backend of a profile: a request in
	// flight to a dying server is lost, and waiting for it longer on one service than on another would show as its failover.
	// 0 leaves it to the backend.
	Request time.Duration

	Etcd      *EtcdSettings
	ZooKeeper *ZooKeeperSettings
	Consul    *ConsulSettings

	// Detector is what the brokers add to the service's own detection.
	Detector DetectorSettings

	// Constants says where each value comes from, for the report.
	Constants []Constant
}

// Constant is a setting, its value as the service spells it, and its source.
type Constant struct {
	Setting, Value, Source string
}

// EtcdSettings are flags of an etcd member.
type EtcdSettings struct {
	Heartbeat time.Duration // --heartbeat-interval
	Election  time.Duration // --election-timeout, at least 5 × Heartbeat
}

// MinTTL is the shortest lease that the member grants: ⌈1.5 × election timeout⌉ in whole seconds (etcdserver/server.go,
// minTTL). A shorter wish is lengthened, silently.
func (s EtcdSettings) MinTTL() time.Duration {
	shortest := s.Election * 3 / 2
	return (shortest + time.Second - 1).Truncate(time.Second)
}

// ZooKeeperSettings are lines of zoo.cfg.
type ZooKeeperSettings struct {
	Tick       time.Duration // tickTime
	InitLimit  int           // ticks that a follower may take to connect and sync
	SyncLimit  int           // ticks that a follower may be silent
	MinSession time.Duration // minSessionTimeout: a shorter wish is lengthened, silently
	MaxSession time.Duration // maxSessionTimeout: a longer wish is cut, silently
	MaxClients int           // maxClientCnxns, connections from one address; 0 is no limit
}

// ConsulSettings are keys of a server's configuration, and the lock-delay that the client asks for.
type ConsulSettings struct {
	RaftMultiplier     int           // performance.raft_multiplier; × 1 s heartbeat and election timeout
	SessionTTLMin      time.Duration // session_ttl_min: a shorter wish is refused
	MaxConns           int           // limits.http_max_conns_per_client
	CleanupDeadServers bool          // autopilot.cleanup_dead_servers
	LockDelay          time.Duration // of a session: how long a lock stays closed after its holder was lost

	// Check, when set, stands in place of Profile.Session: the TTL of a check at an agent beside each broker, to which the session is bound.
	Check  time.Duration
	Gossip GossipSettings // of servers and agents; zero: as shipped
}

// Window bounds the time from a process's death (or its SIGSTOP) until the service removes what it had registered.
type Window struct {
	Lower, Upper time.Duration
}

func (w Window) String() string { return fmt.Sprintf("[%v, %v]", w.Lower, w.Upper) }

// Detection computes the window from the settings, the service's own leader being well. The last renewal that reached the
// service has an age between 0 and Renew when the process dies; so, with S the session and k the renewal interval:
//
//	etcd, embedded  S − age + U(0, 500 ms)          = [S − k, S + 500 ms]      the lessor looks every 500 ms
//	ZooKeeper       (S, S + tick] − age + tick/2    = [S − k, S + 1.5 tick]    expiry in buckets of a tick; a touch through a
//	                                                                           follower reaches the leader tick/2 later. (The Go
//	                                                                           client's own pings, every S/3, are suppressed.)
//	Consul          2S − age + lock-delay           = [2S − k, 2S] + lock-delay  a timer of exactly 2 × TTL
//	Consul, check   C − age + U(0, 50 ms)           = [C − k, C + 50 ms] + lock-delay  C the check's TTL; then the agent's report to the
//	                                                                           servers, 15 ms in the median
//
// If the service's leader dies as well, its recovery and a full, restarted session come on top.
func (p Profile) Detection() Window {
	switch {
	case p.ZooKeeper != nil:
		return Window{
			Lower: p.Session - p.Renew,
			Upper: p.Session + p.ZooKeeper.Tick*3/2,
		}
	case p.Consul != nil && p.Consul.Check > 0:
		return Window{
			Lower: p.Consul.Check - p.Renew + p.Consul.LockDelay,
			Upper: p.Consul.Check + checkReport + p.Consul.LockDelay,
		}
	case p.Consul != nil:
		life := 2*p.Session + p.Consul.LockDelay
		return Window{Lower: life - p.Renew, Upper: life}
	default:
		return Window{Lower: p.Session - p.Renew, Upper: p.Session + etcdRevokeInterval}
	}
}

// GossipSettings are keys of gossip_lan.
type GossipSettings struct {
	ProbeInterval, ProbeTimeout, Interval time.Duration
	SuspicionMult                         int
}

// checkReport bounds an agent's report to the servers that a check is critical: measured, 15 ms in the median on loopback.
const checkReport = 50 * time.Millisecond

// etcdRevokeInterval is the pause of the lessor's loop: time.NewTicker(500 * time.Millisecond) in server/lease/lessor.go,
// runLoop, as of etcd 3.7.3. It is not a setting.
const etcdRevokeInterval = 500 * time.Millisecond

const requestLimit = 300 * time.Millisecond

// ErrAbsent is wrapped when a backend has no settings under a profile that exists. The caller leaves that cell out, and says so.
var ErrAbsent = errors.New("no such settings")

// Lookup returns a backend's settings under a profile.
func Lookup(b Backend, n Name) (Profile, error) {
	i := slices.Index(Names(), n)
	if i < 0 {
		return Profile{}, fmt.Errorf("unknown profile %q: choose from %v", n, Names())
	}
	if !slices.Contains(Backends(), b) {
		return Profile{}, fmt.Errorf("unknown backend %q: choose from %v", b, Backends())
	}
	p, ok := profiles[i].settings(b)
	if !ok {
		return Profile{}, fmt.Errorf("profile %s of %s: %w", n, b, ErrAbsent)
	}
	p.Backend, p.Name = b, n
	if n != Default {
		p.Request = requestLimit
		p.Constants = append(p.Constants, Constant{"request", "300 ms", "one try of a request, the same for every backend"})
	}
	return p, nil
}
