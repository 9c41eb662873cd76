package api

// clientKeys are the requests about the cluster and about groups.
func (b *Broker) clientKeys() []Key {
	return []Key{
		{Num: 3, Min: 0, Max: 11, Handle: b.metadata},
		{Num: 8, Min: 2, Max: 8, Handle: b.offsetCommit},
		{Num: 9, Min: 1, Max: 7, Handle: b.offsetFetch},
		{Num: 10, Min: 0, Max: 3, Handle: b.findCoordinator},
		{Num: 11, Min: 0, Max: 7, Handle: b.joinGroup},
		{Num: 12, Min: 0, Max: 4, Handle: b.heartbeat},
		{Num: 13, Min: 0, Max: 4, Handle: b.leaveGroup},
		{Num: 14, Min: 0, Max: 5, Handle: b.syncGroup},
		{Num: 15, Min: 0, Max: 5, Handle: b.describeGroups},
		{Num: 16, Min: 0, Max: 4, Handle: b.listGroups},
		{Num: 18, Min: 0, Max: maxApiVersions, Handle: b.apiVersions},
		{Num: 32, Min: 0, Max: 4, Handle: b.describeConfigs},
		{Num: 42, Min: 0, Max: 2, Handle: b.deleteGroups},
		{Num: 47, Min: 0, Max: 0, Handle: b.offsetDelete},
		{Num: 60, Min: 0, Max: 0, Handle: b.describeCluster},
	}
}
