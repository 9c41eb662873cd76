package coordination

import (
	"errors"
	"fmt"
)

// The errors of the contract. Backends translate their client's errors into these in one function each (errors.go of the backend).
var (
	// ErrUnavailable: the service did not answer, and the operation certainly was not applied. Retry.
	ErrUnavailable = errors.New("coordination service unavailable")
	// ErrOutcomeUnknown: the request may have been applied, or may still be. Read back before acting.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrSessionLost: the session is over; all it held is gone. Step down; open a new session on purpose.
	ErrSessionLost = errors.New("session lost")
	// ErrFenced: another leader's epoch is newer. Step down.
	ErrFenced = errors.New("fenced by a newer epoch")
	// ErrConflict: a guard did not hold; nothing was applied. See ConflictError for which.
	ErrConflict = errors.New("conflict")
	// ErrTooLarge: the transaction exceeds the backend's limits; nothing was applied. Split it.
	ErrTooLarge = errors.New("transaction too large")
	// ErrDuplicateID: another live process is registered under the id. Stop, and tell the operator.
	ErrDuplicateID = errors.New("duplicate id")
	// ErrLineage: the store is another cluster's than it was. Stop.
	ErrLineage = errors.New("store belongs to another lineage")
	// ErrClosed: used after Close.
	ErrClosed = errors.New("closed")
	// ErrNotRegistered: Campaign before Register.
	ErrNotRegistered = errors.New("not registered")
)

// ConflictError says which guard of a transaction did not hold.
type ConflictError struct {
	Guard int // index into the transaction's guards; -1 when the service does not tell
	Key   string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("conflict: guard %d on %q did not hold", e.Guard, e.Key)
}

func (e *ConflictError) Is(target error) bool { return target == ErrConflict }
