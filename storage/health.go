package storage

import (
	"context"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

const (
	probeInterval      = 500 * time.Millisecond
	checkpointInterval = time.Second
)

// LastProgress is when the disk last completed what the flush mode promises. An
// idle store probes its disk about twice a second, so that a value older than a
// few seconds means that the disk hangs.
func (s *Store) LastProgress() time.Time { return time.Unix(0, s.progress.Load()) }

// run starts what the store does by itself until ctx ends.
func (s *Store) run(ctx context.Context) {
	s.work.Go(func() { every(ctx, probeInterval, s.probe) })
	s.work.Go(func() { every(ctx, checkpointInterval, s.checkpoint) })
	s.work.Go(func() { s.reclaim.run(ctx, s) })
}

func every(ctx context.Context, d time.Duration, do func()) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			do()
		}
	}
}

// Sync waits until everything that was done so far is as durable as an acknowledged
// append.
func (s *Store) Sync() error {
	if err := s.enterWrite(); err != nil {
		return err
	}
	defer s.leave()
	if err := s.db.LogData(nil, pebble.Sync); err != nil {
		s.failure.set(err)
	}
	return s.failure.get()
}

// probe syncs an empty record through the log if nothing else did lately. It also
// bounds for how long a commit without sync stays in memory. On a disk that hangs
// it blocks, and LastProgress stands still.
func (s *Store) probe() {
	if s.failure.get() != nil || time.Since(s.LastProgress()) < probeInterval/2 {
		return
	}
	// The error of a sync is in failure.
	_ = s.Sync()
}

// checkpoint writes the high watermarks that changed since the last append. A log
// that is being written now is left to that write.
func (s *Store) checkpoint() {
	for _, l := range s.allLogs() {
		if s.failure.get() != nil {
			return
		}
		l.checkpoint()
	}
}
