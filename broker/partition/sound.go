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

// appendWakes is whom an append that is not committed yet concerns.
const appendWakes = replicas

func (p *Partition) appendable(fetched []byte) []byte { return fetched }

func (p *Partition) defies(target) bool { return false }
