package options

import "time"

// FaultPatience is for how long a fault of some servers is taken for theirs alone: the good ones may be electing a leader, or be overloaded.
const FaultPatience = 5 * time.Second

// Faults decides when an operation that is repeated until it succeeds gives up. One server with a wrong certificate must not end a client that the
// others would serve in a moment; a setting that all refuse must. The zero value is ready; it lives as long as the operation.
type Faults struct {
	began time.Time
	last  *Fault
}

// Final notes the error of a round that failed at every server. It returns the fault to give up with: all servers gave one, or one did and FaultPatience
// has passed since the first round. Otherwise nil.
func (f *Faults) Final(err error, now time.Time) *Fault {
	if f.began.IsZero() {
		f.began = now
	}
	if fault := AsFault(err); fault != nil {
		f.last = fault
	}
	if f.last != nil && (f.last.Everywhere || now.Sub(f.began) >= FaultPatience) {
		return f.last
	}
	return nil
}

// AtAll marks the fault in err, if there is one, as given by every server.
func AtAll(err error) error {
	f := AsFault(err)
	if f == nil {
		return err
	}
	all := *f
	all.Everywhere = true
	return &all
}
