package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/regency-project/regency/storage/record"
)

const crashLogs = 3

// load appends to several logs at once until ctx ends or the store fails, and
// notes what was acknowledged.
type load struct {
	acked [crashLogs]atomic.Int64 // end of the last acknowledged append
	err   [crashLogs]error        // what ended the appender
	wg    sync.WaitGroup
}

func startLoad(ctx context.Context, t *testing.T, s *Store, size int) *load {
	t.Helper()
	ld := new(load)
	for i := range crashLogs {
		l := mustLog(t, s, int32(i))
		ld.acked[i].Store(l.End())
		ld.wg.Go(func() {
			for ctx.Err() == nil && ld.err[i] == nil {
				ld.err[i] = appendOne(l, size, ld.acked[i].Store)
			}
		})
	}
	return ld
}

// appendOne appends a batch whose content follows from its offset.
func appendOne(l *Log, size int, ack func(int64)) error {
	end := l.End()
	a, err := l.AppendLeader(numbered(end, size), int32(end/100), time.UnixMilli(1000+end))
	if err != nil {
		return err
	}
	if err := a.Pending.Wait(); err != nil {
		return err
	}
	ack(a.End)
	return nil
}

// numbered is a batch of one record that holds its offset, from producer 9.
func numbered(offset int64, size int) record.Batch {
	v := binary.BigEndian.AppendUint64(make([]byte, size), uint64(offset))
	return record.Build(record.Options{ProducerID: 9, BaseSequence: int32(offset)},
		record.Record{Timestamp: 1000 + offset, Value: v})
}

func (ld *load) ackedNow() (a [crashLogs]int64) {
	for i := range a {
		a[i] = ld.acked[i].Load()
	}
	return a
}

// verifyLoad checks a store that was opened after a crash: nothing acknowledged is
// missing, and data and description agree.
func verifyLoad(t testing.TB, s *Store, acked [crashLogs]int64) {
	t.Helper()
	for i, want := range acked {
		if err := verifyLog(mustLog(t, s, int32(i)), want); err != nil {
			t.Errorf("log %d: %v", i, err)
		}
	}
}

func verifyLog(l *Log, acked int64) error {
	end := l.End()
	if end < acked {
		return fmt.Errorf("end = %d, acknowledged %d", end, acked)
	}
	next := int64(0)
	for next < end {
		c, err := l.Read(next, 1<<20, end)
		if err != nil {
			return err
		}
		if len(c.Bytes) == 0 {
			return fmt.Errorf("nothing at offset %d, end %d", next, end)
		}
		for b, err := range record.Batches(c.Bytes, record.CheckReplica) {
			if err != nil {
				return err
			}
			if err := verifyNumbered(b, next); err != nil {
				return err
			}
			next++
		}
	}
	p, ok := l.Producer(9)
	if end > 0 && (!ok || p.Batches[len(p.Batches)-1].BaseOffset != end-1) {
		return fmt.Errorf("end %d, producer %+v", end, p)
	}
	if want := int32((end - 1) / 100); end > 0 && l.LatestEpoch() != want {
		return fmt.Errorf("end %d, epoch %d, want %d", end, l.LatestEpoch(), want)
	}
	if hw := l.HighWatermark(); hw > end {
		return fmt.Errorf("high watermark %d, end %d", hw, end)
	}
	return nil
}

func verifyNumbered(b record.Batch, want int64) error {
	var got int64 = -1
	err := record.ForEach(b, 1<<20, func(r record.Record) bool {
		got = int64(binary.BigEndian.Uint64(r.Value[len(r.Value)-8:]))
		return true
	})
	if err != nil || b.BaseOffset() != want || got != want || b.LeaderEpoch() != int32(want/100) {
		return fmt.Errorf("batch at %d holds %d, epoch %d (%v); want %d", b.BaseOffset(), got, b.LeaderEpoch(), err, want)
	}
	return nil
}

// until waits for a condition.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// crashDuringLoad appends to s for a while and takes its disk, in the middle of
// that, as a power cut would leave it. acked is from just before.
func crashDuringLoad(t *testing.T, s *Store, files *vfs.MemFS, cfg vfs.CrashCloneCfg) (left *vfs.MemFS, acked [crashLogs]int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ld := startLoad(ctx, t, s, 30_000)
	begin := ld.acked[0].Load()
	until(t, "load makes progress", func() bool { return ld.acked[0].Load() > begin+30 })
	acked = ld.ackedNow()
	left = files.CrashClone(cfg)
	cancel()
	ld.wg.Wait()
	for i, err := range ld.err {
		if err != nil {
			t.Errorf("append to log %d: %v", i, err)
		}
	}
	return left, acked
}

// TestPowerLoss crashes several times during a load that fills several memtables.
func TestPowerLoss(t *testing.T) {
	files := vfs.NewCrashableMem()
	s := mustOpen(t, memOptions(files))
	rng := rand.New(rand.NewPCG(1, 1))
	for _, unsynced := range []int{0, 10, 50, 90, 99, 0, 10, 50, 90, 99} {
		left, acked := crashDuringLoad(t, s, files, vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: rng})
		after := mustOpen(t, memOptions(left))
		verifyLoad(t, after, acked)
		mustClose(t, after)
	}
	mustClose(t, s)
}

// TestPowerLossWritten loses what was only written, with holes, as a kernel writes
// pages in any order, but what is left is a prefix.
func TestPowerLossWritten(t *testing.T) {
	files := vfs.NewCrashableMem()
	o := memOptions(files)
	o.Flush = FlushWritten
	s := mustOpen(t, o)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, unsynced := range []int{0, 10, 50, 90, 99, 0, 10, 50, 90, 99} {
		left, _ := crashDuringLoad(t, s, files, vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: rng})
		o.FS, o.BootID = left, "boot 2"
		after := mustOpen(t, o)
		verifyLoad(t, after, [crashLogs]int64{})
		if after.DirectoryUUID() == s.DirectoryUUID() {
			t.Error("directory UUID is the same after the machine crashed")
		}
		mustClose(t, after)
	}
	var ends [crashLogs]int64
	for i := range ends {
		ends[i] = mustLog(t, s, int32(i)).End()
	}
	mustClose(t, s)
	after := mustOpen(t, memOptions(files.CrashClone(vfs.CrashCloneCfg{})))
	defer mustClose(t, after)
	verifyLoad(t, after, ends) // Close made everything durable
}

// TestDiskErrors injects an error into each kind of write and checks that the
// store fails, that nothing hangs, and that what was acknowledged is on disk.
func TestDiskErrors(t *testing.T) {
	inWAL := func(kinds ...errorfs.OpKind) func(errorfs.Op) bool {
		return func(op errorfs.Op) bool {
			return slices.Contains(kinds, op.Kind) && filepath.Base(filepath.Dir(op.Path)) == walDirName
		}
	}
	manifest := func(op errorfs.Op) bool {
		isManifest, _ := filepath.Match("MANIFEST-*", filepath.Base(op.Path))
		return isManifest && op.Kind == errorfs.OpFileSync
	}
	for name, hit := range map[string]func(errorfs.Op) bool{
		"log write":     inWAL(errorfs.OpFileWrite),
		"log sync":      inWAL(errorfs.OpFileSyncData),
		"log rotation":  inWAL(errorfs.OpCreate),
		"log directory": func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileSync && filepath.Base(op.Path) == walDirName },
		"manifest sync": manifest,
	} {
		t.Run(name, func(t *testing.T) {
			files := vfs.NewCrashableMem()
			var broken atomic.Bool
			errDisk := errors.New("the disk is broken")
			o := memOptions(freshWAL{errorfs.Wrap(files, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if broken.Load() && hit(op) {
					return errDisk
				}
				return nil
			}))})
			fatal := make(chan error, 1)
			o.OnFatal = func(err error) { fatal <- err }
			s := mustOpen(t, o)
			ld := startLoad(t.Context(), t, s, 30_000)
			until(t, "load makes progress", func() bool { return ld.acked[0].Load() > 50 })
			broken.Store(true)
			ld.wg.Wait() // every appender ends, and only an error ends it
			acked := ld.ackedNow()
			for i, err := range ld.err {
				if !errors.Is(err, ErrFailed) || !errors.Is(err, errDisk) {
					t.Errorf("append to log %d = %v, want ErrFailed with the disk's error", i, err)
				}
			}
			if err := <-fatal; !errors.Is(err, errDisk) {
				t.Errorf("OnFatal(%v), want the disk's error", err)
			}
			if err := s.Healthy(); !errors.Is(err, ErrFailed) {
				t.Errorf("Healthy = %v, want ErrFailed", err)
			}
			l := mustReadable(t, s, acked[0])
			if _, err := l.AppendLeader(batchOf(1, 1, 0), 1<<20, time.Now()); !errors.Is(err, ErrFailed) {
				t.Errorf("append to the failed store = %v, want ErrFailed", err)
			}
			if err := s.Close(); !errors.Is(err, ErrFailed) {
				t.Errorf("Close = %v, want ErrFailed", err)
			}
			after := mustOpen(t, memOptions(files.CrashClone(vfs.CrashCloneCfg{})))
			defer mustClose(t, after)
			verifyLoad(t, after, acked)
		})
	}
}

// freshWAL makes a new file where Pebble would reuse one: errorfs injects nothing
// into a reused file.
type freshWAL struct{ vfs.FS }

func (fs freshWAL) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := fs.Remove(oldname); err != nil {
		return nil, err
	}
	return fs.Create(newname, category)
}

// mustReadable reads what was acknowledged from log 0 of a failed store.
func mustReadable(t *testing.T, s *Store, acked int64) *Log {
	t.Helper()
	l := mustLog(t, s, 0)
	if c, err := l.Read(acked-1, 1, acked); err != nil || c.Next != acked {
		t.Errorf("Read(%d) from the failed store: next %d, %v; want %d", acked-1, c.Next, err, acked)
	}
	return l
}

func TestProgressOfAnIdleStore(t *testing.T) {
	s := mustOpen(t, memOptions(vfs.NewMem()))
	defer mustClose(t, s)
	before := time.Now()
	until(t, "idle store probes its disk", func() bool { return s.LastProgress().After(before) })
}

// TestSetStartDoesNotWait moves a log start while the disk hangs, and checks that a
// crash leaves the old start whole, or the new one once a later append is durable.
func TestSetStartDoesNotWait(t *testing.T) {
	files := vfs.NewCrashableMem()
	var disk sync.RWMutex // held for writing, it makes syncs of the log hang
	s := mustOpen(t, memOptions(errorfs.Wrap(files, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData {
			disk.RLock()
			defer disk.RUnlock()
		}
		return nil
	}))))
	defer mustClose(t, s)
	l := mustLog(t, s, 0)
	for range 4 {
		mustAppend(t, l, 0, batchOf(1, 10, 5))
	}
	l.SetHighWatermark(4)
	disk.Lock()
	moved := make(chan error, 1)
	go func() { moved <- l.SetStart(2) }()
	select {
	case err := <-moved:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("SetStart waits for the disk")
	}
	startAfterCrash := func() int64 {
		after := mustOpen(t, memOptions(files.CrashClone(vfs.CrashCloneCfg{})))
		defer mustClose(t, after)
		l := mustLog(t, after, 0)
		c, err := l.Read(l.Start(), 1<<20, 4)
		if err != nil || c.Next != 4 {
			t.Errorf("after a crash: Read(%d) = next %d, %v; want 4", l.Start(), c.Next, err)
		}
		return l.Start()
	}
	if got := startAfterCrash(); got != 0 {
		t.Errorf("after a crash on the hanging disk: start = %d, want 0", got)
	}
	disk.Unlock()
	mustAppend(t, l, 0, batchOf(1, 10, 5))
	if got := startAfterCrash(); got != 2 {
		t.Errorf("after a crash behind a durable append: start = %d, want 2", got)
	}
}

// TestDeleteRecordsIsDurable crashes right after DeleteRecords returned.
func TestDeleteRecordsIsDurable(t *testing.T) {
	files := vfs.NewCrashableMem()
	s := mustOpen(t, memOptions(files))
	defer mustClose(t, s)
	l := mustLog(t, s, 0)
	for range 4 {
		mustAppend(t, l, 0, batchOf(1, 10, 5))
	}
	l.SetHighWatermark(3)
	for _, to := range []int64{2, 2, 1, 3} {
		start, err := l.DeleteRecords(to)
		if want := max(to, 2); err != nil || start != want {
			t.Errorf("DeleteRecords(%d) = %d, %v; want %d", to, start, err, want)
		}
		after := mustOpen(t, memOptions(files.CrashClone(vfs.CrashCloneCfg{})))
		if got := mustLog(t, after, 0).Start(); got != start {
			t.Errorf("after a crash: start = %d, want %d", got, start)
		}
		mustClose(t, after)
	}
	if _, err := l.DeleteRecords(4); !errors.Is(err, ErrAboveHighWatermark) {
		t.Errorf("DeleteRecords(4) = %v, want ErrAboveHighWatermark", err)
	}
}
