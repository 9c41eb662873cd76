package peer

import "errors"

var (
	// ErrUnavailable: the request was not sent, so it has had no effect. Retry, or ask another broker.
	ErrUnavailable = errors.New("broker unreachable")
	// ErrOutcomeUnknown: the request was sent, wholly or in part, and no answer came. A read may be repeated; a write may or may not have been
	// applied, and only the state that it changes can tell.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrClosed: the pool or the connection was closed by this side.
	ErrClosed = errors.New("connection closed")
	// ErrProtocol: the answer was not one. Wrapped together with ErrOutcomeUnknown.
	ErrProtocol = errors.New("malformed answer")
)
