package protocol

import "errors"

var (
	// ErrFrameSize: the size field is negative or above the limit. Close the connection: what follows cannot be told apart.
	ErrFrameSize = errors.New("frame size out of range")
	// ErrTruncated: the stream ended inside a frame. The connection is over.
	ErrTruncated = errors.New("stream ends inside a frame")
	// ErrMalformed: the header or body does not decode. Close the connection.
	ErrMalformed = errors.New("malformed request")
	// ErrUnknownKey: no such request kind. Close the connection.
	ErrUnknownKey = errors.New("unknown request key")
)
