package storage

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// walFS stands between Pebble and the file system, for three reasons.
//
// Pebble cannot go on after its write-ahead log failed: commits in flight hang, or
// the process exits or panics. So a failed write or sync of the log is recorded in
// failure and Pebble is told that it worked; from then on writes to the log are
// dropped. Pebble's waiters wake up in order, and Pending.Wait looks at failure
// before it lets anyone acknowledge. The log on disk ends where it failed, which
// is what a crash at that moment leaves, so the next open recovers from it.
//
// In FlushWritten a sync of the log does nothing: Pebble has handed the bytes to
// the kernel before it asks for one. The sync when a log file is closed stays, so
// that only the newest file can have a torn tail after a crash of the machine.
//
// Last, each success is noted for Store.LastProgress.
type walFS struct {
	vfs.FS
	walDir   string
	flush    FlushMode
	failure  *failure
	progress *atomic.Int64 // Unix nanoseconds
}

// failure is the first disk error, if any. Before armed, during Open, errors go to
// Pebble, which reports them as the result of opening.
type failure struct {
	armed  atomic.Bool
	err    atomic.Pointer[error]
	report func(error)
}

func (f *failure) get() error {
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}

// frozen tells whether a call that would change the disk is to do nothing, and what it
// returns then: success, or to who opens the store the error.
func (f *failure) frozen() (bool, error) {
	err := f.get()
	if err != nil && f.armed.Load() {
		return true, nil
	}
	return err != nil, err
}

// set records the first error; everyone sees it before set returns.
func (f *failure) set(err error) {
	wrapped := fmt.Errorf("%w: %w", ErrFailed, err)
	if f.err.CompareAndSwap(nil, &wrapped) {
		f.report(wrapped)
	}
}

// absorb hides an error of the log from Pebble once the store is open.
func (f *failure) absorb(doing string, err error) error {
	if err == nil || !f.armed.Load() {
		return err
	}
	f.set(fmt.Errorf("%s: %w", doing, err))
	return nil
}

func (fs *walFS) isWAL(name string) bool { return fs.PathDir(name) == fs.walDir }

// Unwrap implements vfs.FS.
func (fs *walFS) Unwrap() vfs.FS { return fs.FS }

// Create implements vfs.FS.
func (fs *walFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.create(name, func() (vfs.File, error) { return fs.FS.Create(name, category) })
}

// ReuseForWrite implements vfs.FS.
func (fs *walFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.create(newname, func() (vfs.File, error) { return fs.FS.ReuseForWrite(oldname, newname, category) })
}

func (fs *walFS) create(name string, create func() (vfs.File, error)) (vfs.File, error) {
	if !fs.isWAL(name) {
		return create()
	}
	if fs.failure.get() != nil {
		return discardFile{}, nil
	}
	f, err := create()
	if err != nil {
		if fs.failure.absorb("create log "+name, err) == nil {
			return discardFile{}, nil
		}
		return nil, err
	}
	return &walFile{File: f, fs: fs, name: name}, nil
}

// walFile is one file of the log. Pebble calls its writing methods one at a time.
type walFile struct {
	vfs.File
	fs   *walFS
	name string
}

func (f *walFile) Write(p []byte) (int, error) {
	if f.fs.failure.get() != nil {
		return len(p), nil
	}
	n, err := f.File.Write(p)
	if err == nil {
		f.fs.noteProgress(f.fs.flush == FlushWritten)
		return n, nil
	}
	if err := f.fs.failure.absorb("write log "+f.name, err); err != nil {
		return n, err
	}
	return len(p), nil
}

func (fs *walFS) noteProgress(done bool) {
	if done {
		fs.progress.Store(time.Now().UnixNano())
	}
}

func (f *walFile) Sync() error     { return f.sync(f.File.Sync, f.fs.flush == FlushSync) }
func (f *walFile) SyncData() error { return f.sync(f.File.SyncData, f.fs.flush == FlushSync) }

func (f *walFile) sync(sync func() error, wanted bool) error {
	if !wanted || f.fs.failure.get() != nil {
		return nil
	}
	err := sync()
	f.fs.noteProgress(err == nil)
	return f.fs.failure.absorb("sync log "+f.name, err)
}

// SyncTo only asks the kernel to begin; it promises nothing in either mode.
func (f *walFile) SyncTo(length int64) (bool, error) {
	if f.fs.failure.get() != nil {
		return false, nil
	}
	full, err := f.File.SyncTo(length)
	return full, f.fs.failure.absorb("sync log "+f.name, err)
}

func (f *walFile) Preallocate(offset, length int64) error {
	if f.fs.failure.get() != nil {
		return nil
	}
	return f.fs.failure.absorb("preallocate log "+f.name, f.File.Preallocate(offset, length))
}

// Close syncs in every mode: a log file that is no longer the newest is whole.
func (f *walFile) Close() error {
	err := f.sync(f.File.SyncData, true)
	closeErr := f.fs.failure.absorb("close log "+f.name, f.File.Close())
	if err != nil {
		return err
	}
	return closeErr
}

// discardFile takes what Pebble writes to its log after the log failed.
type discardFile struct{}

var _ vfs.File = discardFile{}

func (discardFile) Close() error                           { return nil }
func (discardFile) Read([]byte) (int, error)               { return 0, ErrFailed }
func (discardFile) ReadAt([]byte, int64) (int, error)      { return 0, ErrFailed }
func (discardFile) Write(p []byte) (int, error)            { return len(p), nil }
func (discardFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (discardFile) Preallocate(int64, int64) error         { return nil }
func (discardFile) Stat() (vfs.FileInfo, error)            { return discardInfo{}, nil }
func (discardFile) Sync() error                            { return nil }
func (discardFile) SyncTo(int64) (bool, error)             { return true, nil }
func (discardFile) SyncData() error                        { return nil }
func (discardFile) Prefetch(int64, int64) error            { return nil }
func (discardFile) Fd() uintptr                            { return vfs.InvalidFd }

// discardInfo describes a discardFile: empty.
type discardInfo struct{}

func (discardInfo) Name() string           { return "discarded" }
func (discardInfo) Size() int64            { return 0 }
func (discardInfo) Mode() os.FileMode      { return 0 }
func (discardInfo) ModTime() time.Time     { return time.Time{} }
func (discardInfo) IsDir() bool            { return false }
func (discardInfo) Sys() any               { return nil }
func (discardInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }

// Stat serves the reuse of an old log file. Its size does not matter then.
func (f *walFile) Stat() (vfs.FileInfo, error) {
	info, err := f.File.Stat()
	if err == nil {
		return info, nil
	}
	return discardInfo{}, f.fs.failure.absorb("stat log "+f.name, err)
}
