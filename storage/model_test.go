package storage

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/regency-project/regency/storage/record"
	"pgregory.net/rapid"
)

// model is a log as simple as can be: a slice of batches. It is what TestModel
// compares a Log with.
type model struct {
	batches    []record.Batch
	start, end int64
	hw         int64
	epochs     []epochStart
}

func (m *model) latestEpoch() int32 { return latestEpoch(m.epochs) }

func (m *model) put(b record.Batch) {
	m.batches = append(m.batches, b)
	m.end = b.LastOffset() + 1
	if b.LeaderEpoch() > m.latestEpoch() {
		m.assign(b.LeaderEpoch(), b.BaseOffset())
	}
}

func (m *model) assign(epoch int32, start int64) {
	m.epochs = slices.DeleteFunc(m.epochs, func(e epochStart) bool { return e.start >= start })
	m.epochs = append(m.epochs, epochStart{epoch, start})
}

func (m *model) newEnd(to int64) int64 {
	to = min(to, m.end)
	for _, b := range m.batches {
		if b.LastOffset() >= to {
			return min(to, b.BaseOffset())
		}
	}
	return to
}

func (m *model) truncate(end int64) {
	m.batches = slices.DeleteFunc(m.batches, func(b record.Batch) bool { return b.LastOffset() >= end })
	m.epochs = slices.DeleteFunc(m.epochs, func(e epochStart) bool { return e.start >= end })
	m.end = end
}

func (m *model) setStart(start int64) {
	if start <= m.start {
		return
	}
	m.batches = slices.DeleteFunc(m.batches, func(b record.Batch) bool { return b.LastOffset() < start })
	m.start = start
	for len(m.epochs) > 1 && m.epochs[1].start <= start {
		m.epochs = m.epochs[1:]
	}
	if len(m.epochs) > 0 {
		m.epochs[0].start = max(m.epochs[0].start, start)
	}
}

func (m *model) read(from, below int64, maxBytes int) (got []byte, next int64) {
	next = from
	for _, b := range m.batches {
		if b.LastOffset() < from {
			continue
		}
		if b.LastOffset() >= below || (got != nil && len(got)+len(b) > maxBytes) {
			break
		}
		got, next = append(got, b...), b.LastOffset()+1
		if len(got) >= maxBytes {
			break
		}
	}
	return got, next
}

func (m *model) epochEnd(epoch int32) (int32, int64) {
	found, end := int32(-1), int64(-1)
	for i, e := range m.epochs {
		if e.epoch <= epoch {
			found, end = e.epoch, m.end
			if i+1 < len(m.epochs) {
				end = m.epochs[i+1].start
			}
		}
	}
	return found, end
}

func (m *model) offsetForTimestamp(ts int64) (int64, bool) {
	for _, b := range m.batches {
		found := int64(-1)
		record.ForEach(b, 1<<20, func(r record.Record) bool {
			if r.Timestamp >= ts && r.Offset >= m.start {
				found = r.Offset
			}
			return found < 0
		})
		if found >= 0 {
			return found, true
		}
	}
	return 0, false
}

// sequences are the last sequence numbers by producer.
func (m *model) sequences() map[int64]int32 {
	seqs := make(map[int64]int32)
	for _, b := range m.batches {
		if b.ProducerID() >= 0 {
			seqs[b.ProducerID()] = b.LastSequence()
		}
	}
	return seqs
}

func (m *model) bytes() (n int64) {
	for _, b := range m.batches {
		n += int64(len(b))
	}
	return n
}

// modelTest drives a Log and a model alike.
type modelTest struct {
	files *vfs.MemFS
	store *Store
	log   *Log
	model model
	seq   map[int64]int32
	// forgotten producers have batches below the log start only: the log may
	// remember them longer than the model does.
	forgotten bool
}

func (mt *modelTest) open(t *rapid.T) {
	s, err := Open(memOptions(mt.files))
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Log("a", topicA, 0)
	if err != nil {
		t.Fatal(err)
	}
	mt.store, mt.log = s, l
}

func drawBatch(t *rapid.T, seqs map[int64]int32) record.Batch {
	size := rapid.SampledFrom([]int{1, 300, 30_000, 80_000}).Draw(t, "size")
	rs := make([]record.Record, rapid.IntRange(1, 4).Draw(t, "records"))
	for i := range rs {
		rs[i] = record.Record{Timestamp: rapid.Int64Range(0, 100).Draw(t, "time"), Value: make([]byte, size)}
	}
	o := record.NoProducer
	if pid := rapid.Int64Range(-1, 2).Draw(t, "producer"); pid >= 0 {
		o = record.Options{ProducerID: pid, BaseSequence: seqs[pid]}
		seqs[pid] = record.AddSequence(seqs[pid], int32(len(rs)))
	}
	return record.Build(o, rs...)
}

func (mt *modelTest) appendLeader(t *rapid.T) {
	b := drawBatch(t, mt.seq)
	epoch := max(0, mt.model.latestEpoch()) + rapid.Int32Range(0, 1).Draw(t, "new epoch")
	a, err := mt.log.AppendLeader(b, epoch, time.UnixMilli(0))
	if err != nil {
		t.Fatal(err)
	}
	if a.Base != mt.model.end {
		t.Fatalf("AppendLeader base = %d, want %d", a.Base, mt.model.end)
	}
	b.Patch(mt.model.end, epoch)
	mt.model.put(b)
	if rapid.Bool().Draw(t, "wait") {
		if err := a.Pending.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

func (mt *modelTest) appendFollower(t *rapid.T) {
	base := mt.model.end + rapid.Int64Range(-1, 3).Draw(t, "gap")
	epoch := max(0, mt.model.latestEpoch()) + rapid.Int32Range(0, 1).Draw(t, "new epoch")
	var all []byte
	var batches []record.Batch
	for at := base; len(batches) < 2; {
		b := drawBatch(t, mt.seq)
		b.Patch(max(at, 0), epoch)
		batches, all = append(batches, b), append(all, b...)
		at = b.LastOffset() + 1
	}
	_, err := mt.log.AppendFollower(all)
	if max(base, 0) < mt.model.end {
		if !errors.Is(err, ErrOutOfOrder) {
			t.Fatalf("AppendFollower at %d with end %d = %v, want ErrOutOfOrder", base, mt.model.end, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range batches {
		mt.model.put(b)
	}
}

func (mt *modelTest) truncate(t *rapid.T) {
	to := rapid.Int64Range(max(0, mt.model.hw-2), mt.model.end+1).Draw(t, "to")
	want := mt.model.newEnd(to)
	got, err := mt.log.Truncate(to)
	if want < mt.model.hw {
		if !errors.Is(err, ErrBelowHighWatermark) {
			t.Fatalf("Truncate(%d) with high watermark %d = %v, want ErrBelowHighWatermark", to, mt.model.hw, err)
		}
		return
	}
	if err != nil || got != want {
		t.Fatalf("Truncate(%d) = %d, %v; want %d", to, got, err, want)
	}
	mt.model.truncate(want)
}

func (mt *modelTest) setStart(t *rapid.T) {
	to := rapid.Int64Range(0, mt.model.end).Draw(t, "start")
	err := mt.log.SetStart(to)
	if to > mt.model.hw {
		if !errors.Is(err, ErrAboveHighWatermark) {
			t.Fatalf("SetStart(%d) with high watermark %d = %v, want ErrAboveHighWatermark", to, mt.model.hw, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	mt.forgotten = mt.forgotten || to > mt.model.start
	mt.model.setStart(to)
}

func (mt *modelTest) setHighWatermark(t *rapid.T) {
	mt.model.hw = rapid.Int64Range(mt.model.hw, mt.model.end).Draw(t, "high watermark")
	mt.log.SetHighWatermark(mt.model.hw)
}

func (mt *modelTest) assignEpoch(t *rapid.T) {
	epoch := max(0, mt.model.latestEpoch()) + 1
	if err := mt.log.AssignEpoch(epoch, mt.model.end); err != nil {
		t.Fatal(err)
	}
	mt.model.assign(epoch, mt.model.end)
}

func (mt *modelTest) reset(t *rapid.T) {
	at := rapid.Int64Range(0, mt.model.end+10).Draw(t, "offset")
	if err := mt.log.Reset(at); err != nil {
		t.Fatal(err)
	}
	mt.model = model{start: at, end: at, hw: at}
	mt.forgotten = false
}

func (mt *modelTest) retain(t *rapid.T) {
	cutoff := rapid.Int64Range(0, 120).Draw(t, "cutoff")
	keep := rapid.SampledFrom([]int64{0, 1, 70_000, 300_000}).Draw(t, "keep bytes")
	before := mt.model
	_, err := mt.store.Retain(func(LogInfo) Policy {
		return Policy{MaxAge: time.Hour, MaxBytes: keep}
	}, time.UnixMilli(cutoff).Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	start := mt.log.Start()
	byAge := before.start
	for _, b := range before.batches {
		if b.MaxTimestamp() >= cutoff {
			break
		}
		byAge = b.LastOffset() + 1
	}
	byAge = max(before.start, min(byAge, before.hw))
	if start < byAge || start > before.hw {
		t.Fatalf("Retain moved the start to %d, want %d to %d", start, byAge, before.hw)
	}
	mt.forgotten = mt.forgotten || start > before.start
	mt.model.setStart(start)
	if left := mt.model.bytes(); start > byAge && left < keep && before.bytes() >= keep {
		t.Fatalf("Retain left %d bytes, want at least %d", left, keep)
	}
}

func (mt *modelTest) reopen(t *rapid.T) {
	if err := mt.store.Close(); err != nil {
		t.Fatal(err)
	}
	mt.open(t)
}

func (mt *modelTest) check(t *rapid.T) {
	l, m := mt.log, &mt.model
	got := fmt.Sprint(l.Start(), l.End(), l.HighWatermark(), l.LatestEpoch(), l.epochs())
	want := fmt.Sprint(m.start, m.end, m.hw, m.latestEpoch(), m.epochs)
	if got != want {
		t.Fatalf("start, end, high watermark, epochs = %s, want %s", got, want)
	}
	if got, want := l.Info().Bytes, m.bytes(); got != want {
		t.Fatalf("Bytes = %d, want %d", got, want)
	}
	from := rapid.Int64Range(m.start, m.end).Draw(t, "from")
	below := rapid.Int64Range(m.start, m.end+1).Draw(t, "below")
	maxBytes := rapid.SampledFrom([]int{0, 1000, 100_000, 1 << 30}).Draw(t, "max bytes")
	c, err := l.Read(from, maxBytes, below)
	if err != nil {
		t.Fatal(err)
	}
	if b, next := m.read(from, below, maxBytes); !bytes.Equal(c.Bytes, b) || c.Next != next {
		t.Fatalf("Read(%d, %d, %d) = %d bytes, next %d; want %d, %d", from, maxBytes, below, len(c.Bytes), c.Next, len(b), next)
	}
	epoch := rapid.Int32Range(-1, m.latestEpoch()+1).Draw(t, "epoch")
	e, end := l.EpochEnd(epoch)
	if we, wend := m.epochEnd(epoch); e != we || end != wend {
		t.Fatalf("EpochEnd(%d) = %d, %d; want %d, %d", epoch, e, end, we, wend)
	}
	ts := rapid.Int64Range(0, 101).Draw(t, "timestamp")
	at, _, ok, err := l.OffsetForTimestamp(ts)
	if wat, wok := m.offsetForTimestamp(ts); err != nil || at != wat || ok != wok {
		t.Fatalf("OffsetForTimestamp(%d) = %d, %v, %v; want %d, %v", ts, at, ok, err, wat, wok)
	}
	mt.checkProducers(t)
}

func (mt *modelTest) checkProducers(t *rapid.T) {
	want := mt.model.sequences()
	for pid, seq := range want {
		p, ok := mt.log.Producer(pid)
		if !ok || p.Batches[len(p.Batches)-1].LastSeq != seq {
			t.Fatalf("Producer(%d) = %+v, want last sequence %d", pid, p, seq)
		}
	}
	if got := mt.log.Producers(); !mt.forgotten && len(got) != len(want) {
		t.Fatalf("%d producers, want %d", len(got), len(want))
	}
}

// TestModel applies random operations to a log and to a naive model of one and
// compares all that can be asked of them.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mt := &modelTest{files: vfs.NewMem(), seq: make(map[int64]int32)}
		mt.open(t)
		defer func() { mt.store.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"append leader":      mt.appendLeader,
			"append leader more": mt.appendLeader,
			"append follower":    mt.appendFollower,
			"truncate":           mt.truncate,
			"set start":          mt.setStart,
			"set high watermark": mt.setHighWatermark,
			"assign epoch":       mt.assignEpoch,
			"reset":              mt.reset,
			"retain":             mt.retain,
			"reopen":             mt.reopen,
			"read from disk":     func(*rapid.T) { dropWholeTail(mt.log) },
			"":                   mt.check,
		})
	})
}
