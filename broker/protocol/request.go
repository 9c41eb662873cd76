package protocol

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Header is the header of a request.
type Header struct {
	Key, Version  int16
	CorrelationID int32
	ClientID      string // empty also for null
}

// String names the request for messages.
func (h Header) String() string {
	name := "unknown"
	if kmsg.RequestForKey(h.Key) != nil {
		name = kmsg.NameForKey(h.Key)
	}
	return fmt.Sprintf("%s (key %d) version %d from client %q", name, h.Key, h.Version, h.ClientID)
}

// ParseHeader splits a frame into header and body. It fails with ErrMalformed, and with ErrUnknownKey for a key that the protocol does not have; the header is
// then valid as far as the client id.
func ParseHeader(frame []byte) (Header, []byte, error) {
	if len(frame) < 8 {
		return Header{}, nil, fmt.Errorf("parse header: %d bytes, want at least 8: %w", len(frame), ErrMalformed)
	}
	h := Header{
		Key:           int16(binary.BigEndian.Uint16(frame)),
		Version:       int16(binary.BigEndian.Uint16(frame[2:])),
		CorrelationID: int32(binary.BigEndian.Uint32(frame[4:])),
	}
	rest := frame[8:]
	if h.Key == int16(kmsg.ControlledShutdown) && h.Version == 0 {
		return h, rest, nil
	}
	id, rest, err := clientID(rest)
	if err != nil {
		return h, nil, err
	}
	h.ClientID = id
	req := kmsg.RequestForKey(h.Key)
	if req == nil {
		return h, nil, fmt.Errorf("parse header: %s: %w", h, ErrUnknownKey)
	}
	req.SetVersion(h.Version)
	if req.IsFlexible() {
		if rest, err = skipTags(rest); err != nil {
			return h, nil, err
		}
	}
	return h, rest, nil
}

// Decode parses the body. The request refers to body's bytes. An error wraps ErrMalformed or ErrUnknownKey.
func Decode(h Header, body []byte) (kmsg.Request, error) {
	if err := checkShape(h, body); err != nil {
		return nil, err
	}
	req := kmsg.RequestForKey(h.Key)
	req.SetVersion(h.Version)
	if err := readFrom(req, body); err != nil {
		return nil, fmt.Errorf("decode %s: %w: %w", h, ErrMalformed, err)
	}
	return req, nil
}

// readFrom lets strings alias the body for the two requests of the data path, which keep none of them. Elsewhere a client id or a group name that lives on
// would hold its whole frame in memory.
func readFrom(req kmsg.Request, body []byte) error {
	switch r := req.(type) {
	case *kmsg.ProduceRequest:
		return r.UnsafeReadFrom(body)
	case *kmsg.FetchRequest:
		return r.UnsafeReadFrom(body)
	}
	return req.ReadFrom(body)
}

func clientID(b []byte) (string, []byte, error) {
	if len(b) < 2 {
		return "", nil, fmt.Errorf("parse header: no client id: %w", ErrMalformed)
	}
	n := int(int16(binary.BigEndian.Uint16(b)))
	b = b[2:]
	if n < 0 {
		return "", b, nil
	}
	if n > len(b) {
		return "", nil, fmt.Errorf("parse header: client id of %d bytes in %d: %w", n, len(b), ErrMalformed)
	}
	return string(b[:n]), b[n:], nil
}

// skipTags skips tagged fields; each takes at least two bytes, which bounds the loop.
func skipTags(b []byte) ([]byte, error) {
	fail := func() ([]byte, error) { return nil, fmt.Errorf("parse header: tagged fields: %w", ErrMalformed) }
	num, n := binary.Uvarint(b)
	if n <= 0 || num > uint64(len(b)) {
		return fail()
	}
	b = b[n:]
	for ; num > 0; num-- {
		_, n := binary.Uvarint(b)
		if n <= 0 {
			return fail()
		}
		b = b[n:]
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return fail()
		}
		b = b[n+int(size):]
	}
	return b, nil
}
