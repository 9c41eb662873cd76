package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/regency-project/regency/storage"
	"golang.org/x/sys/unix"
)

// readLoad reads 1 MB at a time into new buffers: the newest 512 KiB of each partition for a time, or all partitions one after the other from a disk whose
// page cache was told to forget them.
type readLoad struct {
	Files bool
	Bytes int64 // written before
	Batch int
	Cold  bool
	For   time.Duration // of tail reads
}

const (
	readBytes = 1 << 20
	tailBytes = 512 << 10
)

// reader reads up to readBytes of a partition at a position, and says where to go on; nothing was read at the end.
type reader interface {
	start(partition int, tail bool) int64
	read(partition int, at int64) (n int, next int64, err error)
	close() error
}

func (l readLoad) measure() (s sample, err error) {
	r, err := l.fill()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if l.Cold {
		unix.Sync() // a dirty page is not forgotten
		if err := forget("."); err != nil {
			return nil, err
		}
	}
	before, err := ownUsage()
	if err != nil {
		return nil, err
	}
	stopProfile, err := startProfile()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	var total int64
	for total == 0 || (!l.Cold && time.Since(began) < l.For) {
		n, err := readAll(r, !l.Cold)
		if err != nil {
			return nil, err
		}
		total += n
	}
	took := time.Since(began)
	stopProfile()
	after, err := ownUsage()
	s = sample{mbps: float64(total) / took.Seconds() / 1e6, cpuPerGB: after.since(before).cpu / (float64(total) / 1e9)}
	if err != nil {
		return nil, err
	}
	s[highWater], err = highWaterOf(os.Getpid())
	return s, err
}

func readAll(r reader, tail bool) (total int64, err error) {
	for p := range partitions {
		for at := r.start(p, tail); ; {
			n, next, err := r.read(p, at)
			if err != nil {
				return 0, err
			}
			if n == 0 {
				break
			}
			total, at = total+int64(n), next
		}
	}
	return total, nil
}

// fill writes the data, round robin as brokers get it.
func (l readLoad) fill() (reader, error) {
	batch := makeBatch(l.Batch)
	if l.Files {
		files, err := openFiles(".")
		if err != nil {
			return nil, err
		}
		for n := int64(0); n < l.Bytes; n += int64(len(batch)) {
			if err := files[int(n/int64(len(batch)))%partitions].append(batch, false); err != nil {
				return nil, err
			}
		}
		return fileReader(files), nil
	}
	store, logs, err := openStore(storage.FlushWritten)
	if err != nil {
		return nil, err
	}
	if err := fillStore(logs, batch, l.Bytes); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	if l.Cold { // nothing is left in its memory either
		if err := store.Close(); err != nil {
			return nil, err
		}
		if store, logs, err = openStore(storage.FlushWritten); err != nil {
			return nil, err
		}
	}
	return storeReader{store, logs}, nil
}

func fillStore(logs []*storage.Log, batch []byte, size int64) error {
	var last *storage.Pending
	for n, i := int64(0), 0; n < size; n, i = n+int64(len(batch)), i+1 {
		a, err := logs[i%len(logs)].AppendLeader(batch, 0, time.Now())
		if err != nil {
			return err
		}
		if i%64 == 63 {
			if err := last.Wait(); err != nil {
				return err
			}
		}
		last = a.Pending
	}
	for _, l := range logs {
		l.SetHighWatermark(l.End())
	}
	return last.Wait()
}

type fileReader []*partitionFile

func (r fileReader) start(p int, tail bool) int64 {
	if tail {
		return max(0, r[p].written-tailBytes)
	}
	return 0
}

func (r fileReader) read(p int, at int64) (int, int64, error) {
	n := min(readBytes, r[p].written-at)
	if n <= 0 {
		return 0, at, nil
	}
	got, err := r[p].f.ReadAt(make([]byte, n), at)
	return got, at + int64(got), err
}

func (r fileReader) close() error { return nil }

type storeReader struct {
	store *storage.Store
	logs  []*storage.Log
}

func (r storeReader) start(p int, tail bool) int64 {
	if tail {
		return max(0, r.logs[p].End()-tailBytes/recordBytes)
	}
	return 0
}

func (r storeReader) read(p int, at int64) (int, int64, error) {
	c, err := r.logs[p].Read(at, readBytes, r.logs[p].End())
	return len(c.Bytes), c.Next, err
}

func (r storeReader) close() error { return r.store.Close() }

// forget drops the files below dir from the page cache.
func forget(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the store has removed it meanwhile
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
}
