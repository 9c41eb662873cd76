package storage

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/regency-project/regency/storage/record"
)

func TestProducerCheck(t *testing.T) {
	state := func(batches ...record.Batch) ProducerState {
		var p ProducerState
		at := int64(100)
		for _, b := range batches {
			p = p.with(b, at)
			at += int64(b.Count())
		}
		return p
	}
	six := state(
		idempotent(1, 2, 0, 2), idempotent(1, 2, 2, 2), idempotent(1, 2, 4, 2),
		idempotent(1, 2, 6, 2), idempotent(1, 2, 8, 2), idempotent(1, 2, 10, 2))
	atTheEdge := state(idempotent(1, 0, math.MaxInt32-1, 2))
	over := state(idempotent(1, 0, math.MaxInt32-1, 4))
	for _, tc := range []struct {
		name      string
		p         ProducerState
		epoch     int16
		base, end int32
		dup       int64 // base offset of the original, 0 for none
		err       error
	}{
		{"unknown producer", ProducerState{}, 3, 17, 18, 0, nil},
		{"next", six, 2, 12, 13, 0, nil},
		{"last again", six, 2, 10, 11, 110, nil},
		{"fifth last again", six, 2, 2, 3, 102, nil},
		{"sixth last again", six, 2, 0, 1, 0, ErrOutOfOrderSequence},
		{"a part of the last", six, 2, 10, 10, 0, ErrOutOfOrderSequence},
		{"gap", six, 2, 13, 14, 0, ErrOutOfOrderSequence},
		{"older epoch", six, 1, 12, 13, 0, ErrInvalidProducerEpoch},
		{"newer epoch", six, 3, 0, 4, 0, nil},
		{"newer epoch in the middle", six, 3, 12, 13, 0, ErrOutOfOrderSequence},
		{"wrap", atTheEdge, 0, 0, 3, 0, nil},
		{"no wrap", atTheEdge, 0, math.MaxInt32, math.MaxInt32, 0, ErrOutOfOrderSequence},
		{"after a batch that wraps", over, 0, 2, 2, 0, nil},
		{"a batch that wraps again", over, 0, math.MaxInt32 - 1, 1, 100, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dup, err := tc.p.Check(tc.epoch, tc.base, tc.end)
			if !errors.Is(err, tc.err) {
				t.Errorf("Check = %v, want %v", err, tc.err)
			}
			var got int64
			if dup != nil {
				got = dup.BaseOffset
			}
			if got != tc.dup {
				t.Errorf("Check finds the original at %d, want %d", got, tc.dup)
			}
		})
	}
}

// TestProducerAfterTruncation covers what TestModel's few sequences seldom meet: a
// producer whose remembered batches are all truncated, but not all its batches.
func TestProducerAfterTruncation(t *testing.T) {
	files := vfs.NewMem()
	s := mustOpen(t, memOptions(files))
	l := mustLog(t, s, 0)
	for seq := range int32(8) {
		mustAppend(t, l, 0, idempotent(1, 0, seq, 1), batchOf(1, 10, 0))
	}
	mustAppend(t, l, 0, idempotent(2, 0, 0, 1))
	if end, err := l.Truncate(4); err != nil || end != 4 {
		t.Fatalf("Truncate(4) = %d, %v", end, err)
	}
	for _, when := range []string{"at once", "after a reopen"} {
		if p, ok := l.Producer(1); !ok || len(p.Batches) != 1 || p.Batches[0].LastSeq != 1 || p.Batches[0].BaseOffset != 2 || p.FirstOffset != 0 {
			t.Errorf("%s: Producer(1) = %+v, want sequence 1 at offset 2", when, p)
		}
		if p, ok := l.Producer(2); ok {
			t.Errorf("%s: Producer(2) = %+v, want none", when, p)
		}
		mustClose(t, s)
		s = mustOpen(t, memOptions(files))
		l = mustLog(t, s, 0)
	}
	mustClose(t, s)
}

func TestStateDecodersRefuse(t *testing.T) {
	good := ProducerState{}.with(idempotent(1, 0, 0, 1), 0).encode(nil)
	for n := range len(good) {
		if _, err := decodeProducer(1, good[:n]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("decodeProducer of %d bytes = %v, want ErrCorrupt", n, err)
		}
	}
	st := emptyState(5)
	st.highWatermark = 6
	for _, b := range [][]byte{nil, emptyState(5).encode()[1:], st.encode()} {
		if _, err := decodeState(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("decodeState(%x) = %v, want ErrCorrupt", b, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(ProducerState{}.with(idempotent(1, 0, 0, 1), 0).encode(nil))
	f.Add(emptyState(5).encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		if p, err := decodeProducer(1, in); err == nil {
			if back := p.encode(nil); string(back) != string(in) {
				t.Errorf("producer state %x reads back as %x", in, back)
			}
		}
		if st, err := decodeState(in); err == nil {
			if back := st.encode(); string(back) != string(in) {
				t.Errorf("state %x reads back as %x", in, back)
			}
		}
	})
}

// TestProducerExpiry checks that producers expire by when they were last seen, not by
// the timestamps that they write.
func TestProducerExpiry(t *testing.T) {
	now := time.Now()
	backfill := record.Build(record.Options{ProducerID: 1}, record.Record{Timestamp: now.Add(-48 * time.Hour).UnixMilli(), Value: []byte("v")})
	keep := func(LogInfo) Policy { return Policy{} }
	for _, role := range []string{"leader", "follower", "leader, truncated", "reopened"} {
		t.Run(role, func(t *testing.T) {
			files := vfs.NewMem()
			s := mustOpen(t, memOptions(files))
			defer func() { mustClose(t, s) }()
			l := mustLog(t, s, 0)
			switch role {
			case "follower":
				if _, err := l.AppendFollower(backfill); err != nil {
					t.Fatal(err)
				}
			case "leader, truncated": // so far back that the log must be searched
				mustAppend(t, l, 0, backfill)
				for seq := range int32(rememberedBatches) {
					mustAppend(t, l, 0, idempotent(1, 0, seq+1, 1))
				}
				if _, err := l.Truncate(1); err != nil {
					t.Fatal(err)
				}
			default:
				mustAppend(t, l, 0, backfill)
			}
			if role == "reopened" {
				mustClose(t, s)
				s = mustOpen(t, memOptions(files))
				l = mustLog(t, s, 0)
			}
			if _, err := s.Retain(keep, now); err != nil {
				t.Fatal(err)
			}
			p, _ := l.Producer(1)
			if dup, err := p.Check(0, 0, 0); err != nil || dup == nil || dup.BaseOffset != 0 {
				t.Errorf("Check of the same batch = %+v, %v; want a duplicate of offset 0", dup, err)
			}
			if _, err := s.Retain(keep, time.Now().Add(producerExpiry+time.Minute)); err != nil {
				t.Fatal(err)
			}
			if p, ok := l.Producer(1); ok {
				t.Errorf("a day later: Producer(1) = %+v, want none", p)
			}
		})
	}
}
