package record

import "errors"

// A batch that fails a check is refused whole; nothing of it is stored. The
// wrapping error names the position and the values that disagree.
var (
	// ErrTruncated: the bytes end before the batch or record does. A reader of a
	// network answer that may be cut drops the tail; everyone else refuses it.
	ErrTruncated = errors.New("record batch cut short")
	// ErrCorrupt: a checksum or a length inside does not agree with the bytes.
	ErrCorrupt = errors.New("corrupt record batch")
	// ErrMagic: the message format is not v2. The client must be newer.
	ErrMagic = errors.New("unsupported record batch format")
	// ErrInvalid: well formed, but not what a client may produce.
	ErrInvalid = errors.New("invalid record batch")
	// ErrTooLarge: the records decompress to more than the reader allows.
	ErrTooLarge = errors.New("record batch too large")
	// ErrCompression: the attributes name a codec that does not exist.
	ErrCompression = errors.New("unknown compression")
)
