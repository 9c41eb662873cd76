package profile

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func lookup(t *testing.T, b Backend, n Name) Profile {
	t.Helper()
	p, err := Lookup(b, n)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestMatchedUpperBoundsAreEqual(t *testing.T) {
	slack := time.Duration(float64(MatchedBound) * MatchedTolerance)
	for _, b := range Backends() {
		upper := lookup(t, b, Matched).Detection().Upper
		if (upper - MatchedBound).Abs() > slack {
			t.Errorf("%s: matched upper bound %v, want %v ± %v", b, upper, MatchedBound, slack)
		}
	}
}

func TestDetectionFormulas(t *testing.T) {
	for _, test := range []struct {
		backend Backend
		name    Name
		want    string
	}{
		{Embedded, Matched, "[1.5s, 2.5s]"},
		{Etcd, Matched, "[1.5s, 2.5s]"},
		{ZooKeeper, Matched, "[1.7s, 2.5s]"},
		{Consul, Matched, "[2.000000001s, 2.500000001s]"},
		{Etcd, Tuned, "[750ms, 1.5s]"},
		{ZooKeeper, Tuned, "[600ms, 1.1s]"},
		{Consul, Tuned, "[1.750000001s, 2.000000001s]"},
		{Consul, TunedCheck, "[300.000001ms, 450.000001ms]"},
		{Etcd, Default, "[40s, 1m0.5s]"},
		{ZooKeeper, Default, "[12s, 21s]"},
		{Consul, Default, "[37.5s, 45s]"},
	} {
		if got := lookup(t, test.backend, test.name).Detection().String(); got != test.want {
			t.Errorf("%s %s: Detection() = %s, want %s", test.backend, test.name, got, test.want)
		}
	}
}

// Each service changes or refuses a wish that its settings do not allow, most of them silently: the bound would then lie.
func TestServersGrantTheSession(t *testing.T) {
	for _, b := range Backends() {
		for _, n := range Names() {
			p, err := Lookup(b, n)
			if errors.Is(err, ErrAbsent) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if p.Renew <= 0 || p.Renew*2 > p.Session {
				t.Errorf("%s %s: renewal every %v leaves no second try within a session of %v", b, n, p.Renew, p.Session)
			}
			if len(p.Constants) == 0 {
				t.Errorf("%s %s: no sources", b, n)
			}
			settings := 0
			if s := p.Etcd; s != nil {
				settings++
				if p.Session%time.Second != 0 || p.Session < s.MinTTL() {
					t.Errorf("%s %s: lease of %v, want whole seconds, at least %v", b, n, p.Session, s.MinTTL())
				}
				if s.Election < 5*s.Heartbeat {
					t.Errorf("%s %s: election %v, heartbeat %v: etcd refuses less than 5 ×", b, n, s.Election, s.Heartbeat)
				}
			}
			if s := p.ZooKeeper; s != nil {
				settings++
				if p.Session < s.MinSession || p.Session > s.MaxSession {
					t.Errorf("%s %s: session of %v is clamped to [%v, %v]", b, n, p.Session, s.MinSession, s.MaxSession)
				}
			}
			if s := p.Consul; s != nil {
				settings++
				if p.Session < s.SessionTTLMin || p.Session > 24*time.Hour {
					t.Errorf("%s %s: session of %v is refused below %v", b, n, p.Session, s.SessionTTLMin)
				}
				if s.LockDelay <= 0 {
					t.Errorf("%s %s: a lock-delay of %v means 15 s", b, n, s.LockDelay)
				}
			}
			if settings != 1 {
				t.Errorf("%s %s: %d server settings, want 1", b, n, settings)
			}
		}
	}
}

func TestLookupRefusesStrangers(t *testing.T) {
	if _, err := Lookup("raftd", Matched); err == nil || !strings.Contains(err.Error(), "raftd") {
		t.Errorf("Lookup of an unknown backend = %v", err)
	}
	if _, err := Lookup(Etcd, "fast"); err == nil || !strings.Contains(err.Error(), "fast") {
		t.Errorf("Lookup of an unknown profile = %v", err)
	}
}

func threeServers() []Server {
	var servers []Server
	for i := range 3 {
		servers = append(servers, Server{
			Host: "127.0.0.1", Dir: "/data/" + string(rune('a'+i)),
			Client: 1000 + i, Peer: 2000 + i, Side: 3000 + i,
		})
	}
	return servers
}

func TestEtcdMember(t *testing.T) {
	c, err := EtcdMember(lookup(t, Etcd, Matched), threeServers(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"--name=etcd-2", "--data-dir=/data/b/data", "--heartbeat-interval=50", "--election-timeout=500",
		"--listen-client-urls=http://127.0.0.1:1001", "--listen-peer-urls=http://127.0.0.1:2001",
		"--initial-cluster=etcd-1=http://127.0.0.1:2000,etcd-2=http://127.0.0.1:2001,etcd-3=http://127.0.0.1:2002",
	} {
		if !slices.Contains(c.Args, want) {
			t.Errorf("EtcdMember: no %s in %q", want, c.Args)
		}
	}
}

func TestZooKeeperMember(t *testing.T) {
	c, err := ZooKeeperMember(lookup(t, ZooKeeper, Matched), threeServers(), 2)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for _, f := range c.Files {
		files[f.Name] = f.Data
	}
	if files["data/myid"] != "3\n" {
		t.Errorf("myid = %q, want 3", files["data/myid"])
	}
	lines := strings.Split(files["zoo.cfg"], "\n")
	for _, want := range []string{
		"tickTime=200", "syncLimit=5", "minSessionTimeout=200", "dataDir=/data/c/data",
		"clientPort=1002", "clientPortAddress=127.0.0.1", "server.1=127.0.0.1:2000:3000", "server.3=127.0.0.1:2002:3002",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("ZooKeeperMember: no %s in zoo.cfg:\n%s", want, files["zoo.cfg"])
		}
	}
}

func TestConsulMember(t *testing.T) {
	servers := threeServers()
	servers[0].Bind = "0.0.0.0"
	c, err := ConsulMember(lookup(t, Consul, Matched), servers, 0)
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		BootstrapExpect int      `json:"bootstrap_expect"`
		RetryJoin       []string `json:"retry_join"`
		TTLMin          string   `json:"session_ttl_min"`
		Advertise       string   `json:"advertise_addr"`
		Performance     struct {
			Multiplier int `json:"raft_multiplier"`
		}
		Ports map[string]int
	}
	if err := json.Unmarshal([]byte(c.Files[0].Data), &config); err != nil {
		t.Fatal(err)
	}
	if config.BootstrapExpect != 3 || config.TTLMin != "100ms" || config.Performance.Multiplier != 1 ||
		config.Advertise != "127.0.0.1" || config.Ports["serf_lan"] != 3000 || config.Ports["dns"] != -1 ||
		!slices.Equal(config.RetryJoin, []string{"127.0.0.1:3001", "127.0.0.1:3002"}) {
		t.Errorf("ConsulMember = %+v\nfrom %s", config, c.Files[0].Data)
	}
}

func TestMemberRefusesTheWrongSettings(t *testing.T) {
	if _, err := Member(lookup(t, Embedded, Matched), threeServers(), 0); err == nil {
		t.Error("Member of embedded gave no error")
	}
	if _, err := Member(lookup(t, Etcd, Matched), threeServers(), 3); err == nil {
		t.Error("Member 4 of 3 gave no error")
	}
	if _, err := ConsulMember(lookup(t, Etcd, Matched), threeServers(), 0); err == nil {
		t.Error("ConsulMember of etcd's profile gave no error")
	}
}

func TestCoordinationURL(t *testing.T) {
	for _, test := range []struct {
		backend   Backend
		endpoints []string
		want      string
	}{
		{Etcd, []string{"127.0.0.1:1", "127.0.0.1:2"}, "etcd://127.0.0.1:1,127.0.0.1:2/cluster-a?session=2s&renew=500ms&request=300ms"},
		{ZooKeeper, []string{"h:1"}, "zookeeper://h:1/cluster-a?session=2200ms&renew=500ms&request=300ms&tick=200ms"},
		{Consul, []string{"h:1"}, "consul://h:1/cluster-a?session=1250ms&renew=500ms&request=300ms&lock-delay=1ns"},
		{Embedded, []string{"1@h:1:2", "2@h:3:4"}, "embedded:?peers=1@h:1:2,2@h:3:4&session=2s&renew=500ms&request=300ms&heartbeat=50ms&election=500ms"},
	} {
		p := lookup(t, test.backend, Matched)
		got, err := CoordinationURL(p, test.endpoints, "/cluster-a/")
		if err != nil || got != test.want {
			t.Errorf("CoordinationURL = %q, %v; want %q", got, err, test.want)
		}
		u, err := url.Parse(got)
		if err != nil {
			t.Errorf("%s: %v", got, err)
			continue
		}
		if session, err := time.ParseDuration(u.Query().Get("session")); err != nil || session != p.Session {
			t.Errorf("%s: session reads back as %v (%v), want %v", got, session, err, p.Session)
		}
	}
	if _, err := CoordinationURL(lookup(t, Etcd, Matched), nil, "x"); err == nil {
		t.Error("CoordinationURL without endpoints gave no error")
	}
}

// What a detector adds is bounded by its own settings, never by more than the session, and a frozen process has no guardian's help.
func TestDetectionByFault(t *testing.T) {
	for _, test := range []struct {
		backend              Backend
		name                 Name
		killed, unresponsive string
	}{
		{Etcd, Tuned, "[750ms, 1.5s]", "[750ms, 1.5s]"},
		{Etcd, TunedPeer, "[0s, 400ms]", "[750ms, 1.3s]"},
		{ZooKeeper, TunedPeer, "[0s, 400ms]", "[600ms, 1.1s]"},
		{Consul, TunedPeer, "[0s, 400ms]", "[900ms, 1.3s]"},
		{Consul, TunedGuardian, "[0s, 300ms]", "[1.750000001s, 2.000000001s]"},
		{Embedded, TunedGuardian, "[0s, 300ms]", "[750ms, 1.5s]"},
	} {
		p := lookup(t, test.backend, test.name)
		if got := p.DetectionOf(Killed).String(); got != test.killed {
			t.Errorf("%s %s: killed %s, want %s", test.backend, test.name, got, test.killed)
		}
		if got := p.DetectionOf(Unresponsive).String(); got != test.unresponsive {
			t.Errorf("%s %s: unresponsive %s, want %s", test.backend, test.name, got, test.unresponsive)
		}
		if p.Name.Title() == "" {
			t.Errorf("%s has no title", p.Name)
		}
	}
}

func TestLookupOfAnAbsentVariant(t *testing.T) {
	profiles = append(profiles, profileOf{"only-etcd", "For this test.", func(b Backend) (Profile, bool) { p, ok := tuned(b); return p, ok && b == Etcd }})
	defer func() { profiles = profiles[:len(profiles)-1] }()
	if _, err := Lookup(Etcd, "only-etcd"); err != nil {
		t.Errorf("Lookup of the one backend = %v", err)
	}
	if _, err := Lookup(Consul, "only-etcd"); !errors.Is(err, ErrAbsent) {
		t.Errorf("Lookup of another backend = %v, want ErrAbsent", err)
	}
}
