package storage

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// gateFS counts the syncs of the write-ahead log and holds them while closed.
type gateFS struct {
	vfs.FS
	syncs atomic.Int64
	gate  sync.RWMutex // held for writing: syncs wait
}

func (fs *gateFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	if err != nil || fs.PathBase(fs.PathDir(name)) != walDirName {
		return f, err
	}
	return &gateFile{File: f, fs: fs}, nil
}

type gateFile struct {
	vfs.File
	fs *gateFS
}

func (f *gateFile) SyncData() error {
	f.fs.syncs.Add(1)
	f.fs.gate.RLock()
	defer f.fs.gate.RUnlock()
	return f.File.SyncData()
}

// TestFlushGroups appends to many logs while a sync is under way: one further sync
// must do for all of them.
func TestFlushGroups(t *testing.T) {
	fs := &gateFS{FS: vfs.NewMem()}
	s := mustOpen(t, Options{Dir: "store", FS: fs, BootID: "1"})
	defer mustClose(t, s)
	const logs = 40
	var pending []*Pending
	var waits sync.WaitGroup
	wait := func(p *Pending) {
		waits.Go(func() {
			if err := p.Wait(); err != nil {
				t.Errorf("Wait() = %v", err)
			}
		})
	}
	fs.gate.Lock()
	before := fs.syncs.Load()
	for i := range logs {
		a, err := mustLog(t, s, int32(i)).AppendLeader(batchOf(1, 100, 1), 0, time.UnixMilli(1))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			wait(a.Pending)
			for fs.syncs.Load() == before { // it is in the sync that the gate holds
				time.Sleep(time.Millisecond)
			}
		}
		pending = append(pending, a.Pending)
	}
	for _, p := range pending[1:] {
		wait(p)
	}
	fs.gate.Unlock()
	waits.Wait()
	// The disk probe may add one.
	if n := fs.syncs.Load() - before; n > 3 {
		t.Errorf("%d syncs for %d appends, want 2", n, logs)
	}
	if err := pending[0].Wait(); err != nil {
		t.Errorf("second Wait() = %v", err)
	}
}

// TestWaitIsDurable takes the disk as a power cut would leave it right after an
// acknowledgement, while others append.
func TestWaitIsDurable(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := mustOpen(t, Options{Dir: "store", FS: fs, BootID: "1"})
	defer mustClose(t, s)
	var appenders sync.WaitGroup
	for i := range 8 {
		l := mustLog(t, s, int32(i))
		appenders.Go(func() {
			for range 50 {
				a, err := l.AppendLeader(batchOf(1, 10, 1), 0, time.UnixMilli(1))
				if err == nil {
					err = a.Pending.Wait()
				}
				if err != nil {
					t.Errorf("append: %v", err)
					return
				}
				if i == 0 && a.End%10 == 0 {
					checkCrash(t, fs, a.End)
				}
			}
		})
	}
	appenders.Wait()
}

// checkCrash opens what a power cut would leave now and looks for the first log's records.
func checkCrash(t *testing.T, fs *vfs.MemFS, end int64) {
	s, err := Open(Options{Dir: "store", FS: fs.CrashClone(vfs.CrashCloneCfg{}), BootID: "2"})
	if err != nil {
		t.Errorf("open after a crash: %v", err)
		return
	}
	defer s.Close()
	got := int64(-1) // no log
	for _, l := range s.Logs() {
		if l.Partition == 0 {
			got = l.End
		}
	}
	if got < end {
		t.Errorf("after a crash the log ends at %d, %d was acknowledged", got, end)
	}
}

// TestWaitAfterClose waits only when the store is closed, which made the append durable:
// one that has not begun, and one that had begun and meets the closed store.
func TestWaitAfterClose(t *testing.T) {
	for _, mode := range []FlushMode{FlushSync, FlushWritten} {
		o := memOptions(vfs.NewMem())
		o.Flush = mode
		s := mustOpen(t, o)
		a, err := mustLog(t, s, 0).AppendLeader(batchOf(1, 10, 0), 0, testTime)
		if err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
		begun := &flush{done: make(chan struct{})}
		if s.flusher.lead(begun); begun.err != nil {
			t.Errorf("%v: a flush that Close overtook = %v", mode, begun.err)
		}
		if err := a.Pending.Wait(); err != nil {
			t.Errorf("%v: Wait() after Close = %v", mode, err)
		}
	}
}
