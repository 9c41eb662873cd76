package storage

import (
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// stalledStore has its memtables full, as no table can be written: appends wait in
// Pebble. release ends the writing of tables, with an error if it is not nil.
type stalledStore struct {
	*Store
	load    *load
	files   *vfs.MemFS
	fatal   chan error
	release chan error
}

func stallStore(t *testing.T) *stalledStore {
	t.Helper()
	st := &stalledStore{files: vfs.NewCrashableMem(), fatal: make(chan error, 1), release: make(chan error)}
	var full, broken atomic.Bool
	var cause atomic.Pointer[error]
	o := memOptions(freshWAL{errorfs.Wrap(st.files, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch {
		case op.Kind != errorfs.OpCreate || !strings.HasSuffix(op.Path, ".sst") || !full.Load():
		case broken.CompareAndSwap(false, true): // Pebble makes one table at a time
			err := <-st.release
			cause.Store(&err)
			return err
		default:
			return *cause.Load()
		}
		return nil
	}))})
	stalled := make(chan struct{}, 1)
	o.OnFatal = func(err error) { st.fatal <- err }
	o.OnStall = func(_ string, begin bool) {
		if begin {
			stalled <- struct{}{}
		}
	}
	s, err := openTuned(o.withDefaults(), func(po *pebble.Options) { po.MemTableSize = 256 << 10 })
	if err != nil {
		t.Fatal(err)
	}
	st.Store = s
	full.Store(true)
	st.load = startLoad(t.Context(), t, s, 30_000)
	select {
	case <-stalled:
	case <-time.After(time.Minute):
		t.Fatal("no stall within a minute")
	}
	return st
}

// ends checks that everyone who waits hears of the failure, that the store says that it
// has failed and can be closed, and that the next open finds what was acknowledged.
func (st *stalledStore) ends(t *testing.T, cause error) {
	t.Helper()
	within := func(what string, do func()) {
		done := make(chan struct{})
		go func() { do(); close(done) }()
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Fatalf("%s: not within a minute", what)
		}
	}
	within("stalled appends end", st.load.wg.Wait)
	for i, err := range st.load.err {
		if !errors.Is(err, ErrFailed) || !errors.Is(err, cause) {
			t.Errorf("append to log %d = %v, want ErrFailed and %v", i, err, cause)
		}
	}
	if err := st.Healthy(); !errors.Is(err, ErrFailed) {
		t.Errorf("Healthy = %v, want ErrFailed", err)
	}
	if err := <-st.fatal; !errors.Is(err, cause) {
		t.Errorf("OnFatal(%v), want %v", err, cause)
	}
	acked := st.load.ackedNow()
	mustReadable(t, st.Store, acked[0])
	dropWholeTail(mustLog(t, st.Store, 0))
	mustReadable(t, st.Store, acked[0])
	if d := st.Damaged(); len(d) > 0 {
		t.Errorf("Damaged = %v, want none", d)
	}
	within("Close", func() {
		if err := st.Close(); !errors.Is(err, ErrFailed) {
			t.Errorf("Close = %v, want ErrFailed", err)
		}
	})
	after := mustOpen(t, memOptions(st.files.CrashClone(vfs.CrashCloneCfg{})))
	defer mustClose(t, after)
	verifyLoad(t, after, acked)
}

// TestStalledAppendsHearOfAFullDisk lets the disk fill up while appends wait for memory
// that only the writing of tables would free.
func TestStalledAppendsHearOfAFullDisk(t *testing.T) {
	st := stallStore(t)
	st.release <- syscall.ENOSPC
	st.ends(t, syscall.ENOSPC)
}

// TestStalledAppendsHearOfABrokenLog lets the write-ahead log fail during a stall. The
// tables could be written, but a failed store writes none.
func TestStalledAppendsHearOfABrokenLog(t *testing.T) {
	st := stallStore(t)
	st.failure.set(syscall.EIO)
	st.release <- syscall.EIO
	st.ends(t, syscall.EIO)
}

// TestLongStallIsNoProgress stalls appends on a disk that hangs without an error: what
// watches the store's progress sees that it makes none, until it goes on.
func TestLongStallIsNoProgress(t *testing.T) {
	st := stallStore(t)
	// One probe may have been under way when the stall began.
	until(t, "no progress is made", func() bool { return time.Since(st.LastProgress()) > 3*probeInterval })
	if err := st.Healthy(); err != nil {
		t.Errorf("Healthy = %v, want nil: nothing failed yet", err)
	}
	before := st.load.ackedNow()
	st.release <- nil
	until(t, "appends go on", func() bool { return st.load.ackedNow() != before })
	st.failure.set(syscall.EIO) // to end the load
	st.ends(t, syscall.EIO)
}
