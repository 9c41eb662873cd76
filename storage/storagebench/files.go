package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// partitionFile is what a log of one file per partition would be: appends to the page cache, and one fdatasync for all that arrived while the last one ran.
type partitionFile struct {
	f    *os.File
	mu   sync.Mutex
	done *sync.Cond

	written, synced int64
	syncing         bool
	failed          error
}

func openFiles(dir string) ([]*partitionFile, error) {
	files := make([]*partitionFile, partitions)
	for i := range files {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			return nil, err
		}
		files[i] = &partitionFile{f: f}
		files[i].done = sync.NewCond(&files[i].mu)
	}
	return files, nil
}

func (p *partitionFile) append(b []byte, sync bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.f.Write(b); err != nil {
		return err
	}
	p.written += int64(len(b))
	if !sync {
		return nil
	}
	for end := p.written; p.synced < end && p.failed == nil; {
		if p.syncing {
			p.done.Wait()
			continue
		}
		p.flushLocked()
	}
	return p.failed
}

func (p *partitionFile) flushLocked() {
	p.syncing = true
	upTo := p.written
	p.mu.Unlock()
	err := syscall.Fdatasync(int(p.f.Fd()))
	p.mu.Lock()
	p.syncing = false
	if err != nil {
		p.failed = err
	}
	p.synced = upTo
	p.done.Broadcast()
}
