package main

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"github.com/regency-project/regency/storage"
)

// spaceLoad writes Bytes, retains about Keep of them, and waits until the disk's use is down, Settle at most.
type spaceLoad struct {
	Bytes, Keep int64
	Batch       int
	Settle      time.Duration
}

// enough ends the wait early: the stretch target.
const enough = 1.2

func (l spaceLoad) measure() (s sample, err error) {
	store, logs, err := openStore(storage.FlushWritten)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := fillStore(logs, makeBatch(l.Batch), l.Bytes); err != nil {
		return nil, err
	}
	began := time.Now()
	keep := storage.Policy{MaxBytes: l.Keep / partitions}
	if _, err := store.Retain(func(storage.LogInfo) storage.Policy { return keep }, time.Now()); err != nil {
		return nil, err
	}
	s = sample{}
	for {
		var live int64
		for _, i := range store.Logs() {
			live += i.Bytes
		}
		used, err := diskUse(".")
		if err != nil {
			return nil, err
		}
		s[spaceAmp], s[settled] = float64(used)/float64(live), time.Since(began).Seconds()
		if s[spaceAmp] <= enough || time.Since(began) > l.Settle {
			return s, nil
		}
		time.Sleep(time.Second) // between looks at the disk
	}
}

// diskUse is what the files below dir take on the disk.
func diskUse(dir string) (int64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !d.Type().IsRegular() {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		total += info.Sys().(*syscall.Stat_t).Blocks * 512
		return nil
	})
	return total, err
}
