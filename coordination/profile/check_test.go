package profile

import (
	"encoding/json"
	"errors"
	"testing"
	"time"
)

func TestCheckIsConsulsOnly(t *testing.T) {
	for _, b := range Backends() {
		p, err := Lookup(b, TunedCheck)
		if b != Consul {
			if !errors.Is(err, ErrAbsent) {
				t.Errorf("Lookup(%s, %s) = %v, want ErrAbsent", b, TunedCheck, err)
			}
			continue
		}
		if err != nil || !p.NeedsAgents() {
			t.Errorf("Lookup(%s, %s): needs agents %v, %v", b, TunedCheck, p.NeedsAgents(), err)
		}
		got, err := CoordinationURL(p, []string{"h:1", "h:2"}, "a")
		if want := "consul://h:1,h:2/a?check=400ms&renew=100ms&request=300ms&lock-delay=1ns"; err != nil || got != want {
			t.Errorf("CoordinationURL() = %s, %v, want %s", got, err, want)
		}
	}
}

// TestAgentsAndServersGossipAlike: an agent that probes at another pace is found dead by the slower of them.
func TestAgentsAndServersGossipAlike(t *testing.T) {
	p := lookup(t, Consul, TunedCheck)
	servers := []Server{{Host: "127.0.0.1", Dir: "/s", Client: 1, Peer: 2, Side: 3}}
	server, err := Member(p, servers, 0)
	if err != nil {
		t.Fatal(err)
	}
	agent, err := ConsulAgent(p, servers, AgentName(0), Server{Host: "127.0.0.1", Dir: "/a", Client: 4, Side: 5}, Security{})
	if err != nil {
		t.Fatal(err)
	}
	type config struct {
		Server bool           `json:"server"`
		Join   []string       `json:"retry_join"`
		Gossip map[string]any `json:"gossip_lan"`
		Ports  map[string]int `json:"ports"`
	}
	var s, a config
	for data, into := range map[string]*config{server.Files[0].Data: &s, agent.Files[0].Data: &a} {
		if err := json.Unmarshal([]byte(data), into); err != nil {
			t.Fatal(err)
		}
	}
	if !s.Server || a.Server || len(a.Join) != 1 || a.Join[0] != "127.0.0.1:3" || a.Ports["http"] != 4 || a.Ports["serf_lan"] != 5 {
		t.Errorf("server %+v, agent %+v", s, a)
	}
	for _, c := range []config{s, a} {
		d, err := time.ParseDuration(c.Gossip["probe_interval"].(string))
		if err != nil || d != 100*time.Millisecond || c.Gossip["suspicion_mult"] != 2.0 {
			t.Errorf("gossip_lan = %v, %v", c.Gossip, err)
		}
	}
}

func TestSecuredMemberRefuses(t *testing.T) {
	servers := []Server{{Host: "127.0.0.1", Dir: "/s", Client: 1, Peer: 2, Side: 3}}
	for _, c := range []struct {
		backend Backend
		s       Security
	}{
		{Etcd, Security{ManagementToken: "t"}},
		{Etcd, Security{Cert: "c"}},
		{ZooKeeper, Security{Cert: "c", Key: "k"}},
		{ZooKeeper, Security{CA: "ca", Cert: "/absent", Key: "/absent"}},
	} {
		if _, err := SecuredMember(lookup(t, c.backend, Tuned), servers, 0, c.s); err == nil {
			t.Errorf("SecuredMember(%s, %+v) gave no error", c.backend, c.s)
		}
	}
}
