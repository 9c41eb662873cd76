package storage

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// formatVersion is the version of the key layout and of the values. A store with a
// larger one is refused.
// Version 1 lacked the marks of compaction, damage and clean close. It is read as it
// is, and becomes version 2 when it is opened.
const formatVersion = 2

const (
	metaName   = "store.json"
	walDirName = "wal"
)

// meta is store.json: what must be known before Pebble is opened.
type meta struct {
	Format int    `json:"format"`
	UUID   string `json:"directory_uuid"`
	// Ready is false until Pebble has made its files: only then may they be missing.
	Ready bool `json:"ready"`
	// Flush and BootID are those of the process that last opened the store.
	Flush  string `json:"flush"`
	BootID string `json:"boot_id"`
	Clean  bool   `json:"clean"` // that process closed it
	// Mark is what the store then wrote last. Without it the write-ahead log has lost
	// its end since: after a clean close that is damage, not a crash.
	Mark string `json:"mark,omitempty"`
	// Checksum is the CRC-32C of the file with zeros in its place, in all versions from
	// 2 on: a flipped bit must not look like another version or another directory.
	Checksum string `json:"checksum"`
}

const zeroChecksum = "00000000"

func checksum(b []byte) string {
	return fmt.Sprintf("%08x", crc32.Checksum(b, castagnoli))
}

// verify checks the checksum of the file that m was read from. Version 1 had none.
func (m meta) verify(file []byte) error {
	if m.Format == 1 && m.Checksum == "" {
		return nil
	}
	if len(m.Checksum) != len(zeroChecksum) || checksum(zeroLast(file, m.Checksum)) != m.Checksum {
		return fmt.Errorf("%s does not have its checksum %q: %w", metaName, m.Checksum, ErrCorrupt)
	}
	return nil
}

// zeroLast is file with the last occurrence of sum, which is the checksum, made zeros.
func zeroLast(file []byte, sum string) []byte {
	file = bytes.Clone(file)
	copy(file[max(bytes.LastIndex(file, []byte(sum)), 0):], zeroChecksum)
	return file
}

// encode is the file.
func (m meta) encode() ([]byte, error) {
	m.Checksum = zeroChecksum
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	at := bytes.LastIndex(b, []byte(zeroChecksum))
	copy(b[at:], checksum(b))
	return b, nil
}

// readMeta returns a zero meta if there is none.
func readMeta(files vfs.FS, dir string) (meta, error) {
	f, err := files.Open(files.PathJoin(dir, metaName))
	if errors.Is(err, fs.ErrNotExist) {
		return meta{}, nil
	}
	if err != nil {
		return meta{}, err
	}
	b, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return meta{}, fmt.Errorf("read %s: %w", metaName, err)
	}
	return decodeMeta(b)
}

func decodeMeta(b []byte) (meta, error) {
	var m meta
	if err := json.Unmarshal(b, &m); err != nil {
		return meta{}, fmt.Errorf("%s: %w: %w", metaName, ErrCorrupt, err)
	}
	if err := m.verify(b); err != nil {
		return meta{}, err
	}
	if m.Format > formatVersion {
		return meta{}, fmt.Errorf("%w: the store has version %d, this program reads versions 1 to %d: upgrade the program", ErrFormat, m.Format, formatVersion)
	}
	if m.Format < 1 || m.UUID == "" {
		return meta{}, fmt.Errorf("%s has no format version or directory UUID: %w", metaName, ErrCorrupt)
	}
	return m, nil
}

// write replaces store.json; a crash leaves the old one or the new one.
func (m meta) write(files vfs.FS, dir string) error {
	b, err := m.encode()
	if err != nil {
		return err
	}
	tmp := files.PathJoin(dir, metaName+".tmp")
	f, err := files.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", metaName, err)
	}
	if err := files.Rename(tmp, files.PathJoin(dir, metaName)); err != nil {
		return err
	}
	return syncDir(files, dir)
}

func syncDir(files vfs.FS, dir string) error {
	d, err := files.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// makeDir makes dir and its parents, durably.
func makeDir(files vfs.FS, dir string) error {
	if _, err := files.Stat(dir); err == nil {
		return nil
	}
	parent := files.PathDir(dir)
	if parent != dir {
		if err := makeDir(files, parent); err != nil {
			return err
		}
	}
	if err := files.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return syncDir(files, parent)
}

// lost reports that the machine, not just the process, went down before what the
// store acknowledged was durable.
func (m meta) lost(o Options) bool {
	return m.Flush == FlushWritten.String() && !m.Clean && (m.BootID == "" || m.BootID != o.BootID)
}

// opened is the meta to write when a store with meta m is opened.
func (m meta) opened(o Options) meta {
	if m.UUID == "" || m.lost(o) {
		m.UUID = newUUID()
	}
	m.Format, m.Flush, m.BootID, m.Clean, m.Mark = formatVersion, o.Flush.String(), o.BootID, false, ""
	return m
}

// newUUID is a random UUID (RFC 9562, version 4).
func newUUID() string {
	var u [16]byte
	rand.Read(u[:]) // never fails
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
