package storage

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// writesFS notes the size of every write.
type writesFS struct {
	vfs.FS
	sizes *[]int
}

func (fs writesFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, category)
	return writesFile{f, fs.sizes}, err
}

type writesFile struct {
	vfs.File
	sizes *[]int
}

func (f writesFile) Write(p []byte) (int, error) {
	*f.sizes = append(*f.sizes, len(p))
	return f.File.Write(p)
}

// TestBlobFilesAreWrittenInPieces: whatever the size of a block, no write of a blob file crosses a multiple of writePiece, and the file is what was written.
func TestBlobFilesAreWrittenInPieces(t *testing.T) {
	var sizes []int
	memory := vfs.NewMem()
	fs, err := newFailedFS(writesFS{memory, &sizes}, "dir", &failure{report: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	f, err := fs.Create("000001.blob", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for i, size := range []int{100, writePiece - 100, 10, 3 * writePiece, 0, writePiece} {
		p := bytes.Repeat([]byte{byte('a' + i)}, size)
		want = append(want, p...) // Write may change p: see vfs.File
		if n, err := f.Write(p); n != size || err != nil {
			t.Fatalf("Write(%d bytes) = %d, %v", size, n, err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, size := range sizes {
		if at/writePiece != (at+size-1)/writePiece {
			t.Errorf("a write of %d bytes at %d crosses a multiple of %d", size, at, writePiece)
		}
		at += size
	}
	r, err := memory.Open("000001.blob")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := make([]byte, len(want))
	if _, err := r.ReadAt(got, 0); err != nil || at != len(want) || !bytes.Equal(got, want) {
		t.Errorf("the file has %d of %d bytes, or others than were written (%v)", at, len(want), err)
	}
}
