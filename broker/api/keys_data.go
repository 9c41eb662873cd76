package api

// dataKeys are the requests about records. Replicas fetch by newer versions than clients: with topic ids and broker epochs.
func (b *Broker) dataKeys() []Key {
	return []Key{
		{Num: 0, Min: 0, Max: 10, ServeMin: 3, Handle: b.produce},
		{Num: 1, Min: 4, Max: 12, Handle: b.fetch},
		{Num: 1, Min: 4, Max: 16, Handle: b.fetch, PeerOnly: true},
		{Num: 2, Min: 1, Max: 6, Handle: b.listOffsets},
		{Num: 21, Min: 0, Max: 2, Handle: b.deleteRecords},
		{Num: 22, Min: 0, Max: 4, Handle: b.initProducerID},
		{Num: 23, Min: 2, Max: 4, Handle: b.offsetForLeaderEpoch},
	}
}
