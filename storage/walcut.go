package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/wal"
)

// cutTornLog cuts the newest file of the write-ahead log where it is torn, and
// returns its name and what is left of it; no name if it is whole.
//
// It is for FlushWritten after a crash of the machine. The kernel writes pages out
// in any order, so the file may have holes; and Pebble, to whom every write was
// reported as synced, takes a hole for damage and refuses the store. What comes
// before the hole is a consistent prefix of what was written: nothing was promised
// beyond it. Older files were synced when they were closed, and are not touched.
func cutTornLog(files vfs.FS, walDir string) (name string, left int64, err error) {
	logs, err := wal.Scan(wal.Dir{FS: files, Dirname: walDir})
	if errors.Is(err, fs.ErrNotExist) || (err == nil && len(logs) == 0) {
		return "", 0, nil
	}
	if err != nil {
		return "", 0, err
	}
	r := logs[len(logs)-1].OpenForRead()
	var at wal.Offset
	for err == nil {
		_, at, err = r.NextRecord()
	}
	if closeErr := r.Close(); closeErr != nil {
		return "", 0, closeErr
	}
	if !errors.Is(err, record.ErrInvalidChunk) && !errors.Is(err, record.ErrZeroedChunk) {
		return "", 0, nil // the end, or what Pebble takes for it or judges itself
	}
	if err := keepPrefix(files, at.PhysicalFile, at.Physical); err != nil {
		return "", 0, fmt.Errorf("cut torn log %s: %w", at.PhysicalFile, err)
	}
	return at.PhysicalFile, at.Physical, syncDir(files, walDir)
}

// keepPrefix replaces a file by its first n bytes; a crash leaves either.
func keepPrefix(files vfs.FS, name string, n int64) error {
	from, err := files.Open(name)
	if err != nil {
		return err
	}
	defer from.Close()
	tmp := name + ".tmp"
	to, err := files.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err = io.CopyN(to, from, n); err == nil {
		err = to.Sync()
	}
	if err := errors.Join(err, to.Close()); err != nil {
		return err
	}
	return files.Rename(tmp, name)
}
