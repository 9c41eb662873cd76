package storage

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/regency-project/regency/storage/record"
)

// crashPoint is the disk at one moment, as a crash would leave it, and what was
// promised and done by then.
type crashPoint struct {
	files   *vfs.MemFS
	what    string // the call to the disk, and what the store was doing
	machine bool   // the machine went down, else the process
	// The log is in one of the states[durable..issued].
	durable, issued int
	acked, sent     int64 // of the second log
	inUse           bool  // the store was neither being opened nor closed
}

// crashes drives a store and takes its disk at what may be every call to it. Partition
// 0 is changed in all ways, one after the other, and compared with a model; partition 1
// only takes appends, at the same time.
type crashes struct {
	t     *testing.T
	o     Options
	files *vfs.MemFS
	store *Store
	log   *Log // nil: deleted
	uuid  string
	rng   *rand.Rand
	seq   map[int64]int32
	now   int64
	model model

	acked, sent atomic.Int64
	// percent is how often a rare call becomes a crash point; perOp bounds how many
	// there are in one operation.
	percent, perOp int

	mu struct {
		sync.Mutex
		rng     *rand.Rand
		doing   string
		inUse   bool
		states  []*model // nil: there was no log
		durable int      // the last that survives
		points  []crashPoint
		taken   map[string]int // by operation and by call
	}
}

func newCrashes(t *testing.T, flush FlushMode, seed uint64) *crashes {
	c := &crashes{
		t: t, o: memOptions(nil), files: vfs.NewCrashableMem(), now: 1000, seq: make(map[int64]int32),
		rng: rand.New(rand.NewPCG(seed, 1)), percent: 30, perOp: 2,
	}
	if os.Getenv("REGENCY_SOAK") != "" {
		c.percent, c.perOp = 100, 10
	}
	c.o.Flush = flush
	c.o.FS = boundaryFS{c.files, c.at}
	c.mu.rng = rand.New(rand.NewPCG(seed, 2))
	c.mu.taken = make(map[string]int)
	c.mu.states = []*model{nil}
	return c
}

// at takes the disk, or not.
func (c *crashes) at(what, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.wanted(what) {
		return
	}
	p := crashPoint{
		what:    fmt.Sprintf("%s, %s %s", c.mu.doing, what, name),
		machine: c.mu.rng.IntN(3) > 0,
		durable: c.mu.durable,
		acked:   c.acked.Load(),
		inUse:   c.mu.inUse,
	}
	cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: c.mu.rng}
	if p.machine {
		cfg.UnsyncedDataPercent = []int{0, 20, 80}[c.mu.rng.IntN(3)]
	}
	p.files = c.files.CrashClone(cfg)
	p.issued, p.sent = len(c.mu.states), c.sent.Load()
	c.mu.points = append(c.mu.points, p)
	c.mu.taken[c.mu.doing]++
	c.mu.taken["call "+what]++
}

// wanted draws whether this call becomes a crash point: the first of each kind, writes
// and syncs seldom, as there are many.
func (c *crashes) wanted(what string) bool {
	if c.mu.taken[c.mu.doing] == 0 || c.mu.taken["call "+what] == 0 {
		return true
	}
	if what == "return" && c.mu.doing != "append" { // there are few, and only they show what an answer had not made durable
		return true
	}
	percent := c.percent
	if what == "write" || what == "sync" {
		percent /= 5
	}
	return len(c.mu.points) < c.perOp && c.mu.rng.IntN(100) < percent
}

// do is one operation, which leaves the log as the model then is. durable: so much so
// that a crash does not take it back.
func (c *crashes) do(doing string, op func() (durable bool)) {
	c.mu.Lock()
	c.mu.doing, c.mu.inUse = doing, doing != "reopen" && doing != "open"
	c.mu.Unlock()
	durable := op()
	var state *model
	if c.log != nil {
		state = c.model.clone()
	}
	c.mu.Lock()
	c.mu.states = append(c.mu.states, state)
	if durable {
		c.mu.durable = len(c.mu.states) - 1
	}
	c.mu.Unlock()
	c.at("return", "")
	c.mu.Lock()
	points := c.mu.points
	c.mu.points = nil
	states := c.mu.states
	c.mu.Unlock()
	for _, p := range points {
		c.verify(p, states, 1)
	}
}

func (c *crashes) open() {
	s, err := openTuned(c.o.withDefaults(), tinyMemTables)
	if err != nil {
		c.t.Fatal(err)
	}
	c.store, c.uuid = s, s.DirectoryUUID()
	if c.log != nil {
		c.log = mustLog(c.t, s, 0)
	}
}

// tinyMemTables makes every few operations flush and compact.
func tinyMemTables(po *pebble.Options) {
	po.MemTableSize, po.L0CompactionThreshold = 256<<10, 2
}

// verify opens what a crash left and looks whether it may be so. again: it crashes
// once more meanwhile.
func (c *crashes) verify(p crashPoint, states []*model, again int) {
	o := c.o
	o.FS = p.files
	var more []crashPoint
	var one sync.Mutex // Pebble calls from several goroutines
	if again > 0 {
		rng := rand.New(rand.NewPCG(c.rng.Uint64(), 3))
		o.FS = boundaryFS{p.files, func(what, name string) {
			one.Lock()
			defer one.Unlock()
			if len(more) > 0 || rng.IntN(40) > 0 {
				return
			}
			next := p
			next.what += ", then at opening or closing " + what + " " + name
			next.inUse = false
			cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng}
			if rng.IntN(2) == 0 {
				next.machine, cfg.UnsyncedDataPercent = true, rng.IntN(100)
			}
			next.files = p.files.CrashClone(cfg)
			more = append(more, next)
		}}
	}
	if p.machine {
		o.BootID = fmt.Sprint("boot ", 2+c.rng.IntN(1000))
	}
	s, err := Open(o)
	if err != nil {
		c.t.Fatalf("crash at %s: %v", p.what, err)
	}
	if err := c.checkStore(s, p, states); err != nil {
		c.t.Errorf("crash at %s (machine: %v): %v", p.what, p.machine, err)
	}
	mustClose(c.t, s)
	if found, _ := faults(c.t, p.files); len(found) > 0 {
		c.t.Errorf("crash at %s: faults: %v", p.what, found)
	}
	for _, p := range more {
		c.verify(p, states, again-1)
	}
	if c.t.Failed() {
		c.t.FailNow()
	}
}

func (c *crashes) checkStore(s *Store, p crashPoint, states []*model) error {
	same := s.DirectoryUUID() == c.uuid
	mayLose := c.o.Flush == FlushWritten && p.machine
	switch {
	case p.durable == 0: // the store was not made yet
	case !same && !mayLose:
		return fmt.Errorf("another directory UUID, but nothing was lost")
	case same && mayLose && p.inUse:
		return fmt.Errorf("the same directory UUID, but what was acknowledged may be lost")
	case !same: // with a new UUID nothing is promised but that it is a prefix
		p.durable, p.acked = 0, 0
	}
	if d := s.Damaged(); len(d) > 0 {
		return fmt.Errorf("damaged: %v", d)
	}
	if err := checkState(s, states[p.durable:min(p.issued+1, len(states))]); err != nil {
		return fmt.Errorf("durable %d, issued %d: %w", p.durable, p.issued, err)
	}
	l := s.mu.logs[logIdentity{topicA, 1}]
	switch {
	case l == nil && p.acked > 0:
		return fmt.Errorf("the second log is gone, %d acknowledged", p.acked)
	case l == nil:
		return nil
	case l.End() > p.sent:
		return fmt.Errorf("the second log ends at %d, %d sent", l.End(), p.sent)
	}
	return verifyLog(l, p.acked)
}

// checkState looks for the state that the log is in.
func checkState(s *Store, states []*model) error {
	l := s.mu.logs[logIdentity{topicA, 0}]
	if l == nil {
		if slices.Contains(states, nil) {
			return nil
		}
		return fmt.Errorf("the log is gone")
	}
	var batches []record.Batch
	err := l.scanChecked(l.Start(), l.End(), func(b record.Batch) (bool, error) {
		batches = append(batches, slices.Clone(b))
		return true, nil
	})
	if err != nil {
		return err
	}
	got := content(l.Start(), l.End(), l.epochs(), batches)
	maxHW, found := int64(0), false
	var models []*model
	for _, m := range states {
		if m == nil {
			models = nil
			found = found || got == content(0, 0, nil, nil) // it was made, and nothing more
			continue
		}
		models, maxHW = append(models, m), max(maxHW, m.hw)
		if content(m.start, m.end, m.epochs, m.batches) == got {
			found = true
			if err := checkSequences(l, m); err != nil {
				return err
			}
		}
	}
	if !found && (len(models) == 0 || !withinCompaction(models, l.Start(), l.End(), l.epochs(), batches)) {
		return fmt.Errorf("it is %s, which it never was; last:%s", got, describeStates(states))
	}
	if hw := l.HighWatermark(); hw > max(maxHW, l.Start()) {
		return fmt.Errorf("high watermark %d, was at most %d", hw, maxHW)
	}
	return nil
}

func describeStates(states []*model) (all string) {
	for _, m := range states {
		if m == nil {
			all += "\n none"
			continue
		}
		all += fmt.Sprintf("\n %s, %d compactions", content(m.start, m.end, m.epochs, m.batches), m.compactions)
	}
	return all
}

// checkSequences looks for what is remembered of the producers.
func checkSequences(l *Log, m *model) error {
	for pid, seq := range m.sequences() {
		p, ok := l.Producer(pid)
		if !ok || p.Batches[len(p.Batches)-1].LastSeq != seq {
			return fmt.Errorf("Producer(%d) = %+v, want last sequence %d", pid, p, seq)
		}
	}
	return nil
}

// beside appends to the second log while op runs.
func (c *crashes) beside(op func()) {
	l := mustLog(c.t, c.store, 1)
	done := make(chan error, 1)
	go func() {
		for range 2 {
			c.sent.Store(l.End() + 1)
			if err := appendOne(l, 3000, c.acked.Store); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	op()
	if err := <-done; err != nil {
		c.t.Fatal(err)
	}
}

// changing is do for a change of the open log, which is made if there is none.
func (c *crashes) changing(doing string, op func(l *Log) (durable bool)) {
	if c.log == nil {
		c.do("create", func() bool {
			c.log, c.model = mustLog(c.t, c.store, 0), model{}
			return false
		})
	}
	c.do(doing, func() (durable bool) {
		if c.rng.IntN(2) == 0 { // else nobody makes durable what this operation should
			return op(c.log)
		}
		c.beside(func() { durable = op(c.log) })
		return durable
	})
}

func (c *crashes) fail(doing string, err error) {
	if err != nil {
		c.t.Fatalf("%s: %v", doing, err)
	}
}

func (c *crashes) randomBatch() record.Batch {
	rs := make([]record.Record, 1+c.rng.IntN(4))
	for i := range rs {
		rs[i] = record.Record{Timestamp: c.rng.Int64N(100), Value: make([]byte, []int{1, 300, 10_000}[c.rng.IntN(3)])}
		if key := c.rng.IntN(9); key < 8 {
			rs[i].Key = fmt.Appendf(nil, "key %d", key)
		}
		if c.rng.IntN(4) == 0 {
			rs[i].Value = nil
		}
	}
	o := record.NoProducer
	if pid := c.rng.Int64N(4) - 1; pid >= 0 {
		o = record.Options{ProducerID: pid, BaseSequence: c.seq[pid]}
		c.seq[pid] = record.AddSequence(c.seq[pid], int32(len(rs)))
	}
	return record.Build(o, rs...)
}

func (c *crashes) append() {
	for range 1 + c.rng.IntN(4) {
		c.changing("append", func(l *Log) bool {
			b := c.randomBatch()
			epoch := max(0, c.model.latestEpoch()) + int32(c.rng.IntN(8)/7)
			a, err := l.AppendLeader(b, epoch, testTime)
			c.fail("append", err)
			b.Patch(c.model.end, epoch)
			c.model.put(b)
			if c.rng.IntN(3) == 0 {
				return false
			}
			c.fail("wait", a.Pending.Wait())
			return true
		})
	}
}

func (c *crashes) highWatermark() {
	c.changing("high watermark", func(l *Log) bool {
		c.model.hw = c.model.end - c.rng.Int64N(min(5, c.model.end-c.model.hw+1))
		l.SetHighWatermark(c.model.hw)
		c.store.checkpoint()
		return false
	})
}

func (c *crashes) truncate() {
	c.changing("truncate", func(l *Log) bool {
		end := c.model.newEnd(c.model.hw + c.rng.Int64N(c.model.end-c.model.hw+1))
		if end < c.model.hw {
			return false
		}
		got, err := l.Truncate(end)
		c.fail("truncate", err)
		if got != end {
			c.t.Fatalf("Truncate(%d) = %d", end, got)
		}
		c.model.truncate(end)
		return false
	})
}

// toDelete is an offset in the first half of what may be deleted.
func (c *crashes) toDelete() int64 {
	return c.model.start + c.rng.Int64N((c.model.hw-c.model.start)/2+1)
}

func (c *crashes) deleteRecords() {
	c.changing("delete records", func(l *Log) bool {
		to := c.toDelete()
		c.fail("delete records", deleteRecords(l, to))
		c.model.setStart(to)
		return true
	})
}

func (c *crashes) retain() {
	c.changing("retain", func(l *Log) bool {
		p := Policy{MaxBytes: 1 + c.model.bytes()/2}
		if c.rng.IntN(2) == 0 {
			p = Policy{MaxAge: time.Millisecond}
		}
		_, err := l.retain(p, time.UnixMilli(c.rng.Int64N(100)))
		c.fail("retain", err)
		c.model.setStart(l.Start())
		return false
	})
}

func (c *crashes) compact() {
	c.changing("compact", func(l *Log) bool {
		c.now += c.rng.Int64N(20)
		was := newestValues(c.model.batches)
		_, err := l.Compact(context.Background(), CompactOptions{
			Now: time.UnixMilli(c.now), Below: math.MaxInt64, DeleteRetention: 15 * time.Millisecond,
			MapBytes: []int64{1, 200, 0}[c.rng.IntN(3)],
		})
		c.fail("compact", err)
		c.model.batches = nil
		c.fail("read", l.scanChecked(l.Start(), l.End(), func(b record.Batch) (bool, error) {
			c.model.batches = append(c.model.batches, slices.Clone(b))
			return true, nil
		}))
		c.model.compactions++
		if is := newestValues(c.model.batches); fmt.Sprint(is) != fmt.Sprint(was) {
			c.t.Fatalf("compaction leaves the keys %v, want %v", is, was)
		}
		return false
	})
}

// settle lets Pebble do what it otherwise does in the background: what is crashed here
// is the reclaiming of space.
func (c *crashes) settle() {
	c.changing("flush and reclaim", func(l *Log) bool {
		c.fail("flush", c.store.db.Flush())
		c.fail("reclaim", c.store.db.Compact(context.Background(), prefixKey(l.id, 0), logEnd(l.id), false))
		return true
	})
}

func (c *crashes) reset() {
	c.changing("reset", func(l *Log) bool {
		at := c.rng.Int64N(c.model.end + 10)
		c.fail("reset", l.Reset(at))
		c.model = model{start: at, end: at, hw: at}
		return true
	})
}

func (c *crashes) deleteLog() {
	c.changing("delete log", func(*Log) bool {
		c.fail("delete log", c.store.DeleteLog(topicA, 0))
		c.log = nil
		return true
	})
}

func (c *crashes) reopen() {
	c.do("reopen", func() bool {
		c.fail("close", c.store.Close())
		c.open()
		return true
	})
}

// run does so many operations.
func (c *crashes) run(n int) {
	c.do("open", func() bool { c.open(); return true })
	ops := []struct {
		weight int
		op     func()
	}{
		{8, c.append}, {5, c.highWatermark}, {4, c.truncate}, {3, c.deleteRecords}, {2, c.retain},
		{6, c.compact}, {2, c.settle}, {2, c.reset}, {2, c.deleteLog}, {1, c.reopen},
	}
	var deck []func()
	for _, o := range ops {
		deck = append(deck, slices.Repeat([]func(){o.op}, o.weight)...)
	}
	for range n {
		deck[c.rng.IntN(len(deck))]()
	}
	c.reopen()
	mustClose(c.t, c.store)
}

// TestEveryCrash takes the disk as a crash of the process or of the machine leaves it,
// before and after calls that write, sync, make, rename or remove a file, in the middle
// of every operation, and once more while that is opened. What is found there must be a
// state that the log had, not older than what was acknowledged, unless the directory has
// another UUID, and all that describes it must agree.
func TestEveryCrash(t *testing.T) {
	seeds, ops := uint64(2), 60
	if os.Getenv("REGENCY_SOAK") != "" {
		seeds, ops = 30, 300
	}
	for _, mode := range []FlushMode{FlushSync, FlushWritten} {
		taken := make(map[string]int)
		for seed := range seeds {
			t.Run(fmt.Sprintf("%v/%d", mode, seed), func(t *testing.T) {
				c := newCrashes(t, mode, seed)
				c.run(ops)
				for what, n := range c.mu.taken {
					taken[what] += n
				}
			})
		}
		t.Logf("%v: crashes at %v", mode, taken)
		for _, want := range []string{
			"append", "truncate", "delete records", "retain", "compact", "flush and reclaim", "reset", "delete log", "reopen",
			"call write", "call sync", "call create", "call reuse", "call rename", "call remove",
		} {
			if taken[want] == 0 && !t.Failed() {
				t.Errorf("%v: no crash at %s", mode, want)
			}
		}
	}
}
