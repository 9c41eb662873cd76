package storage

import (
	"encoding/binary"
	"fmt"
)

// state is what a log's reader and writer must know, written with every append.
// Positions count the bytes of all batches ever appended, so that a size is a
// difference. Stored as seven 8-byte integers in the order of the fields.
type state struct {
	start         int64
	end           int64
	highWatermark int64
	maxTimestamp  int64 // newest of all batches up to end, -1 for none
	startPos      int64 // position of the batch that start lies in
	endPos        int64
	indexedPos    int64 // position of the latest time index entry
}

const stateLen = 7 * 8

func (s state) encode() []byte {
	b := make([]byte, 0, stateLen)
	for _, v := range [...]int64{s.start, s.end, s.highWatermark, s.maxTimestamp, s.startPos, s.endPos, s.indexedPos} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	return b
}

func decodeState(b []byte) (state, error) {
	if len(b) != stateLen {
		return state{}, fmt.Errorf("log state of %d bytes, want %d: %w", len(b), stateLen, ErrCorrupt)
	}
	at := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[8*i:])) }
	s := state{at(0), at(1), at(2), at(3), at(4), at(5), at(6)}
	if s.start < 0 || s.start > s.highWatermark || s.highWatermark > s.end {
		return state{}, fmt.Errorf("log state with start %d, high watermark %d, end %d: %w", s.start, s.highWatermark, s.end, ErrCorrupt)
	}
	return s, nil
}

func emptyState(offset int64) state {
	return state{start: offset, end: offset, highWatermark: offset, maxTimestamp: -1}
}
