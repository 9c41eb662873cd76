package api

// peerKeys are the requests that brokers send each other about themselves.
func (b *Broker) peerKeys() []Key {
	return []Key{
		{Num: 63, Min: 0, Max: 0, Handle: b.brokerHeartbeat, PeerOnly: true},
	}
}
