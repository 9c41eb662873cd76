package storage

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// failedFS leaves the disk as it is from the moment on when the store has failed, and
// lets Pebble go on in memory. Pebble itself would not end: appends that wait for a
// memtable to be written wait for ever, with the lock that closing the store needs; a
// failed sync of the directory, and a failed write at the end of a blob file, are a panic
// in a goroutine of its own.
//
// So what a flush makes of the memtables is kept in memory, there are few; the manifest
// takes nothing more, so that none of it is part of the store; and nothing is removed, so
// that the next open finds everything that was there. Appends that waited end, with an
// error as the store has failed, and reads go on. Compactions, which could need any amount
// of memory, are refused.
type failedFS struct {
	vfs.FS
	failure *failure
	memory  *vfs.MemFS // for what is made after the failure
}

func newFailedFS(files vfs.FS, dir string, f *failure) (*failedFS, error) {
	memory := vfs.NewMem()
	return &failedFS{files, f, memory}, memory.MkdirAll(dir, 0o755)
}

const (
	// retryPause slows what Pebble tries again and again when the store has failed.
	retryPause = 100 * time.Millisecond
	// writePiece is the most that is written to a blob file at once, up to a multiple of
	// it: Pebble writes a block, which a single batch of 1 MB fills, with one call. Linux
	// then looks for a run of free memory as long for its page cache, which has cost 3 to
	// 20 times the CPU of writing the same in pieces.
	writePiece = 256 << 10
)

// Unwrap implements vfs.FS.
func (fs *failedFS) Unwrap() vfs.FS { return fs.FS }

// Create implements vfs.FS.
func (fs *failedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if frozen, err := fs.failure.frozen(); err != nil {
		return nil, err
	} else if frozen {
		if strings.HasPrefix(string(category), "pebble-") && category != "pebble-memtable-flush" {
			time.Sleep(retryPause)
			return nil, fs.failure.get()
		}
		return fs.memory.Create(name, category)
	}
	f, err := fs.FS.Create(name, category)
	if err != nil {
		return nil, err
	}
	switch {
	case strings.HasSuffix(name, ".blob"):
		return &blobWriter{File: f, fs: fs, name: name}, nil
	case strings.HasPrefix(fs.PathBase(name), "MANIFEST-"):
		return &manifestWriter{f, fs.failure}, nil
	}
	return f, nil
}

// Open implements vfs.FS.
func (fs *failedFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if fs.failure.get() != nil {
		if f, err := fs.memory.Open(name, opts...); err == nil {
			return f, nil
		}
	}
	return fs.FS.Open(name, opts...)
}

// OpenDir implements vfs.FS.
func (fs *failedFS) OpenDir(name string) (vfs.File, error) {
	d, err := fs.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &directory{d, fs.failure, name}, nil
}

// Remove implements vfs.FS. A failed store keeps all its files for the next open.
func (fs *failedFS) Remove(name string) error {
	if fs.failure.get() != nil {
		return nil
	}
	return fs.FS.Remove(name)
}

// adopt copies the first n bytes of a file to memory.
func (fs *failedFS) adopt(name string, n int64) (_ vfs.File, err error) {
	from, err := fs.FS.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := fs.memory.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	_, err = io.CopyN(to, from, n)
	return to, err
}

// directory is a directory that is synced.
type directory struct {
	vfs.File
	failure *failure
	name    string
}

func (d *directory) Sync() error {
	if frozen, err := d.failure.frozen(); frozen {
		return err
	}
	return d.failure.absorb("sync directory "+d.name, d.File.Sync())
}

// blobWriter is a blob file that is being made. When a write of it fails the store has
// failed, and the file goes on in memory: its readers find it there.
type blobWriter struct {
	vfs.File
	fs       *failedFS
	name     string
	written  int64
	inMemory bool
}

// note takes the error of a call; again is that call, for the file in memory.
func (f *blobWriter) note(err error, again func() error) error {
	if err == nil {
		return nil
	}
	f.fs.failure.set(fmt.Errorf("write %s: %w", f.name, err))
	if _, err := f.fs.failure.frozen(); f.inMemory || err != nil {
		return nil // before the store is open: the manifest takes nothing more
	}
	memory, err := f.fs.adopt(f.name, f.written)
	if err != nil {
		return nil // who reads it gets an error
	}
	f.fs.failure.absorb("close "+f.name, f.File.Close())
	f.File, f.inMemory = memory, true
	return again()
}

func (f *blobWriter) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		piece := p[n:min(len(p), n+writePiece-int(f.written%writePiece))]
		_, err = f.File.Write(piece)
		err = f.note(err, func() error {
			_, err := f.File.Write(piece)
			return err
		})
		f.written += int64(len(piece))
		n += len(piece)
	}
	return n, err
}

func (f *blobWriter) Sync() error { return f.note(f.File.Sync(), f.nothing) }

func (f *blobWriter) SyncData() error { return f.note(f.File.SyncData(), f.nothing) }

func (f *blobWriter) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, f.note(err, f.nothing)
}

func (f *blobWriter) nothing() error { return nil }

// Close implements vfs.File. A file that cannot be closed has been synced before.
func (f *blobWriter) Close() error {
	if err := f.File.Close(); err != nil {
		f.fs.failure.set(fmt.Errorf("close %s: %w", f.name, err))
	}
	return nil
}

// manifestWriter is a manifest that ends when the store fails.
type manifestWriter struct {
	vfs.File
	failure *failure
}

func (f *manifestWriter) Write(p []byte) (int, error) {
	if frozen, err := f.failure.frozen(); err != nil {
		return 0, err
	} else if frozen {
		return len(p), nil
	}
	n, err := f.File.Write(p)
	if err == nil {
		return n, nil
	}
	if err := f.failure.absorb("write manifest", err); err != nil {
		return n, err
	}
	return len(p), nil
}

func (f *manifestWriter) Sync() error { return f.sync(f.File.Sync) }

func (f *manifestWriter) SyncData() error { return f.sync(f.File.SyncData) }

func (f *manifestWriter) sync(sync func() error) error {
	if frozen, err := f.failure.frozen(); frozen {
		return err
	}
	return f.failure.absorb("sync manifest", sync())
}
