package api

// clientKeys are the requests about the cluster and about groups.
func (b *Broker) clientKeys() []Key {
	return nil
}
