package storage

import (
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// boundaryFS calls at before and after everything that changes what a crash would
// leave on the disk: each write, sync, creation, link, renaming and removal.
type boundaryFS struct {
	vfs.FS
	at func(what, name string)
}

// around runs do between two calls of at.
func (fs boundaryFS) around(what, name string, do func() error) error {
	fs.at(what, name)
	defer fs.at(what, name)
	return do()
}

func (fs boundaryFS) open(what, name string, open func() (vfs.File, error)) (f vfs.File, err error) {
	err = fs.around(what, name, func() error {
		f, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	return &boundaryFile{f, fs, name}, nil
}

// Unwrap implements vfs.FS.
func (fs boundaryFS) Unwrap() vfs.FS { return fs.FS }

// Create implements vfs.FS.
func (fs boundaryFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.open("create", name, func() (vfs.File, error) { return fs.FS.Create(name, c) })
}

// ReuseForWrite implements vfs.FS.
func (fs boundaryFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.open("reuse", newname, func() (vfs.File, error) { return fs.FS.ReuseForWrite(oldname, newname, c) })
}

// OpenDir implements vfs.FS. A directory is opened to be synced.
func (fs boundaryFS) OpenDir(name string) (vfs.File, error) {
	f, err := fs.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &boundaryFile{f, fs, name + "/"}, nil
}

// Link implements vfs.FS.
func (fs boundaryFS) Link(oldname, newname string) error {
	return fs.around("link", newname, func() error { return fs.FS.Link(oldname, newname) })
}

// Rename implements vfs.FS.
func (fs boundaryFS) Rename(oldname, newname string) error {
	return fs.around("rename", newname, func() error { return fs.FS.Rename(oldname, newname) })
}

// Remove implements vfs.FS.
func (fs boundaryFS) Remove(name string) error {
	return fs.around("remove", name, func() error { return fs.FS.Remove(name) })
}

// MkdirAll implements vfs.FS.
func (fs boundaryFS) MkdirAll(name string, perm os.FileMode) error {
	return fs.around("mkdir", name, func() error { return fs.FS.MkdirAll(name, perm) })
}

// boundaryFile is a file that is being written.
type boundaryFile struct {
	vfs.File
	fs   boundaryFS
	name string
}

func (f *boundaryFile) Write(p []byte) (n int, err error) {
	err = f.fs.around("write", f.name, func() error {
		n, err = f.File.Write(p)
		return err
	})
	return n, err
}

func (f *boundaryFile) Sync() error {
	return f.fs.around("sync", f.name, f.File.Sync)
}

func (f *boundaryFile) SyncData() error {
	return f.fs.around("sync", f.name, f.File.SyncData)
}

func (f *boundaryFile) SyncTo(length int64) (full bool, err error) {
	err = f.fs.around("sync", f.name, func() error {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}
