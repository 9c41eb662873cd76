package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Compression is the codec in a batch's attributes.
type Compression uint8

const (
	None Compression = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

// String is the codec's name in Kafka's configuration.
func (c Compression) String() string {
	if names := [...]string{"none", "gzip", "snappy", "lz4", "zstd"}; int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("compression(%d)", uint8(c))
}

// decompress returns the records' bytes, src itself if they are not compressed.
// The result has at most limit bytes, and a claim of more is not believed.
func decompress(c Compression, src []byte, limit int) ([]byte, error) {
	var (
		out []byte
		err error
	)
	switch c {
	case None:
		return src, nil
	case Gzip:
		out, err = gunzip(src, limit)
	case Snappy:
		out, err = unsnappy(src, limit)
	case LZ4:
		out, err = readLimited(lz4.NewReader(bytes.NewReader(src)), limit)
	case Zstd:
		out, err = unzstd(src, limit)
	default:
		return nil, fmt.Errorf("codec %d: %w", c, ErrCompression)
	}
	if err != nil {
		return nil, fmt.Errorf("decompress %s: %w", c, err)
	}
	return out, nil
}

func gunzip(src []byte, limit int) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(src))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return readLimited(r, limit)
}

func readLimited(r io.Reader, limit int) ([]byte, error) {
	out, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if len(out) > limit {
		return nil, tooLarge(int64(len(out)), limit)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return out, nil
}

func tooLarge(size int64, limit int) error {
	return fmt.Errorf("records of at least %d bytes, limit %d: %w", size, limit, ErrTooLarge)
}

// zstdDecoders are costly to make. Each is used without concurrency of its own.
var zstdDecoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(128<<20))
	if err != nil {
		return err
	}
	return d
}}

func unzstd(src []byte, limit int) ([]byte, error) {
	d, ok := zstdDecoders.Get().(*zstd.Decoder)
	if !ok {
		return nil, fmt.Errorf("no zstd decoder: %w", ErrCompression)
	}
	defer zstdDecoders.Put(d)
	if err := d.Reset(bytes.NewReader(src)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return readLimited(d, limit)
}

// Java's snappy framing: a header of 16 bytes, then blocks, each a 4-byte length
// and raw snappy. Other clients send one raw block.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeaderLen = 16

func unsnappy(src []byte, limit int) ([]byte, error) {
	if !bytes.HasPrefix(src, xerialMagic) {
		return unsnappyBlock(nil, src, limit)
	}
	if len(src) < xerialHeaderLen {
		return nil, fmt.Errorf("snappy header of %d bytes: %w", len(src), ErrTruncated)
	}
	out := []byte{}
	for src = src[xerialHeaderLen:]; len(src) > 0; {
		if len(src) < 4 || uint64(binary.BigEndian.Uint32(src)) > uint64(len(src)-4) {
			return nil, fmt.Errorf("snappy block longer than the %d bytes left: %w", len(src), ErrTruncated)
		}
		n := int(binary.BigEndian.Uint32(src))
		var err error
		if out, err = unsnappyBlock(out, src[4:4+n], limit); err != nil {
			return nil, err
		}
		src = src[4+n:]
	}
	return out, nil
}

// unsnappyBlock appends a decoded block to out.
func unsnappyBlock(out, src []byte, limit int) ([]byte, error) {
	n, err := s2.DecodedLen(src)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if n > limit-len(out) {
		return nil, tooLarge(int64(len(out))+int64(n), limit)
	}
	block, err := s2.Decode(nil, src)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if out == nil {
		return block, nil
	}
	return append(out, block...), nil
}
