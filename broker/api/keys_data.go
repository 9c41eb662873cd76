package api

// dataKeys are the requests about records.
func (b *Broker) dataKeys() []Key {
	return nil
}
