package embedded

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/regency-project/regency/coordination/backend/options"
	"github.com/regency-project/regency/coordination/etcd"
)

// Defaults of Config's zero values: a LAN with SSDs.
const (
	DefaultHeartbeat = 50 * time.Millisecond
	DefaultElection  = 500 * time.Millisecond
)

// Peer is one broker of the cluster, and where its member of the ensemble listens if it has one.
type Peer struct {
	ID         int32
	Host       string
	PeerPort   int // between members
	ClientPort int // for the brokers
}

func (p Peer) peerAddress() string   { return net.JoinHostPort(p.Host, strconv.Itoa(p.PeerPort)) }
func (p Peer) clientAddress() string { return net.JoinHostPort(p.Host, strconv.Itoa(p.ClientPort)) }
func (p Peer) name() string          { return "broker-" + strconv.Itoa(int(p.ID)) }

// Config says which brokers there are and which of them this process is.
type Config struct {
	// ID is this broker. If it is one of Members, this process runs that member; otherwise it is a client of all of them.
	ID int32
	// DataDir is the broker's data directory; the member keeps its log in the directory "coordination" in it. Only members need it.
	DataDir string
	// Joined: the data directory has belonged to a cluster before. Such a member never founds one, even if it has lost its own log: what it forgot
	// (votes, entries) may be the only other copy of what a majority needs. It waits for the others instead, and joins them as a learner.
	Joined bool
	// Peers are listed in the same order by every broker: the first 1, 3 or 5 are the members. The list of members is fixed at the first start.
	Peers []Peer
	// Listen is the IP address that a member binds. Empty: its host if that is an IP address or localhost, else all addresses.
	Listen string

	// Heartbeat and Election are raft's; the election timeout is at least 5 heartbeats. 0: DefaultHeartbeat and DefaultElection.
	Heartbeat, Election time.Duration
	// Session is at least 1.5 election timeouts, in whole seconds. This and the following are as in package etcd.
	Session, Renew, Request time.Duration
	Prefix                  string
	// TLS secures the links between members, too: each certificate serves as server's and as client's.
	TLS options.TLS

	// OnLeader, when set, is called by a member with the broker whose member leads the ensemble: once it knows one, and after each election. It must return soon.
	OnLeader func(broker int32)
}

func (c Config) withDefaults() Config {
	if c.Heartbeat == 0 {
		c.Heartbeat = DefaultHeartbeat
	}
	if c.Election == 0 {
		c.Election = DefaultElection
	}
	if c.Session == 0 {
		c.Session = max(etcd.DefaultSession, c.minSession())
	}
	return c
}

// minSession is the shortest lease that the members grant: minTTL in etcdserver/server.go.
func (c Config) minSession() time.Duration {
	return (c.Election*3/2 + time.Second - 1).Truncate(time.Second)
}

// Members are the peers that form the ensemble: the first 5, 3 or 1.
func (c Config) Members() []Peer {
	switch n := len(c.Peers); {
	case n >= 5:
		return c.Peers[:5]
	case n >= 3:
		return c.Peers[:3]
	default:
		return c.Peers[:min(n, 1)]
	}
}

func (c Config) self() (Peer, bool) {
	for _, p := range c.Members() {
		if p.ID == c.ID {
			return p, true
		}
	}
	return Peer{}, false
}

// Client is the configuration of the brokers' side; the broker's own member is asked first.
func (c Config) Client() etcd.Config {
	e := etcd.Config{Prefix: c.Prefix, Session: c.Session, Renew: c.Renew, Request: c.Request, TLS: c.TLS}
	self, _ := c.self()
	for _, m := range c.Members() {
		if m == self {
			e.Hosts = append([]string{m.clientAddress()}, e.Hosts...)
		} else {
			e.Hosts = append(e.Hosts, m.clientAddress())
		}
	}
	return e
}

// Validate names every faulty field.
func (c Config) Validate() error {
	var errs []error
	if len(c.Peers) == 0 {
		return errors.New("peers: none given; write peers=1@host:port,2@host:port,3@host:port")
	}
	ids, addresses := map[int32]bool{}, map[string]bool{}
	for _, p := range c.Peers {
		if p.ID < 0 || ids[p.ID] {
			errs = append(errs, fmt.Errorf("peers: id %d is negative or given twice", p.ID))
		}
		ids[p.ID] = true
		for _, port := range []int{p.PeerPort, p.ClientPort} {
			if p.Host == "" || port < 1 || port > 65535 {
				errs = append(errs, fmt.Errorf("peers: %d@%s: host %q or port %d is unusable", p.ID, p.peerAddress(), p.Host, port))
				continue
			}
			a := net.JoinHostPort(p.Host, strconv.Itoa(port))
			if addresses[a] {
				errs = append(errs, fmt.Errorf("peers: %s is used twice; each member needs two ports: its own, and the next one or the one named after it, for clients", a))
			}
			addresses[a] = true
		}
	}
	c = c.withDefaults()
	if c.Heartbeat < 5*time.Millisecond || c.Election < 5*c.Heartbeat || c.Election > 50*time.Second {
		errs = append(errs, fmt.Errorf("heartbeat %v, election %v: want a heartbeat of at least 5ms and an election timeout of 5 heartbeats to 50s", c.Heartbeat, c.Election))
	}
	if c.Session < c.minSession() {
		errs = append(errs, fmt.Errorf("session: %v is below %v, 1.5 election timeouts in whole seconds", c.Session, c.minSession()))
	}
	if _, member := c.self(); member && c.DataDir == "" {
		errs = append(errs, fmt.Errorf("data directory: broker %d is a member and needs one", c.ID))
	}
	if _, member := c.self(); member && c.TLS.Enabled() && c.TLS.Cert == "" {
		errs = append(errs, fmt.Errorf("cert, key: missing: broker %d is a member, and serves with them", c.ID))
	}
	if c.Listen != "" && net.ParseIP(c.Listen) == nil {
		errs = append(errs, fmt.Errorf("listen: %q is not an IP address", c.Listen))
	}
	return errors.Join(append(errs, c.Client().Validate())...)
}

// ParseURL reads
//
//	embedded:?peers=1@host:port,2@host:port:clientport,…&session=2s&renew=500ms&request=300ms&heartbeat=50ms&election=500ms&prefix=NAME&listen=IP&ca=FILE&cert=FILE&key=FILE
//
// Only peers is required. A peer's first port is for the other members, the second for clients; without a second it is the next higher one. The
// URL is the same for all brokers: the caller adds ID and DataDir, then Open validates the whole. Errors name the part of the URL.
func ParseURL(u *url.URL) (Config, error) {
	r := options.Read(u, "embedded")
	c := Config{ID: -1}
	if u.Host != "" || u.Opaque != "" || r.Path() != "" {
		r.Fail(errors.New("only a query is accepted: embedded:?peers=1@host:port,…"))
	}
	var peers string
	r.Text("peers", &peers)
	if peers != "" {
		var err error
		c.Peers, err = parsePeers(peers)
		r.Fail(err)
	}
	for key, into := range map[string]*time.Duration{
		"session": &c.Session, "renew": &c.Renew, "request": &c.Request, "heartbeat": &c.Heartbeat, "election": &c.Election,
	} {
		r.Duration(key, into)
	}
	r.Text("prefix", &c.Prefix)
	r.Text("listen", &c.Listen)
	r.TLS(&c.TLS)
	r.Fail(c.Validate())
	if err := r.Err(); err != nil {
		return Config{}, err
	}
	return c, nil
}

func parsePeers(list string) ([]Peer, error) {
	var peers []Peer
	var errs []error
	for s := range strings.SplitSeq(list, ",") {
		p, err := parsePeer(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("peers: %q: %w", s, err))
		}
		peers = append(peers, p)
	}
	return peers, errors.Join(errs...)
}

// parsePeer reads id@host:port or id@host:port:clientport; an IPv6 host is in brackets.
func parsePeer(s string) (Peer, error) {
	id, address, ok := strings.Cut(s, "@")
	n, err := strconv.ParseInt(id, 10, 32)
	if !ok || err != nil {
		return Peer{}, errors.New("want id@host:port, with a number as id")
	}
	p := Peer{ID: int32(n)}
	ports := ""
	if rest, v6 := strings.CutPrefix(address, "["); v6 {
		p.Host, ports, ok = strings.Cut(rest, "]:")
	} else {
		p.Host, ports, ok = strings.Cut(address, ":")
	}
	if !ok || p.Host == "" {
		return p, errors.New("want id@host:port")
	}
	first, second, named := strings.Cut(ports, ":")
	if p.PeerPort, err = strconv.Atoi(first); err != nil {
		return p, fmt.Errorf("port %q is not a number", first)
	}
	p.ClientPort = p.PeerPort + 1
	if named {
		if p.ClientPort, err = strconv.Atoi(second); err != nil {
			return p, fmt.Errorf("client port %q is not a number", second)
		}
	}
	return p, nil
}
