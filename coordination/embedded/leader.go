package embedded

import "go.etcd.io/etcd/server/v3/etcdserver"

// reportLeaders tells, until the server stops, which broker's member leads the ensemble: at first if one does, then at each election that this member learns of. A
// loss of the leader is not told; that the next one is elected is.
func (c Config) reportLeaders(s *etcdserver.EtcdServer) {
	for {
		changed := s.LeaderChangedNotify()
		if leader := s.Cluster().Member(s.Leader()); leader != nil {
			for _, p := range c.Members() {
				if p.name() == leader.Name {
					c.OnLeader(p.ID)
				}
			}
		}
		select {
		case <-changed:
		case <-s.StoppingNotify():
			return
		}
	}
}
