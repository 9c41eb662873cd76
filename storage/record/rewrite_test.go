package record

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// recompress is b with its records in another codec.
func recompress(t interface{ Fatal(...any) }, b Batch, c Compression) Batch {
	body, err := compress(c, b[HeaderLen:])
	if err != nil {
		t.Fatal(err)
	}
	out := append(append(Batch{}, b[:HeaderLen]...), body...)
	out[11] = byte(len(out) - lengthEnd)
	out[10] = byte((len(out) - lengthEnd) >> 8)
	out[9] = byte((len(out) - lengthEnd) >> 16)
	out[22] |= byte(c)
	return Reseal(out)
}

// TestFilterKeepsTheRest filters random batches of every codec and compares records,
// header and decoding by an independent implementation.
func TestFilterKeepsTheRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SliceOfN(drawRecord, 1, 6).Draw(t, "records")
		o := Options{BaseOffset: 100, LeaderEpoch: 3, ProducerID: 8, ProducerEpoch: 2, BaseSequence: 77}
		b := recompress(t, Build(o, in...), Compression(rapid.IntRange(0, 4).Draw(t, "codec")))
		if _, err := First(b, CheckClient); err != nil {
			t.Fatal(err)
		}
		drop := rapid.SliceOfN(rapid.Bool(), len(in), len(in)).Draw(t, "drop")
		horizon := rapid.SampledFrom([]int64{NoHorizon, 0, 12345, 1 << 44}).Draw(t, "horizon")
		e, err := Expand(b, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Filter(horizon, func(r Record) bool { return !drop[r.Offset-100] })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := First(got, CheckReplica); err != nil {
			t.Fatal(err)
		}
		var want []Record
		for i, r := range in {
			if r.Offset = 100 + int64(i); !drop[i] {
				want = append(want, r)
			}
		}
		have := records(t, got)
		if len(have) != len(want) || int(got.Count()) != len(want) {
			t.Fatalf("%d records, count %d; want %d", len(have), got.Count(), len(want))
		}
		newest := int64(-1)
		for i := range want {
			newest = max(newest, want[i].Timestamp)
			if !equal(have[i], want[i]) {
				t.Fatalf("record %d = %+v, want %+v", i, have[i], want[i])
			}
		}
		if len(want) > 0 && got.MaxTimestamp() != newest {
			t.Fatalf("newest timestamp %d, want %d", got.MaxTimestamp(), newest)
		}
		if at, ok := got.DeleteHorizon(); ok != (horizon != NoHorizon) || (ok && at != horizon) {
			t.Fatalf("delete horizon %d, %v; want %d", at, ok, horizon)
		}
		fields := func(b Batch) string {
			return fmt.Sprint(b.BaseOffset(), b.LastOffset(), b.LeaderEpoch(), b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.LastSequence())
		}
		if fields(got) != fields(b) || (len(want) > 0 && got.Compression() != b.Compression()) {
			t.Fatalf("header %s codec %s, want %s codec %s", fields(got), got.Compression(), fields(b), b.Compression())
		}
		var k kmsg.RecordBatch
		if err := k.ReadFrom(got); err != nil || int(k.NumRecords) != len(want) {
			t.Fatalf("kmsg reads %d records, %v; want %d", k.NumRecords, err, len(want))
		}
	})
}
