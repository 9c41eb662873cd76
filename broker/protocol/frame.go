package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// DefaultMaxFrame is the default bound of a request, in bytes: Kafka's socket.request.max.bytes.
	DefaultMaxFrame = 100 << 20

	firstStep = 64 << 10
	// trustedStep bounds what is allocated at once even for a connection that has sent large frames before.
	trustedStep = 8 << 20
)

// FrameReader reads the frames of one connection.
type FrameReader struct {
	r   io.Reader
	max int
	// step is what the next frame may allocate before its bytes arrive: a size field is only a claim. It grows to the largest frame that arrived whole, so
	// that a producer's frames are read with one allocation.
	step  int
	spare []byte // given back by Reuse
}

// NewFrameReader reads from r frames of at most max bytes.
func NewFrameReader(r io.Reader, max int) *FrameReader {
	return &FrameReader{r: r, max: max, step: firstStep}
}

// Reuse gives back a frame that nothing refers to any more: a later one is read into it. Large frames cost much in fresh memory.
func (f *FrameReader) Reuse(frame []byte) {
	if cap(frame) <= trustedStep {
		f.spare = frame
	}
}

// Next returns the next frame without its size field; the slice is the caller's. It returns io.EOF when the stream ends between frames, ErrTruncated inside
// one, ErrFrameSize for a size that cannot be.
func (f *FrameReader) Next() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("read frame size: %w", ErrTruncated)
		}
		return nil, err
	}
	size := int(int32(binary.BigEndian.Uint32(head[:])))
	if size < 0 || size > f.max {
		return nil, fmt.Errorf("read frame of %d bytes, limit %d%s: %w", size, f.max, hint(head), ErrFrameSize)
	}
	frame, err := f.body(size)
	if err != nil {
		return nil, err
	}
	f.step = min(max(f.step, size), trustedStep)
	return frame, nil
}

func (f *FrameReader) body(size int) ([]byte, error) {
	frame := f.buffer(size)
	for got := 0; ; {
		n, err := io.ReadFull(f.r, frame[got:])
		got += n
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("read frame: %d of %d bytes: %w", got, size, ErrTruncated)
		}
		if err != nil {
			return nil, fmt.Errorf("read frame: %d of %d bytes: %w", got, size, err)
		}
		if got == size {
			return frame, nil
		}
		grown := make([]byte, min(size, 4*got))
		copy(grown, frame)
		frame = grown
	}
}

// buffer is for a frame of size bytes, or its beginning.
func (f *FrameReader) buffer(size int) []byte {
	if spare := f.spare; cap(spare) >= size && size >= firstStep {
		f.spare = nil
		return spare[:size:size]
	}
	return make([]byte, min(size, f.step))
}

// hint names what commonly connects by mistake: its first bytes then read as an enormous size.
func hint(head [4]byte) string {
	switch string(head[:]) {
	case "GET ", "POST", "HEAD", "PUT ", "OPTI":
		return " (an HTTP client on the Kafka port?)"
	}
	if head[0] == 0x16 && head[1] == 3 {
		return " (a TLS client on a plaintext port?)"
	}
	return ""
}
