package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"slices"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

var drawRecord = rapid.Custom(func(t *rapid.T) Record {
	r := Record{
		Timestamp: rapid.Int64Range(0, 1<<45).Draw(t, "timestamp"),
		Key:       drawNullable(t, "key"),
		Value:     drawNullable(t, "value"),
	}
	for range rapid.IntRange(0, 3).Draw(t, "headers") {
		r.Headers = append(r.Headers, RecordHeader{rapid.String().Draw(t, "header"), drawNullable(t, "header value")})
	}
	return r
})

func drawNullable(t *rapid.T, label string) []byte {
	if rapid.Bool().Draw(t, label+" is null") {
		return nil
	}
	return append([]byte{}, rapid.SliceOf(rapid.Byte()).Draw(t, label)...)
}

func records(t interface{ Fatal(...any) }, b Batch) []Record {
	var got []Record
	if err := ForEach(b, 1<<20, func(r Record) bool { got = append(got, r); return true }); err != nil {
		t.Fatal(err)
	}
	return got
}

func equal(a, b Record) bool {
	return a.Offset == b.Offset && a.Timestamp == b.Timestamp &&
		(a.Key == nil) == (b.Key == nil) && bytes.Equal(a.Key, b.Key) &&
		(a.Value == nil) == (b.Value == nil) && bytes.Equal(a.Value, b.Value) &&
		slices.EqualFunc(a.Headers, b.Headers, func(x, y RecordHeader) bool {
			return x.Key == y.Key && (x.Value == nil) == (y.Value == nil) && bytes.Equal(x.Value, y.Value)
		})
}

// TestBuildAgreesWithKmsg checks our encoding with the decoder of an independent
// implementation, and our decoder with ours.
func TestBuildAgreesWithKmsg(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SliceOfN(drawRecord, 1, 5).Draw(t, "records")
		o := Options{BaseOffset: rapid.Int64Range(0, 1<<40).Draw(t, "base"), LeaderEpoch: 3, ProducerID: 8, ProducerEpoch: 2, BaseSequence: 77}
		b := Build(o, in...)
		if _, err := First(b, CheckClient); err != nil {
			t.Fatal(err)
		}
		var k kmsg.RecordBatch
		if err := k.ReadFrom(b); err != nil {
			t.Fatal(err)
		}
		h, err := ParseHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		want := Header{k.FirstOffset, k.Length, k.PartitionLeaderEpoch, k.Magic, uint32(k.CRC), uint16(k.Attributes),
			k.LastOffsetDelta, k.FirstTimestamp, k.MaxTimestamp, k.ProducerID, k.ProducerEpoch, k.FirstSequence, k.NumRecords}
		if h != want {
			t.Fatalf("ParseHeader = %+v, kmsg reads %+v", h, want)
		}
		rest := k.Records
		for i, got := range records(t, b) {
			want := in[i]
			want.Offset = o.BaseOffset + int64(i)
			if !equal(got, want) {
				t.Fatalf("record %d = %+v, want %+v", i, got, want)
			}
			var kr kmsg.Record
			n, used := binary.Varint(rest)
			if err := kr.ReadFrom(rest[:used+int(n)]); err != nil {
				t.Fatal(err)
			}
			rest = rest[used+int(n):]
			if !bytes.Equal(kr.Key, want.Key) || !bytes.Equal(kr.Value, want.Value) || len(kr.Headers) != len(want.Headers) {
				t.Fatalf("kmsg reads record %d as %+v, want %+v", i, kr, want)
			}
		}
	})
}

// seal repairs length and checksum after a change.
func seal(b []byte) Batch {
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-lengthEnd))
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[crcStart:], castagnoli))
	return b
}

func sample() Batch {
	return Build(NoProducer, Record{Timestamp: 5, Value: []byte("one")}, Record{Timestamp: 7, Value: []byte("two")})
}

func TestPatchKeepsChecksum(t *testing.T) {
	b := sample()
	b.Patch(1<<40, 9)
	got, err := First(b, CheckClient)
	if err != nil || got.BaseOffset() != 1<<40 || got.LastOffset() != 1<<40+1 || got.LeaderEpoch() != 9 {
		t.Errorf("after Patch: base %d, epoch %d, %v; want %d, 9", got.BaseOffset(), got.LeaderEpoch(), err, int64(1)<<40)
	}
}

func TestChecks(t *testing.T) {
	change := func(f func(b []byte)) Batch {
		b := sample()
		f(b)
		return seal(b)
	}
	put16 := func(at int, v uint16) func([]byte) { return func(b []byte) { binary.BigEndian.PutUint16(b[at:], v) } }
	put32 := func(at int, v uint32) func([]byte) { return func(b []byte) { binary.BigEndian.PutUint32(b[at:], v) } }
	counted := func(codec uint16, bytes, count int) Batch {
		b := append(sample()[:HeaderLen], make([]byte, bytes)...)
		put16(21, codec)(b)
		put32(23, uint32(count-1))(b)
		put32(57, uint32(count))(b)
		return seal(b)
	}
	flipped := sample()
	flipped[len(flipped)-1] ^= 1
	length := func(v int32) Batch {
		b := sample()
		put32(8, uint32(v))(b)
		return b
	}
	for _, tc := range []struct {
		name            string
		in              []byte
		client, replica error
	}{
		{"good", sample(), nil, nil},
		{"short header", sample()[:60], ErrTruncated, ErrTruncated},
		{"cut", sample()[:70], ErrTruncated, ErrTruncated},
		{"flipped bit", flipped, ErrCorrupt, ErrCorrupt},
		{"old magic", change(func(b []byte) { b[16] = 1 }), ErrMagic, ErrMagic},
		{"negative length", length(-1), ErrCorrupt, ErrCorrupt},
		{"tiny length", length(48), ErrCorrupt, ErrCorrupt},
		{"huge length", length(math.MaxInt32), ErrTruncated, ErrTruncated},
		{"gap inside", change(put32(23, 9)), ErrInvalid, nil},
		{"negative delta", change(put32(23, 1<<31)), ErrCorrupt, ErrCorrupt},
		{"more records than offsets", change(put32(57, 9)), ErrCorrupt, ErrCorrupt},
		{"no records", change(put32(57, 0)), ErrInvalid, nil},
		{"control", change(put16(21, controlBit)), ErrInvalid, nil},
		{"more records than fit", counted(0, 14, 3), ErrInvalid, nil},
		{"smallest records", counted(0, 14, 2), nil, nil},
		{"all offsets in a byte", counted(0, 1, math.MaxInt32), ErrInvalid, nil},
		{"all offsets in a compressed byte", counted(uint16(Zstd), 1, math.MaxInt32), ErrInvalid, nil},
		{"all offsets in a compressed batch", counted(uint16(Zstd), 1<<20, math.MaxInt32), ErrInvalid, nil},
		{"many compressed records", counted(uint16(Zstd), 100, 100_000), nil, nil},
		{"unknown codec", change(put16(21, 6)), ErrCompression, nil},
		{"producer without sequence", change(func(b []byte) { binary.BigEndian.PutUint64(b[43:], 1) }), ErrInvalid, nil},
		{"negative base", change(func(b []byte) { b[0] = 0x80 }), nil, ErrCorrupt},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := First(tc.in, CheckClient); !errors.Is(err, tc.client) {
				t.Errorf("First(CheckClient) = %v, want %v", err, tc.client)
			}
			if _, err := First(tc.in, CheckReplica); !errors.Is(err, tc.replica) {
				t.Errorf("First(CheckReplica) = %v, want %v", err, tc.replica)
			}
		})
	}
}

func TestBatchesStopsAtTheFault(t *testing.T) {
	one := sample()
	in := slices.Concat(one, one, one[:30])
	var n int
	var last error
	for b, err := range Batches(in, CheckClient) {
		if err != nil {
			last = err
			continue
		}
		if !bytes.Equal(b, one) {
			t.Errorf("batch %d differs", n)
		}
		n++
	}
	if n != 2 || !errors.Is(last, ErrTruncated) {
		t.Errorf("Batches yields %d batches and %v, want 2 and ErrTruncated", n, last)
	}
}

func compressWith(t testing.TB, c Compression, src []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	var err error
	switch c {
	case Gzip:
		w := gzip.NewWriter(&buf)
		_, err = w.Write(src)
		err = errors.Join(err, w.Close())
	case Snappy:
		return s2.EncodeSnappy(nil, src)
	case LZ4:
		w := lz4.NewWriter(&buf)
		_, err = w.Write(src)
		err = errors.Join(err, w.Close())
	case Zstd:
		var w *zstd.Encoder
		if w, err = zstd.NewWriter(&buf); err == nil {
			_, err = w.Write(src)
			err = errors.Join(err, w.Close())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// compressed is b with its records compressed.
func compressed(t testing.TB, b Batch, c Compression) Batch {
	out := slices.Concat(b[:HeaderLen], compressWith(t, c, b[HeaderLen:]))
	out[22] = byte(c)
	return seal(out)
}

func xerial(block []byte) []byte {
	out := append(slices.Clone(xerialMagic), 0, 0, 0, 1, 0, 0, 0, 1)
	for _, part := range [][]byte{block[:len(block)/2], block[len(block)/2:]} {
		enc := s2.EncodeSnappy(nil, part)
		out = binary.BigEndian.AppendUint32(out, uint32(len(enc)))
		out = append(out, enc...)
	}
	return out
}

func TestForEachDecompresses(t *testing.T) {
	plain := Build(NoProducer, Record{Timestamp: 3, Value: bytes.Repeat([]byte("x"), 5000)}, Record{Timestamp: 4, Key: []byte("k")})
	want := records(t, plain)
	batches := map[string]Batch{}
	for _, c := range []Compression{Gzip, Snappy, LZ4, Zstd} {
		batches[c.String()] = compressed(t, plain, c)
	}
	java := slices.Concat(plain[:HeaderLen], xerial(plain[HeaderLen:]))
	java[22] = byte(Snappy)
	batches["snappy as Java frames it"] = seal(java)
	for name, b := range batches {
		if got := records(t, b); !slices.EqualFunc(got, want, equal) {
			t.Errorf("%s: %d records, want the %d that went in", name, len(got), len(want))
		}
		if err := ForEach(b, 4999, func(Record) bool { return true }); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: ForEach with a limit of 4999 = %v, want ErrTooLarge", name, err)
		}
		cut := seal(slices.Clone(b[:len(b)-9]))
		if err := ForEach(cut, 1<<20, func(Record) bool { return true }); err == nil {
			t.Errorf("%s: ForEach of a batch cut short = nil, want an error", name)
		}
	}
}

func TestForEachStopsWhenTold(t *testing.T) {
	n := 0
	if err := ForEach(sample(), 0, func(Record) bool { n++; return false }); err != nil || n != 1 {
		t.Errorf("visited %d records, %v; want 1", n, err)
	}
}

func TestAddSequenceWraps(t *testing.T) {
	for _, tc := range []struct{ seq, n, want int32 }{
		{0, 1, 1}, {math.MaxInt32, 1, 0}, {math.MaxInt32 - 1, 3, 1}, {5, 0, 5},
	} {
		if got := AddSequence(tc.seq, tc.n); got != tc.want {
			t.Errorf("AddSequence(%d, %d) = %d, want %d", tc.seq, tc.n, got, tc.want)
		}
	}
}

func FuzzBatches(f *testing.F) {
	f.Add([]byte(sample()))
	f.Add([]byte(slices.Concat(sample(), sample()[:40])))
	for _, c := range []Compression{Gzip, Snappy, LZ4, Zstd} {
		f.Add([]byte(compressed(f, sample(), c)))
	}
	java := slices.Concat(sample()[:HeaderLen], xerial(sample()[HeaderLen:]))
	java[22] = byte(Snappy)
	f.Add([]byte(seal(java)))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, check := range []Check{CheckLengths, CheckReplica, CheckClient} {
			size := 0
			for b, err := range Batches(in, check) {
				if err != nil {
					break
				}
				size += len(b)
				if check != CheckLengths && b.LastOffset() < b.BaseOffset() && check == CheckReplica {
					t.Errorf("last offset %d below base %d", b.LastOffset(), b.BaseOffset())
				}
				total := 0
				ForEach(b, 1<<16, func(r Record) bool { total += len(r.Key) + len(r.Value); return true })
				if b.Compression() != None && total > 1<<16 {
					t.Errorf("%d bytes of records past a limit of %d", total, 1<<16)
				}
			}
			if size > len(in) {
				t.Errorf("batches of %d bytes in %d", size, len(in))
			}
		}
	})
}
