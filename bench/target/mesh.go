package target

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/regency-project/regency/bench/fault"
	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/coordination/link"
	"github.com/regency-project/regency/coordination/profile"
)

// Sources of connections that must be told apart: each broker dials its peers from an address of its own, and embedded members are reached at one of their own.
func sourceOf(id int32) string { return fmt.Sprintf("127.0.0.%d", 100+id) }
func memberOf(id int32) string { return fmt.Sprintf("127.0.1.%d", id) }

// CheckLinks refuses links that cannot be disturbed here: on this host, or under a profile of a backend.
func CheckLinks(kinds []string, b profile.Backend, name profile.Name, brokers int) error {
	var errs []error
	for _, kind := range kinds {
		var need []string
		for i := range brokers {
			switch {
			case kind == scenario.BrokerBroker:
				need = append(need, sourceOf(int32(i+1)))
			case kind == scenario.BrokerCoordination && b == profile.Embedded:
				need = append(need, memberOf(int32(i+1)))
			}
		}
		for _, a := range need {
			l, err := net.Listen("tcp", net.JoinHostPort(a, "0"))
			if err != nil {
				errs = append(errs, fmt.Errorf("faults on links %s of backend %s: connections are told apart by addresses as %s, which this host does not have: %w", kind, b, a, err))
				break
			}
			_ = l.Close()
		}
		if p, err := profile.Lookup(b, name); kind == scenario.BrokerCoordination && err == nil && p.NeedsAgents() {
			errs = append(errs, fmt.Errorf("faults on links %s: under profile %s the links of %s that matter are those of its agents, which speak UDP: leave the profile out", kind, name, b))
		}
	}
	return errors.Join(errs...)
}

// mesh is the proxies between the parties of a cluster: none for a kind of link that no fault is on.
type mesh struct {
	kinds   []string
	closers []interface{ Close() error }
	clients map[int32]*fault.Wire // by broker
	peers   []peerWire
	service []serviceWire
}

// peerWire is what broker from dials broker to on.
type peerWire struct {
	from, to int32
	wire     *fault.Wire
}

// serviceWire is what a broker dials a member on; members are counted from 0.
type serviceWire struct {
	broker int32
	member int
	wire   *fault.Wire
}

func (m *mesh) has(kind string) bool { return slices.Contains(m.kinds, kind) }

func (m *mesh) listen(target, address string) (*link.Link, error) {
	l, err := link.Listen(target, link.Options{Address: address})
	if err == nil {
		m.closers = append(m.closers, l)
	}
	return l, err
}

func (m *mesh) close() error {
	var errs []error
	for _, c := range slices.Backward(m.closers) {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// client returns where clients reach a broker that listens at addr.
func (m *mesh) client(id int32, addr string) (string, error) {
	if !m.has(scenario.ClientBroker) {
		return addr, nil
	}
	l, err := m.listen(addr, "")
	if err != nil {
		return "", err
	}
	m.clients[id] = fault.NewWire(l, netip.Addr{})
	return l.Addr(), nil
}

// peer returns where the other brokers reach a broker whose peer listener is at addr, and from where it dials them.
func (m *mesh) peer(id int32, addr string, brokers int) (advertise, source string, err error) {
	if !m.has(scenario.BrokerBroker) {
		return addr, "127.0.0.1", nil
	}
	l, err := m.listen(addr, "")
	if err != nil {
		return "", "", err
	}
	for i := range brokers {
		if from := int32(i + 1); from != id {
			m.peers = append(m.peers, peerWire{from, id, fault.NewWire(l, netip.MustParseAddr(sourceOf(from)))})
		}
	}
	return l.Addr(), sourceOf(id), nil
}

// endpoints returns where a broker reaches the members of a service that listen at addrs.
func (m *mesh) endpoints(id int32, addrs []string) ([]string, error) {
	var list []string
	for i, a := range addrs {
		l, err := m.listen(a, "")
		if err != nil {
			return nil, err
		}
		m.service = append(m.service, serviceWire{id, i, fault.NewWire(l, netip.Addr{})})
		list = append(list, l.Addr())
	}
	return list, nil
}

// embeddedPeers returns the peers as one broker is given them. All members are given the same addresses of each other's peer ports, by which the ensemble knows itself; a
// sorter there tells who dials. The client ports are this broker's own links.
func (m *mesh) embeddedPeers(id int32, members []embeddedMember) (string, error) {
	var list []string
	for j, to := range members {
		host := memberOf(to.id)
		listen := net.JoinHostPort(host, "0")
		if to.id == id { // its own member, which is never cut off from it
			listen = net.JoinHostPort(host, fmt.Sprint(to.client))
		}
		l, err := m.listen(addr(to.client), listen)
		if err != nil {
			return "", err
		}
		if to.id != id {
			m.service = append(m.service, serviceWire{id, j, fault.NewWire(l, netip.Addr{})})
		}
		_, port, _ := net.SplitHostPort(l.Addr())
		list = append(list, fmt.Sprintf("%d@%s:%d:%s", to.id, host, to.peer, port))
	}
	return strings.Join(list, ","), nil
}

// embeddedMember is a broker that hosts a member, and its ports.
type embeddedMember struct {
	id           int32
	peer, client int
}

// sortMembers puts a sorter before each member's peer port.
func (m *mesh) sortMembers(members []embeddedMember) error {
	for j, to := range members {
		pairs := make(map[string]string)
		for _, from := range members {
			if from.id == to.id {
				continue
			}
			l, err := m.listen(addr(to.peer), "")
			if err != nil {
				return err
			}
			m.service = append(m.service, serviceWire{from.id, j, fault.NewWire(l, netip.Addr{})})
			pairs[fmt.Sprintf("http://%s:%d", memberOf(from.id), from.peer)] = l.Addr()
		}
		s, err := newSorter(fmt.Sprintf("%s:%d", memberOf(to.id), to.peer), addr(to.peer), pairs)
		if err != nil {
			return err
		}
		m.closers = append(m.closers, s)
	}
	return nil
}
