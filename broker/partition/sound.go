//go:build !regency_mutation

package partition

// The broken modes that the harness tests itself with are in no ordinary program: the compiler drops what depends on these constants.
const (
	acksEarly       = false
	readsUnsettled  = false
	ignoresBrokers  = false
	neverTruncates  = false
	forgetsSequence = false
)

func (p *Partition) defies(target) bool { return false }
