package profile

import (
	"fmt"
	"strings"
)

// CoordinationURL renders what `regency broker --coordination` takes, with the client's half of the profile in it:
//
//	etcd://127.0.0.1:2379,127.0.0.1:2380/cluster-a?session=2s&renew=500ms&request=300ms
//	zookeeper://127.0.0.1:2181/cluster-a?session=2200ms&renew=500ms&request=300ms&tick=200ms
//	consul://127.0.0.1:8500/cluster-a?session=1250ms&renew=500ms&request=300ms&lock-delay=1ns
//	consul://127.0.0.1:8600,127.0.0.1:8500/cluster-a?check=400ms&renew=100ms&request=300ms&lock-delay=1ns   the broker's agent first
//	embedded:?peers=1@127.0.0.1:9095:9096,2@127.0.0.1:9097:9098&session=2s&renew=500ms&request=300ms&heartbeat=50ms&election=500ms
//
// Endpoints are host:port; for Embedded id@host:port:clientport, and the prefix is unused there, since its store has one
// cluster.
func CoordinationURL(p Profile, endpoints []string, prefix string) (string, error) {
	if len(endpoints) == 0 {
		return "", fmt.Errorf("render the %s URL: no endpoints", p.Backend)
	}
	session := "session=" + duration(p.Session) + "&renew=" + duration(p.Renew)
	if p.NeedsAgents() {
		session = "check=" + duration(p.Consul.Check) + "&renew=" + duration(p.Renew)
	}
	if p.Request > 0 {
		session += "&request=" + duration(p.Request)
	}
	list := strings.Join(endpoints, ",")
	switch p.Backend {
	case Embedded:
		if p.Etcd == nil {
			return "", fmt.Errorf("render the embedded URL: %w", errNoSettings)
		}
		return fmt.Sprintf("embedded:?peers=%s&%s&heartbeat=%s&election=%s",
			list, session, duration(p.Etcd.Heartbeat), duration(p.Etcd.Election)), nil
	case Etcd, ZooKeeper, Consul:
	default:
		return "", fmt.Errorf("render the URL of backend %q: choose from %v", p.Backend, Backends())
	}
	if p.ZooKeeper != nil { // what the client can prove about its session depends on the servers' tick
		session += "&tick=" + duration(p.ZooKeeper.Tick)
	}
	if p.Consul != nil {
		session += "&lock-delay=" + duration(p.Consul.LockDelay)
	}
	return fmt.Sprintf("%s://%s/%s?%s", p.Backend, list, strings.Trim(prefix, "/"), session), nil
}
