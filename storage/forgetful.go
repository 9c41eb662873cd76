//go:build regency_mutation

package storage

import (
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// defaultFS is, in the programs that the harness tests itself with, a disk that forgets if REGENCY_MUTATION asks for it.
func defaultFS() vfs.FS {
	if os.Getenv("REGENCY_MUTATION") == "no-sync" {
		return forgetfulFS{vfs.Default}
	}
	return vfs.Default
}

// forgetfulFS is a machine whose syncs do nothing and whose power fails with the process: what is written to a write-ahead log stays in memory until
// the file is closed. A killed process does not lose what it has given to the kernel, so that without this nobody would notice a sync that is missing.
type forgetfulFS struct{ vfs.FS }

func (fs forgetfulFS) Unwrap() vfs.FS { return fs.FS }

func (fs forgetfulFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return forgetful(name)(fs.FS.Create(name, category))
}

func (fs forgetfulFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return forgetful(newname)(fs.FS.ReuseForWrite(oldname, newname, category))
}

func forgetful(name string) func(vfs.File, error) (vfs.File, error) {
	return func(f vfs.File, err error) (vfs.File, error) {
		if err != nil || !strings.HasSuffix(name, ".log") {
			return f, err
		}
		return &forgetfulFile{File: f}, nil
	}
}

type forgetfulFile struct {
	vfs.File
	memory []byte
}

func (f *forgetfulFile) Write(p []byte) (int, error) {
	f.memory = append(f.memory, p...)
	return len(p), nil
}

func (f *forgetfulFile) Sync() error                    { return nil }
func (f *forgetfulFile) SyncData() error                { return nil }
func (f *forgetfulFile) SyncTo(int64) (bool, error)     { return true, nil }
func (f *forgetfulFile) Preallocate(int64, int64) error { return nil }

func (f *forgetfulFile) Close() error {
	if _, err := f.File.Write(f.memory); err != nil {
		return err
	}
	if err := f.File.Sync(); err != nil {
		return err
	}
	return f.File.Close()
}
