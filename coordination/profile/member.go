package profile

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Server is one member's place in an ensemble.
type Server struct {
	Host string // under which the other members and the clients reach it
	Bind string // the address it listens on; Host when empty
	Dir  string // its data directory, absolute, as its own process sees it

	Client int // the clients' port: etcd's and Consul's HTTP, ZooKeeper's own protocol
	Peer   int // between members: etcd's peer port, ZooKeeper's quorum port, Consul's server port
	Side   int // ZooKeeper's election port, Consul's Serf port; etcd has none
}

// Endpoint is the address that clients are given.
func (s Server) Endpoint() string { return hostPort(s.Host, s.Client) }

func (s Server) bind() string {
	if s.Bind != "" {
		return s.Bind
	}
	return s.Host
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// MemberName names member i, counted from 0, in its own configuration: etcd-1, zookeeper-1, consul-1.
func MemberName(b Backend, i int) string { return fmt.Sprintf("%s-%d", b, i+1) }

// Command is how to run one member: arguments after the program, and the files that it reads, which lie in its Dir.
type Command struct {
	Args  []string
	Files []File
}

// File is a file under a member's Dir.
type File struct {
	Name string
	Data string
}

// Member renders the command of ensemble[i].
func Member(p Profile, ensemble []Server, i int) (Command, error) {
	if i < 0 || i >= len(ensemble) {
		return Command{}, fmt.Errorf("render member %d of %d: no such member", i+1, len(ensemble))
	}
	switch p.Backend {
	case Etcd:
		return EtcdMember(p, ensemble, i)
	case ZooKeeper:
		return ZooKeeperMember(p, ensemble, i)
	case Consul:
		return ConsulMember(p, ensemble, i)
	}
	return Command{}, fmt.Errorf("render member %d: backend %q has no servers of its own", i+1, p.Backend)
}

var errNoSettings = errors.New("the profile has no settings for this server")

// EtcdMember renders an etcd member with a static initial cluster.
func EtcdMember(p Profile, ensemble []Server, i int) (Command, error) {
	if p.Etcd == nil {
		return Command{}, fmt.Errorf("render etcd member %d: %w", i+1, errNoSettings)
	}
	self := ensemble[i]
	cluster := make([]string, len(ensemble))
	for j, s := range ensemble {
		cluster[j] = MemberName(Etcd, j) + "=http://" + hostPort(s.Host, s.Peer)
	}
	return Command{Args: []string{
		"--name=" + MemberName(Etcd, i),
		"--data-dir=" + self.Dir + "/data",
		"--listen-client-urls=http://" + hostPort(self.bind(), self.Client),
		"--advertise-client-urls=http://" + self.Endpoint(),
		"--listen-peer-urls=http://" + hostPort(self.bind(), self.Peer),
		"--initial-advertise-peer-urls=http://" + hostPort(self.Host, self.Peer),
		"--initial-cluster=" + strings.Join(cluster, ","),
		"--initial-cluster-state=new",
		"--heartbeat-interval=" + millis(p.Etcd.Heartbeat),
		"--election-timeout=" + millis(p.Etcd.Election),
		// History that no one reads would grow the store over a long run, and with it every fsync.
		"--auto-compaction-mode=revision",
		"--auto-compaction-retention=10000",
		"--log-level=info",
	}}, nil
}

// ZooKeeperMember renders a ZooKeeper server: arguments for java after its class path, zoo.cfg, myid, and a log set-up
// (without one, logback writes every packet at debug level).
func ZooKeeperMember(p Profile, ensemble []Server, i int) (Command, error) {
	if p.ZooKeeper == nil {
		return Command{}, fmt.Errorf("render ZooKeeper member %d: %w", i+1, errNoSettings)
	}
	self := ensemble[i]
	config := append(zooKeeperConfig(*p.ZooKeeper),
		"dataDir="+self.Dir+"/data",
		"clientPort="+strconv.Itoa(self.Client),
		"clientPortAddress="+self.bind(),
	)
	for j, s := range ensemble {
		config = append(config, fmt.Sprintf("server.%d=%s:%d:%d", j+1, s.Host, s.Peer, s.Side))
	}
	return Command{
		Args: []string{
			"-Xms64m", "-Xmx512m",
			"-Dlogback.configurationFile=" + self.Dir + "/logback.xml",
			"org.apache.zookeeper.server.quorum.QuorumPeerMain",
			self.Dir + "/zoo.cfg",
		},
		Files: []File{
			{Name: "zoo.cfg", Data: strings.Join(config, "\n") + "\n"},
			{Name: "data/myid", Data: strconv.Itoa(i+1) + "\n"},
			{Name: "logback.xml", Data: logback},
		},
	}, nil
}

func zooKeeperConfig(s ZooKeeperSettings) []string {
	return []string{
		"tickTime=" + millis(s.Tick),
		"initLimit=" + strconv.Itoa(s.InitLimit),
		"syncLimit=" + strconv.Itoa(s.SyncLimit),
		"minSessionTimeout=" + millis(s.MinSession),
		"maxSessionTimeout=" + millis(s.MaxSession),
		"maxClientCnxns=" + strconv.Itoa(s.MaxClients),
		"admin.enableServer=false",
		"4lw.commands.whitelist=*",
	}
}

const logback = `<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{ISO8601} %-5level %logger{0} - %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="OUT"/></root>
</configuration>
`

// ConsulMember renders a Consul server agent: its arguments and its JSON configuration.
func ConsulMember(p Profile, ensemble []Server, i int) (Command, error) {
	return consulMember(p, ensemble, i, Security{})
}

func consulMember(p Profile, ensemble []Server, i int, security Security) (Command, error) {
	if p.Consul == nil {
		return Command{}, fmt.Errorf("render Consul member %d: %w", i+1, errNoSettings)
	}
	self := ensemble[i]
	var others []string
	for j, s := range ensemble {
		if j != i {
			others = append(others, hostPort(s.Host, s.Side))
		}
	}
	config := consulConfig(p, self, MemberName(Consul, i), others, security)
	config["server"] = true
	config["bootstrap_expect"] = len(ensemble)
	config["performance"] = map[string]any{"raft_multiplier": p.Consul.RaftMultiplier}
	config["session_ttl_min"] = duration(p.Consul.SessionTTLMin)
	config["autopilot"] = map[string]any{"cleanup_dead_servers": p.Consul.CleanupDeadServers}
	config["ports"].(map[string]any)["server"] = self.Peer
	return consulCommand(self, config)
}

// ConsulAgent renders a Consul client agent of its own name beside the servers. It has a Client and a Side port.
func ConsulAgent(p Profile, servers []Server, name string, self Server, security Security) (Command, error) {
	if p.Consul == nil {
		return Command{}, fmt.Errorf("render Consul agent %s: %w", name, errNoSettings)
	}
	var join []string
	for _, s := range servers {
		join = append(join, hostPort(s.Host, s.Side))
	}
	return consulCommand(self, consulConfig(p, self, name, join, security))
}

// consulConfig is what servers and client agents have in common.
func consulConfig(p Profile, self Server, name string, join []string, security Security) map[string]any {
	config := map[string]any{
		"node_name":            name,
		"data_dir":             self.Dir + "/data",
		"bind_addr":            self.bind(),
		"client_addr":          self.bind(),
		"retry_join":           join,
		"retry_interval":       "500ms", // of joining at the start; the shipped 30 s would only delay every trial
		"limits":               map[string]any{"http_max_conns_per_client": p.Consul.MaxConns},
		"connect":              map[string]any{"enabled": false},
		"disable_update_check": true,
		"leave_on_terminate":   false,
		"ports": map[string]any{
			"http": self.Client, "serf_lan": self.Side,
			"serf_wan": -1, "dns": -1, "grpc": -1, "grpc_tls": -1,
		},
	}
	if gossip := p.Consul.Gossip.config(); gossip != nil {
		config["gossip_lan"] = gossip
	}
	// Consul advertises addresses, not names; under a name it finds its own private address.
	if self.bind() != self.Host && net.ParseIP(self.Host) != nil {
		config["advertise_addr"] = self.Host
	}
	secureConsul(config, self, security)
	return config
}

func consulCommand(self Server, config map[string]any) (Command, error) {
	data, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return Command{}, fmt.Errorf("render the configuration of %s: %w", config["node_name"], err)
	}
	return Command{
		Args:  []string{"agent", "-config-file=" + self.Dir + "/consul.json"},
		Files: []File{{Name: "consul.json", Data: string(data) + "\n"}},
	}, nil
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// duration spells whole seconds as seconds and the rest as milliseconds, so that files and URLs read as they were meant.
func duration(d time.Duration) string {
	switch {
	case d%time.Second == 0:
		return strconv.FormatInt(int64(d/time.Second), 10) + "s"
	case d%time.Millisecond == 0:
		return millis(d) + "ms"
	}
	return d.String()
}
