package target

import (
	"bufio"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/bench/fault"
	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/coordination/profile"
)

// member answers every request header with its name.
func member(t *testing.T, name string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for lines := bufio.NewScanner(c); lines.Scan(); {
					if lines.Text() == "" {
						fmt.Fprintln(c, name)
					}
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// ask sends a request as an ensemble member does that is reached at from.
func ask(t *testing.T, addr, from string) (string, error) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /raft/stream HTTP/1.1\r\nHost: x\r\n")
	if from != "" {
		fmt.Fprintf(c, "X-Peerurls: %s,http://elsewhere:1\r\n", from)
	}
	fmt.Fprint(c, "\r\n")
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line), err
}

func TestSorterTellsMembersApart(t *testing.T) {
	s, err := newSorter("127.0.0.1:0", member(t, "direct"), map[string]string{"http://a:1": member(t, "by a's link"), "http://b:1": member(t, "by b's link")})
	if err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]string{"http://a:1": "by a's link", "http://b:1": "by b's link", "http://c:1": "direct", "": "direct"} {
		if got, err := ask(t, s.listener.Addr().String(), from); err != nil || got != want {
			t.Errorf("from %q: %q, %v; want %q", from, got, err, want)
		}
	}
	open, err := net.Dial("tcp", s.listener.Addr().String()) // says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestLinksOfABroker: which of them a fault is on, and who dials.
func TestLinksOfABroker(t *testing.T) {
	if err := CheckLinks([]string{scenario.BrokerBroker, scenario.BrokerCoordination}, profile.Embedded, profile.Matched, 4); err != nil {
		unlessLinux(t, err)
	}
	l := &Local{mesh: mesh{kinds: []string{scenario.BrokerBroker, scenario.ClientBroker}, clients: map[int32]*fault.Wire{}}}
	defer l.mesh.close()
	for id := int32(1); id <= 4; id++ {
		if _, err := l.mesh.client(id, member(t, "client")); err != nil {
			t.Fatal(err)
		}
		if _, source, err := l.mesh.peer(id, member(t, "peer"), 4); err != nil || source != sourceOf(id) {
			t.Fatalf("source %s, %v", source, err)
		}
	}
	if got := len(l.BrokerLegs(scenario.ClientBroker, 2)); got != 1 {
		t.Errorf("%d links to clients, want 1", got)
	}
	legs := l.BrokerLegs(scenario.BrokerBroker, 2)
	out := 0
	for _, leg := range legs {
		if leg.Out {
			out++
		}
	}
	if len(legs) != 6 || out != 3 {
		t.Errorf("%d links to brokers, %d of them dialled by it; want 6 and 3", len(legs), out)
	}
	if got := l.BrokerLegs(scenario.BrokerCoordination, 2); len(got) != 0 {
		t.Errorf("%d links to a service that has none", len(got))
	}
}

// TestEmbeddedPeersAgree: all members are given the same peer addresses, by which the ensemble knows itself, and links of their own to the others.
func TestEmbeddedPeersAgree(t *testing.T) {
	if err := CheckLinks([]string{scenario.BrokerCoordination}, profile.Embedded, profile.Matched, 4); err != nil {
		unlessLinux(t, err)
	}
	m := mesh{kinds: []string{scenario.BrokerCoordination}, clients: map[int32]*fault.Wire{}}
	defer m.close()
	var members []embeddedMember
	for id := int32(1); id <= 3; id++ {
		ports := [2]int{}
		for i := range ports {
			_, port, _ := net.SplitHostPort(member(t, "member"))
			fmt.Sscan(port, &ports[i])
		}
		members = append(members, embeddedMember{id, ports[0], ports[1]})
	}
	if err := m.sortMembers(members); err != nil {
		t.Fatal(err)
	}
	peers := map[string]bool{}
	for id := int32(1); id <= 4; id++ {
		list, err := m.embeddedPeers(id, members)
		if err != nil {
			t.Fatal(err)
		}
		var plain []string
		for part := range strings.SplitSeq(list, ",") {
			plain = append(plain, part[:strings.LastIndex(part, ":")])
		}
		peers[strings.Join(plain, ",")] = true
	}
	if len(peers) != 1 {
		t.Errorf("brokers are given different peers: %v", peers)
	}
	l := &Local{mesh: m, hosts: members}
	for id, want := range map[int32]int{1: 2 + 2 + 2 + 1 + 2, 4: 3} { // peers out and in, clients out, in from the others and from broker 4
		if got := len(l.BrokerLegs(scenario.BrokerCoordination, id)); got != want {
			t.Errorf("broker %d has %d links to the service, want %d", id, got, want)
		}
	}
}

func TestLinksOfAgentsAreRefused(t *testing.T) {
	for _, name := range profile.Names() {
		p, err := profile.Lookup(profile.Consul, name)
		if err != nil || !p.NeedsAgents() {
			continue
		}
		err = CheckLinks([]string{scenario.BrokerCoordination}, profile.Consul, name, 4)
		if err == nil || !strings.Contains(err.Error(), string(name)) {
			t.Errorf("profile %s: error = %v", name, err)
		}
	}
}

// unlessLinux skips where the host has not the addresses that tell links apart. Every Linux has them.
func unlessLinux(t *testing.T, err error) {
	t.Helper()
	if runtime.GOOS == "linux" {
		t.Fatal(err)
	}
	t.Skip(err)
}
