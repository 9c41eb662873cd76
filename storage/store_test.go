package storage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/regency-project/regency/storage/record"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if writerChild() {
		return
	}
	// Pebble leaves these behind when it cannot open a store. A store of ours that is
	// not closed has other goroutines as well.
	var left []goleak.Option
	for _, f := range []string{
		"(*ConcurrencyLimitScheduler).periodicGranter", "(*cleanupManager).mainLoop",
	} {
		left = append(left, goleak.IgnoreAnyFunction("github.com/cockroachdb/pebble/v2."+f))
	}
	goleak.VerifyTestMain(m, left...)
}

var topicA = [16]byte{0xa}

func memOptions(files vfs.FS) Options {
	return Options{Dir: "data", FS: files, MemoryBudget: MinMemoryBudget, BootID: "boot 1"}
}

func mustOpen(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func mustLog(t testing.TB, s *Store, partition int32) *Log {
	t.Helper()
	l, err := s.Log("a", topicA, partition)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// newTestLog is a log in memory that is closed with the test.
func newTestLog(t testing.TB) *Log {
	t.Helper()
	s := mustOpen(t, memOptions(vfs.NewMem()))
	t.Cleanup(func() { mustClose(t, s) })
	return mustLog(t, s, 0)
}

// batchOf is a batch of n records of about size bytes, all at time ts.
func batchOf(n, size int, ts int64) record.Batch {
	rs := make([]record.Record, n)
	for i := range rs {
		rs[i] = record.Record{Timestamp: ts, Value: bytes.Repeat([]byte{byte(i)}, size)}
	}
	return record.Build(record.NoProducer, rs...)
}

// idempotent is a batch of n records from a producer.
func idempotent(pid int64, epoch int16, seq int32, n int) record.Batch {
	rs := make([]record.Record, n)
	for i := range rs {
		rs[i] = record.Record{Timestamp: 1000, Value: []byte("v")}
	}
	return record.Build(record.Options{ProducerID: pid, ProducerEpoch: epoch, BaseSequence: seq}, rs...)
}

func mustAppend(t testing.TB, l *Log, epoch int32, batches ...record.Batch) Appended {
	t.Helper()
	var all []byte
	for _, b := range batches {
		all = append(all, b...)
	}
	a, err := l.AppendLeader(all, epoch, time.UnixMilli(1000))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Pending.Wait(); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAppendRead(t *testing.T) {
	l := newTestLog(t)
	first, second := batchOf(3, 10, 5), batchOf(2, 2000, 9)
	a := mustAppend(t, l, 7, first, second)
	if a.Base != 0 || a.Last != 4 || a.End != 5 || a.MaxTimestamp != 9 {
		t.Errorf("AppendLeader = %+v, want base 0, last 4, end 5, newest 9", a)
	}
	if b := mustAppend(t, l, 7, first); b.Base != 5 || b.Last != 7 {
		t.Errorf("second AppendLeader = %+v, want base 5, last 7", b)
	}
	c, err := l.Read(4, 1, 8)
	if err != nil {
		t.Fatal(err)
	}
	b, err := record.First(c.Bytes, record.CheckReplica)
	if err != nil {
		t.Fatalf("read back: %v", err)
	}
	if b.BaseOffset() != 3 || b.LeaderEpoch() != 7 || c.Next != 5 || len(b) != len(c.Bytes) {
		t.Errorf("Read(4) = batch at %d, epoch %d, next %d; want 3, 7, 5", b.BaseOffset(), b.LeaderEpoch(), c.Next)
	}
	if c, err := l.Read(5, 1, 7); err != nil || c.Bytes != nil || c.Next != 5 {
		t.Errorf("Read(5) below 7 = %d bytes, next %d, %v; want nothing: the batch ends at 7", len(c.Bytes), c.Next, err)
	}
	for _, from := range []int64{-1, 9} {
		if _, err := l.Read(from, 1, 8); !errors.Is(err, ErrOffsetOutOfRange) {
			t.Errorf("Read(%d) = %v, want ErrOffsetOutOfRange", from, err)
		}
	}
}

func TestReopenKeepsEverything(t *testing.T) {
	o := Options{Dir: filepath.Join(t.TempDir(), "x", "data"), MemoryBudget: MinMemoryBudget}
	s := mustOpen(t, o)
	uuid := s.DirectoryUUID()
	l := mustLog(t, s, 3)
	mustAppend(t, l, 2, idempotent(42, 1, 0, 4), batchOf(1, 70_000, 50))
	l.SetHighWatermark(4)
	mustClose(t, s)
	if _, err := l.Read(0, 1, 5); !errors.Is(err, ErrClosed) {
		t.Errorf("Read after Close = %v, want ErrClosed", err)
	}

	s = mustOpen(t, o)
	defer mustClose(t, s)
	if s.DirectoryUUID() != uuid {
		t.Errorf("DirectoryUUID = %s after a reopen, was %s", s.DirectoryUUID(), uuid)
	}
	infos := s.Logs()
	if len(infos) != 1 || infos[0].Topic != "a" || infos[0].Partition != 3 || infos[0].End != 5 {
		t.Fatalf("Logs = %+v, want one of topic a, partition 3, end 5", infos)
	}
	l = mustLog(t, s, 3)
	if l.HighWatermark() != 4 || l.LatestEpoch() != 2 {
		t.Errorf("high watermark %d, epoch %d; want 4, 2", l.HighWatermark(), l.LatestEpoch())
	}
	p, ok := l.Producer(42)
	if !ok || p.Epoch != 1 || len(p.Batches) != 1 || p.Batches[0].LastSeq != 3 {
		t.Errorf("Producer(42) = %+v, %v; want epoch 1, last sequence 3", p, ok)
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	o := Options{Dir: t.TempDir(), MemoryBudget: MinMemoryBudget}
	s := mustOpen(t, o)
	defer mustClose(t, s)
	_, err := Open(o)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), o.Dir) {
		t.Errorf("second Open = %v, want ErrLocked that names %s", err, o.Dir)
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	o := Options{Dir: t.TempDir(), MemoryBudget: MinMemoryBudget}
	mustClose(t, mustOpen(t, o))
	name := filepath.Join(o.Dir, metaName)
	m, err := readMeta(vfs.Default, o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	m.Format = formatVersion + 1
	b, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = OpenOrQuarantine(o)
	for _, part := range []string{o.Dir, "version 3", "versions 1 to 2", "upgrade"} {
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), part) {
			t.Errorf("OpenOrQuarantine = %v, want ErrFormat that says %q", err, part)
		}
	}
}

// TestOlderFormatIsUpgraded opens a store as version 1 left it.
func TestOlderFormatIsUpgraded(t *testing.T) {
	o := Options{Dir: t.TempDir(), MemoryBudget: MinMemoryBudget}
	s := mustOpen(t, o)
	uuid := s.DirectoryUUID()
	mustAppend(t, mustLog(t, s, 0), 0, batchOf(1, 100, 0))
	mustClose(t, s)
	old := fmt.Sprintf(`{"format": 1, "directory_uuid": %q, "ready": true, "flush": "sync", "boot_id": "x", "clean": true}`, uuid)
	if err := os.WriteFile(filepath.Join(o.Dir, metaName), []byte(old), 0o644); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, o)
	defer mustClose(t, s)
	if s.DirectoryUUID() != uuid || mustLog(t, s, 0).End() != 1 {
		t.Errorf("UUID %s, end %d; want %s, 1", s.DirectoryUUID(), mustLog(t, s, 0).End(), uuid)
	}
	if m, err := readMeta(vfs.Default, o.Dir); err != nil || m.Format != formatVersion {
		t.Errorf("store.json has version %d, %v; want %d", m.Format, err, formatVersion)
	}
}

func TestQuarantine(t *testing.T) {
	for name, damage := range map[string]func(dir string) error{
		"store.json gone":    func(dir string) error { return os.Remove(filepath.Join(dir, metaName)) },
		"store.json garbled": func(dir string) error { return os.WriteFile(filepath.Join(dir, metaName), []byte("{"), 0o644) },
		"data files gone":    removeAll("MANIFEST-*", "marker.*"),
		"manifest gone":      removeAll("MANIFEST-*"),
		"manifest garbled":   garble("MANIFEST-*"),
		"tables gone":        removeAll("*.sst"),
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Dir: filepath.Join(t.TempDir(), "data"), MemoryBudget: MinMemoryBudget}
			s := mustOpen(t, o)
			uuid := s.DirectoryUUID()
			mustAppend(t, mustLog(t, s, 0), 0, batchOf(1, 100, 0))
			if err := s.db.Flush(); err != nil {
				t.Fatal(err)
			}
			mustClose(t, s)
			if err := damage(o.Dir); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(o); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), o.Dir) {
				t.Fatalf("Open = %v, want ErrCorrupt that names %s", err, o.Dir)
			}
			s, err := OpenOrQuarantine(o)
			if err != nil {
				t.Fatal(err)
			}
			defer mustClose(t, s)
			if s.DirectoryUUID() == uuid || len(s.Logs()) != 0 {
				t.Errorf("UUID %s, %d logs; want another UUID than before and no log", s.DirectoryUUID(), len(s.Logs()))
			}
			if aside, _ := filepath.Glob(o.Dir + ".quarantined-*"); len(aside) != 1 {
				t.Errorf("set aside: %v, want one directory", aside)
			}
		})
	}
}

func removeAll(patterns ...string) func(string) error {
	return func(dir string) error {
		var errs []error
		for _, p := range patterns {
			names, _ := filepath.Glob(filepath.Join(dir, p))
			if len(names) == 0 {
				errs = append(errs, errors.New("no file matches "+p))
			}
			for _, n := range names {
				errs = append(errs, os.Remove(n))
			}
		}
		return errors.Join(errs...)
	}
}

func garble(pattern string) func(string) error {
	return func(dir string) error {
		names, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, n := range names {
			b, err := os.ReadFile(n)
			if err != nil {
				return err
			}
			for i := range b {
				b[i] ^= 0x5a
			}
			if err := os.WriteFile(n, b, 0o644); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestOptionsNameEveryFault(t *testing.T) {
	_, err := Open(Options{Flush: 9, MemoryBudget: 1})
	for _, field := range []string{"Dir", "Flush", "MemoryBudget"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("Open = %v, want an error that names %s", err, field)
		}
	}
}

func TestDeleteLog(t *testing.T) {
	files := vfs.NewMem()
	s := mustOpen(t, memOptions(files))
	l := mustLog(t, s, 0)
	mustAppend(t, l, 0, batchOf(1, 10, 0))
	if err := s.DeleteLog(topicA, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Read(0, 1, 1); !errors.Is(err, ErrLogDeleted) {
		t.Errorf("Read of a deleted log = %v, want ErrLogDeleted", err)
	}
	if again := mustLog(t, s, 0); again == l || again.End() != 0 {
		t.Errorf("log made again ends at %d, want an empty one", again.End())
	}
	mustClose(t, s)
	s = mustOpen(t, memOptions(files))
	defer mustClose(t, s)
	if infos := s.Logs(); len(infos) != 1 || infos[0].End != 0 {
		t.Errorf("Logs = %+v, want one empty log", infos)
	}
}

func TestUUIDAfterMachineCrash(t *testing.T) {
	for _, tc := range []struct {
		name   string
		flush  FlushMode
		clean  bool
		bootID string
		change bool
	}{
		{"sync, crash of the machine", FlushSync, false, "boot 2", false},
		{"written, crash of the machine", FlushWritten, false, "boot 2", true},
		{"written, crash of the process", FlushWritten, false, "boot 1", false},
		{"written, clean close and reboot", FlushWritten, true, "boot 2", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			files := vfs.NewCrashableMem()
			o := memOptions(files)
			o.Flush = tc.flush
			s := mustOpen(t, o)
			uuid := s.DirectoryUUID()
			left := files.CrashClone(vfs.CrashCloneCfg{})
			mustClose(t, s)
			if tc.clean {
				left = files.CrashClone(vfs.CrashCloneCfg{})
			}
			o.FS, o.BootID = left, tc.bootID
			s = mustOpen(t, o)
			defer mustClose(t, s)
			if changed := s.DirectoryUUID() != uuid; changed != tc.change {
				t.Errorf("UUID changed: %v, want %v", changed, tc.change)
			}
		})
	}
}

// testTime stands in where tests do not care for the time.
var testTime = time.UnixMilli(1000)
