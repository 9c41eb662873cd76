package api

// controllerKeys are the requests that the controller decides.
func (b *Broker) controllerKeys() []Key {
	return nil
}
