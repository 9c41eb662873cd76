package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/regency-project/regency/storage/record"
	"pgregory.net/rapid"
)

// variant is a store under test with options of its own. What it answers must not
// depend on them.
type variant struct {
	name  string
	files *vfs.MemFS
	o     Options
	tune  func(*pebble.Options)
	store *Store
	log   *Log
}

func (v *variant) open(t *rapid.T) {
	v.o.FS = v.files
	s, err := openTuned(v.o.withDefaults(), v.tune)
	if err != nil {
		t.Fatalf("%s: %v", v.name, err)
	}
	l, err := s.Log("a", topicA, 0)
	if err != nil {
		t.Fatalf("%s: %v", v.name, err)
	}
	v.store, v.log = s, l
}

// variants are the option sets; each run takes the first and two others.
func variants() []*variant {
	make := func(name string, flush FlushMode, budget int64, tune func(*pebble.Options)) *variant {
		v := &variant{name: name, files: vfs.NewCrashableMem(), o: memOptions(nil), tune: tune}
		v.o.Flush, v.o.MemoryBudget = flush, budget
		return v
	}
	separate := func(size int) func(*pebble.Options) {
		return func(po *pebble.Options) {
			po.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
				return pebble.ValueSeparationPolicy{Enabled: true, MinimumSize: size, MaxBlobReferenceDepth: 3, RewriteMinimumAge: 0, TargetGarbageRatio: 0.1}
			}
		}
	}
	return []*variant{
		make("default", FlushSync, MinMemoryBudget, func(*pebble.Options) {}),
		make("written", FlushWritten, MinMemoryBudget, func(*pebble.Options) {}),
		make("tiny memtables", FlushSync, MinMemoryBudget, func(po *pebble.Options) {
			po.MemTableSize, po.L0CompactionThreshold, po.FlushSplitBytes = 256<<10, 2, 64<<10
			po.TargetFileSizes[0] = 64 << 10
		}),
		make("no value separation", FlushWritten, MinMemoryBudget, func(po *pebble.Options) { po.Experimental.ValueSeparationPolicy = nil }),
		make("all values apart", FlushSync, MinMemoryBudget, func(po *pebble.Options) {
			separate(1)(po)
			po.MemTableSize = 256 << 10
		}),
		make("large values apart, small blocks", FlushWritten, 4*MinMemoryBudget, func(po *pebble.Options) {
			separate(50_000)(po)
			po.MemTableSize = 512 << 10
			for i := range po.Levels {
				po.Levels[i].BlockSize = 512
			}
		}),
		make("no cache", FlushSync, 2*MinMemoryBudget, func(po *pebble.Options) { po.CacheSize, po.MemTableSize = 1, 256<<10 }),
	}
}

// modelTest drives logs of several variants and a model alike.
type modelTest struct {
	all   []*variant
	model model
	past  []*model // since the last moment when everything was durable, oldest first
	seq   map[int64]int32
	now   int64
	// forgotten producers have batches below the log start only: the log may
	// remember them longer than the model does.
	forgotten bool
}

// do runs an operation on every variant, while a reader reads.
func (mt *modelTest) do(t *rapid.T, op func(v *variant, l *Log)) {
	mt.past = append(mt.past, mt.model.clone())
	seed := rand.Uint64()
	for _, v := range mt.all {
		done := make(chan error)
		go func() { done <- readAround(v.log, rand.New(rand.NewPCG(seed, 1))) }()
		op(v, v.log)
		if err := <-done; err != nil {
			t.Fatalf("%s: reader: %v", v.name, err)
		}
	}
}

// readAround reads a few chunks from anywhere and checks that each is sound in itself.
func readAround(l *Log, rng *rand.Rand) error {
	for range 3 {
		st := l.snapshot()
		from := st.start + rng.Int64N(st.end-st.start+1)
		c, err := l.Read(from, 1+rng.IntN(200_000), math.MaxInt64)
		if errors.Is(err, ErrOffsetOutOfRange) {
			continue // truncated or deleted meanwhile
		}
		if err != nil {
			return err
		}
		next := int64(-1)
		for b, err := range record.Batches(c.Bytes, record.CheckReplica) {
			switch {
			case err != nil:
				return err
			case b.LastOffset() < from || b.BaseOffset() < next:
				return fmt.Errorf("Read(%d) returns %d to %d after %d", from, b.BaseOffset(), b.LastOffset(), next-1)
			}
			next = b.LastOffset() + 1
		}
		if next >= 0 && next != c.Next {
			return fmt.Errorf("Read(%d) ends at %d and says %d", from, next, c.Next)
		}
	}
	return nil
}

// durable notes that everything up to now survives any crash.
func (mt *modelTest) durable() { mt.past = nil }

func drawBatch(t *rapid.T, seqs map[int64]int32) record.Batch {
	size := rapid.SampledFrom([]int{1, 300, 30_000, 80_000}).Draw(t, "size")
	rs := make([]record.Record, rapid.IntRange(1, 4).Draw(t, "records"))
	for i := range rs {
		rs[i] = record.Record{Timestamp: rapid.Int64Range(0, 100).Draw(t, "time"), Value: make([]byte, size)}
		if key := rapid.IntRange(0, 9).Draw(t, "key"); key < 9 {
			rs[i].Key = fmt.Appendf(nil, "key %d", key%5)
		}
		if rapid.IntRange(0, 3).Draw(t, "tombstone") == 0 {
			rs[i].Value = nil
		}
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
	latest := mt.model.latestEpoch()
	epoch := max(0, latest) + rapid.Int32Range(0, 1).Draw(t, "new epoch")
	wait := rapid.Bool().Draw(t, "wait")
	if latest > 0 && rapid.IntRange(0, 9).Draw(t, "stale") == 0 {
		mt.do(t, func(v *variant, l *Log) {
			if _, err := l.AppendLeader(b, latest-1, time.UnixMilli(0)); !errors.Is(err, ErrStaleEpoch) {
				t.Fatalf("%s: AppendLeader with epoch %d after %d = %v, want ErrStaleEpoch", v.name, latest-1, latest, err)
			}
			if err := l.AssignEpoch(latest-1, mt.model.end); !errors.Is(err, ErrStaleEpoch) {
				t.Fatalf("%s: AssignEpoch(%d) after %d = %v, want ErrStaleEpoch", v.name, latest-1, latest, err)
			}
		})
	}
	mt.do(t, func(v *variant, l *Log) {
		a, err := l.AppendLeader(b, epoch, time.UnixMilli(0))
		if err != nil || a.Base != mt.model.end {
			t.Fatalf("%s: AppendLeader base = %d, %v; want %d", v.name, a.Base, err, mt.model.end)
		}
		if !wait {
			return
		}
		if err := a.Pending.Wait(); err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
	})
	b.Patch(mt.model.end, epoch)
	mt.model.put(b)
	if wait {
		mt.durable()
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
	early := max(base, 0) < mt.model.end
	mt.do(t, func(v *variant, l *Log) {
		_, err := l.AppendFollower(all)
		if early != errors.Is(err, ErrOutOfOrder) || (err != nil) != early {
			t.Fatalf("%s: AppendFollower at %d with end %d = %v", v.name, base, mt.model.end, err)
		}
	})
	if !early {
		for _, b := range batches {
			mt.model.put(b)
		}
	}
}

func (mt *modelTest) truncate(t *rapid.T) {
	to := rapid.Int64Range(max(0, mt.model.hw-2), mt.model.end+1).Draw(t, "to")
	want := mt.model.newEnd(to)
	refused := want < mt.model.hw
	mt.do(t, func(v *variant, l *Log) {
		got, err := l.Truncate(to)
		if refused != errors.Is(err, ErrBelowHighWatermark) {
			t.Fatalf("%s: Truncate(%d) with high watermark %d = %v", v.name, to, mt.model.hw, err)
		}
		if !refused && (err != nil || got != want) {
			t.Fatalf("%s: Truncate(%d) = %d, %v; want %d", v.name, to, got, err, want)
		}
	})
	if !refused {
		mt.model.truncate(want)
	}
}

func (mt *modelTest) setStart(t *rapid.T)      { mt.moveStart(t, (*Log).SetStart, false) }
func (mt *modelTest) deleteRecords(t *rapid.T) { mt.moveStart(t, deleteRecords, true) }

func deleteRecords(l *Log, to int64) error {
	start, err := l.DeleteRecords(to)
	if err == nil && start < to {
		err = fmt.Errorf("the start is %d", start)
	}
	return err
}

func (mt *modelTest) moveStart(t *rapid.T, move func(*Log, int64) error, durable bool) {
	to := rapid.Int64Range(0, mt.model.end).Draw(t, "start")
	refused := to > mt.model.hw && to > mt.model.start
	mt.do(t, func(v *variant, l *Log) {
		if err := move(l, to); refused != errors.Is(err, ErrAboveHighWatermark) || (err != nil) != refused {
			t.Fatalf("%s: start to %d with high watermark %d: %v", v.name, to, mt.model.hw, err)
		}
	})
	if refused {
		return
	}
	mt.forgotten = mt.forgotten || to > mt.model.start
	mt.model.setStart(to)
	if durable {
		mt.durable()
	}
}

func (mt *modelTest) setHighWatermark(t *rapid.T) {
	mt.model.hw = rapid.Int64Range(mt.model.hw, mt.model.end).Draw(t, "high watermark")
	mt.do(t, func(_ *variant, l *Log) { l.SetHighWatermark(mt.model.hw) })
}

func (mt *modelTest) assignEpoch(t *rapid.T) {
	epoch := max(0, mt.model.latestEpoch()) + 1
	mt.do(t, func(v *variant, l *Log) {
		if err := l.AssignEpoch(epoch, mt.model.end); err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
	})
	mt.model.assign(epoch, mt.model.end)
}

func (mt *modelTest) reset(t *rapid.T) {
	mt.resetTo(t, rapid.Int64Range(0, mt.model.end+10).Draw(t, "offset"))
}

func (mt *modelTest) resetTo(t *rapid.T, at int64) {
	mt.do(t, func(v *variant, l *Log) {
		if err := l.Reset(at); err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
	})
	mt.model = model{start: at, end: at, hw: at}
	mt.forgotten = false
	mt.durable()
}

func (mt *modelTest) retain(t *rapid.T) {
	cutoff := rapid.Int64Range(0, 120).Draw(t, "cutoff")
	keep := rapid.SampledFrom([]int64{0, 1, 70_000, 300_000}).Draw(t, "keep bytes")
	before := mt.model
	byAge := before.start
	for _, b := range before.batches {
		if b.MaxTimestamp() >= cutoff {
			break
		}
		byAge = b.LastOffset() + 1
	}
	byAge = max(before.start, min(byAge, before.hw))
	start := int64(-1)
	mt.do(t, func(v *variant, l *Log) {
		_, err := v.store.Retain(func(LogInfo) Policy {
			return Policy{MaxAge: time.Hour, MaxBytes: keep}
		}, time.UnixMilli(cutoff).Add(time.Hour))
		if err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		if got := l.Start(); start >= 0 && got != start || got < byAge || got > before.hw {
			t.Fatalf("%s: Retain moved the start to %d, want %d to %d, and %d as the first variant", v.name, got, byAge, before.hw, start)
		}
		start = l.Start()
	})
	mt.forgotten = mt.forgotten || start > before.start
	mt.model.setStart(start)
	if left := mt.model.bytes(); start > byAge && left < keep && before.bytes() >= keep {
		t.Fatalf("Retain left %d bytes, want at least %d", left, keep)
	}
}

func (mt *modelTest) reopen(t *rapid.T) {
	mt.do(t, func(v *variant, _ *Log) {})
	for _, v := range mt.all {
		if err := v.store.Close(); err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		v.open(t)
	}
	mt.durable()
}

// crash takes the disks as a crash leaves them: of the machine, or in flush mode
// written of the process.
func (v *variant) crash(rng *rand.Rand) {
	cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng}
	if v.o.Flush == FlushSync {
		cfg.UnsyncedDataPercent = rng.IntN(101)
	}
	left := v.files.CrashClone(cfg)
	v.store.Close() // of the process that is no more
	v.files = left
}

// crashDurable crashes when everything is durable: nothing is lost.
func (mt *modelTest) crashDurable(t *rapid.T) {
	seed := rapid.Uint64().Draw(t, "seed")
	for _, v := range mt.all {
		v.store.checkpoint() // the high watermark too
		if err := v.store.Sync(); err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		v.crash(rand.New(rand.NewPCG(seed, 1)))
		v.open(t)
	}
	mt.durable()
}

// crashNow crashes at any moment: each log is as it was at one moment since the last
// one when all was durable. Then everything starts over.
func (mt *modelTest) crashNow(t *rapid.T) {
	seed := rapid.Uint64().Draw(t, "seed")
	states := append(mt.past, mt.model.clone())
	for _, v := range mt.all {
		v.crash(rand.New(rand.NewPCG(seed, 1)))
		v.open(t)
		got := content(v.log.Start(), v.log.End(), v.log.epochs(), onDisk(t, v))
		was := slices.ContainsFunc(states, func(m *model) bool { return content(m.start, m.end, m.epochs, m.batches) == got })
		if !was && !withinCompaction(states, v.log.Start(), v.log.End(), v.log.epochs(), onDisk(t, v)) {
			t.Fatalf("%s: after a crash: %s, which it never was in the last %d states:\n%s", v.name, got, len(states),
				content(mt.model.start, mt.model.end, mt.model.epochs, mt.model.batches))
		}
		if hw := v.log.HighWatermark(); hw > mt.model.hw && hw > v.log.Start() {
			t.Fatalf("%s: high watermark %d after a crash, was at most %d", v.name, hw, mt.model.hw)
		}
	}
	mt.resetTo(t, mt.model.end)
}

// content describes a log's offsets and records.
func content(start, end int64, epochs []epochStart, batches []record.Batch) string {
	s := fmt.Sprint(start, end, " ")
	for _, e := range epochs {
		s += fmt.Sprint(e)
	}
	for _, b := range batches {
		s += fmt.Sprintf(" %s %d", header(b), len(b))
	}
	return s
}

func (mt *modelTest) check(t *rapid.T) {
	m := &mt.model
	from := rapid.Int64Range(m.start, m.end).Draw(t, "from")
	below := rapid.Int64Range(m.start, m.end+1).Draw(t, "below")
	maxBytes := rapid.SampledFrom([]int{0, 1000, 100_000, 1 << 30}).Draw(t, "max bytes")
	epoch := rapid.Int32Range(-1, m.latestEpoch()+1).Draw(t, "epoch")
	ts := rapid.Int64Range(0, 101).Draw(t, "timestamp")
	for _, v := range mt.all {
		l := v.log
		got := fmt.Sprint(l.Start(), l.End(), l.HighWatermark(), l.LatestEpoch(), l.epochs())
		want := fmt.Sprint(m.start, m.end, m.hw, m.latestEpoch(), m.epochs)
		if got != want {
			t.Fatalf("%s: start, end, high watermark, epochs = %s, want %s", v.name, got, want)
		}
		if got, want := l.Info().Bytes, m.bytes(); got != want {
			t.Fatalf("%s: Bytes = %d, want %d", v.name, got, want)
		}
		c, err := l.Read(from, maxBytes, below)
		if err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		if b, next := m.read(from, below, maxBytes); !bytes.Equal(c.Bytes, b) || c.Next != next {
			t.Fatalf("%s: Read(%d, %d, %d) = %d bytes, next %d; want %d, %d", v.name, from, maxBytes, below, len(c.Bytes), c.Next, len(b), next)
		}
		e, end := l.EpochEnd(epoch)
		if we, wend := m.epochEnd(epoch); e != we || end != wend {
			t.Fatalf("%s: EpochEnd(%d) = %d, %d; want %d, %d", v.name, epoch, e, end, we, wend)
		}
		at, _, ok, err := l.OffsetForTimestamp(ts)
		if wat, wok := m.offsetForTimestamp(ts); err != nil || at != wat || ok != wok {
			t.Fatalf("%s: OffsetForTimestamp(%d) = %d, %v, %v; want %d, %v", v.name, ts, at, ok, err, wat, wok)
		}
		mt.checkProducers(t, v)
	}
}

func (mt *modelTest) checkProducers(t *rapid.T, v *variant) {
	want := mt.model.sequences()
	for pid, seq := range want {
		p, ok := v.log.Producer(pid)
		if !ok || p.Batches[len(p.Batches)-1].LastSeq != seq {
			t.Fatalf("%s: Producer(%d) = %+v, want last sequence %d", v.name, pid, p, seq)
		}
	}
	if got := v.log.Producers(); !mt.forgotten && len(got) != len(want) {
		t.Fatalf("%s: %d producers, want %d", v.name, len(got), len(want))
	}
}

// verify closes the stores and looks for anything that does not agree.
func (mt *modelTest) verify(t *rapid.T) {
	for _, v := range mt.all {
		if err := v.store.Close(); err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		i, err := Inspect(v.o)
		if err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		if _, err := i.Verify(context.Background(), func(f Fault) { t.Fatalf("%s: %s", v.name, f) }); err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		if err := i.Close(); err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
	}
}

// TestModel applies random operations to logs in stores with different options and to
// a naive model of a log, and compares all that can be asked of them.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		options := variants()
		others := options[1:]
		mt := &modelTest{seq: make(map[int64]int32), now: 1000}
		first := rapid.IntRange(0, len(others)-1).Draw(t, "variant")
		mt.all = []*variant{options[0], others[first], others[(first+1)%len(others)]}
		for _, v := range mt.all {
			v.open(t)
			defer func() { v.store.Close() }()
		}
		t.Repeat(map[string]func(*rapid.T){
			"append leader":      mt.appendLeader,
			"append leader more": mt.appendLeader,
			"append follower":    mt.appendFollower,
			"truncate":           mt.truncate,
			"set start":          mt.setStart,
			"delete records":     mt.deleteRecords,
			"set high watermark": mt.setHighWatermark,
			"assign epoch":       mt.assignEpoch,
			"reset":              mt.reset,
			"retain":             mt.retain,
			"compact":            mt.compact,
			"compact more":       mt.compact,
			"reopen":             mt.reopen,
			"crash":              mt.crashDurable,
			"crash now":          mt.crashNow,
			"read from disk": func(*rapid.T) {
				for _, v := range mt.all {
					dropWholeTail(v.log)
				}
			},
			"": mt.check,
		})
		mt.verify(t)
	})
}
