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

// compress is the inverse of decompress, in the framing that Kafka's own client
// reads.
func compress(c Compression, src []byte) ([]byte, error) {
	switch c {
	case None:
		return src, nil
	case Gzip:
		var out bytes.Buffer
		return finish(&out, gzip.NewWriter(&out), src)
	case Snappy:
		return snappy(src), nil
	case LZ4:
		var out bytes.Buffer
		w := lz4.NewWriter(&out)
		if err := w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ConcurrencyOption(1)); err != nil {
			return nil, fmt.Errorf("compress lz4: %w", err)
		}
		return finish(&out, w, src)
	case Zstd:
		e, ok := zstdEncoders.Get().(*zstd.Encoder)
		if !ok {
			return nil, fmt.Errorf("no zstd encoder: %w", ErrCompression)
		}
		defer zstdEncoders.Put(e)
		return e.EncodeAll(src, nil), nil
	}
	return nil, fmt.Errorf("codec %d: %w", c, ErrCompression)
}

func finish(out *bytes.Buffer, w io.WriteCloser, src []byte) ([]byte, error) {
	if _, err := w.Write(src); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return out.Bytes(), nil
}

// zstdEncoders are costly to make. Each is used without concurrency of its own.
var zstdEncoders = sync.Pool{New: func() any {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return err
	}
	return e
}}

// snappyBlockLen is what snappy-java puts into a block.
const snappyBlockLen = 32 << 10

func snappy(src []byte) []byte {
	out := append([]byte{}, xerialMagic...)
	out = binary.BigEndian.AppendUint32(out, 1) // version
	out = binary.BigEndian.AppendUint32(out, 1) // compatible with
	for len(src) > 0 {
		n := min(len(src), snappyBlockLen)
		block := s2.EncodeSnappy(nil, src[:n])
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(block))), block...)
		src = src[n:]
	}
	return out
}
