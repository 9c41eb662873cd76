package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// blockFS verifies the checksums of tables and blob files below Pebble, which does
// it again. Left to itself, Pebble 2.1.7 answers a flipped bit badly:
//   - in a blob file's footer, or in any block of one that a background rewrite reads,
//     with a panic in a goroutine of its own (DB.reportCorruption gets no file), so
//     that the process dies, and dies again after every restart;
//   - in a large block with a search for the bit that takes half a minute of CPU.
//
// An error that Pebble does not know as corruption just reaches the reader. It wraps
// ErrCorrupt, and so marks the log that is read.
//
// Pebble reads a block and its trailer in one call: compression (1 byte) and masked
// CRC-32C (4). Only footers are read up to the end of a file; those of blob files
// have 38 bytes and are checked here, the others harmlessly by Pebble.
//
// It also syncs the directory before Pebble makes the marker that names the current
// manifest. Pebble does so only after it: where a file system writes the entries of a
// directory in any order, a loss of power could leave the marker of a manifest that is
// not there.
type blockFS struct{ vfs.FS }

const (
	markerPrefix    = "marker."
	blobFooterLen   = 38
	blobFooterCRC   = 4 // at the front; it covers the rest
	blobChecksumAt  = 20
	checksumCRC32C  = 1
	blockTrailerLen = 5
	// damagePause slows what tries a damaged block again and again: compactions.
	damagePause = 20 * time.Millisecond
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Unwrap implements vfs.FS.
func (fs blockFS) Unwrap() vfs.FS { return fs.FS }

// Open implements vfs.FS.
func (fs blockFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.Open(name, opts...)
	blob := strings.HasSuffix(name, ".blob")
	if err != nil || !blob && !strings.HasSuffix(name, ".sst") {
		return f, err
	}
	checked, err := newBlockFile(f, name, blob)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", name, err), f.Close())
	}
	return checked, nil
}

// blockFile is a file of blocks, opened for reading.
type blockFile struct {
	vfs.File
	name string
	size int64
}

func newBlockFile(f vfs.File, name string, blob bool) (vfs.File, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !blob {
		return &blockFile{f, name, info.Size()}, nil
	}
	if info.Size() < blobFooterLen {
		return nil, fmt.Errorf("blob file of %d bytes: %w", info.Size(), ErrCorrupt)
	}
	var footer [blobFooterLen]byte
	if _, err := f.ReadAt(footer[:], info.Size()-blobFooterLen); err != nil {
		return nil, err
	}
	if maskedCRC(footer[blobFooterCRC:]) != binary.LittleEndian.Uint32(footer[:]) || footer[blobChecksumAt] != checksumCRC32C {
		time.Sleep(damagePause)
		return nil, fmt.Errorf("footer of a blob file: %w", ErrCorrupt)
	}
	return &blockFile{f, name, info.Size()}, nil
}

// ReadAt implements io.ReaderAt.
func (f *blockFile) ReadAt(p []byte, offset int64) (int, error) {
	n, err := f.File.ReadAt(p, offset)
	if err != nil || n != len(p) || n <= blockTrailerLen || offset+int64(n) >= f.size {
		return n, err
	}
	if want := binary.LittleEndian.Uint32(p[n-4:]); maskedCRC(p[:n-4]) != want {
		time.Sleep(damagePause)
		return 0, fmt.Errorf("%s: block of %d bytes at %d: checksum does not agree: %w", f.name, n, offset, ErrCorrupt)
	}
	return n, nil
}

// maskedCRC is the CRC-32C as LevelDB stores it.
func maskedCRC(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

// Create implements vfs.FS.
func (fs blockFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(fs.PathBase(name), markerPrefix) {
		if err := syncDir(fs.FS, fs.PathDir(name)); err != nil {
			return nil, err
		}
	}
	return fs.FS.Create(name, category)
}
