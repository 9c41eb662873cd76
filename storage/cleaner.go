package storage

import (
	"context"
	"errors"
	"time"
)

// CompactionPolicy is the compaction of one log. The zero value does not compact.
type CompactionPolicy struct {
	// Compact is whether cleanup.policy has compact.
	Compact bool
	// MinDirtyRatio is the least dirty share that is worth a compaction, 0 to 1
	// (min.cleanable.dirty.ratio).
	MinDirtyRatio float64
	// MinLag, DeleteRetention and Below are as in CompactOptions.
	MinLag          time.Duration
	DeleteRetention time.Duration
	Below           int64
	// MaxLag asks for a compaction, whatever the ratio, once the first dirty batch is
	// older (max.compaction.lag.ms). 0 does not.
	MaxLag time.Duration
}

// CleanerOptions configure the store's cleaner.
type CleanerOptions struct {
	// Policy says how a log is compacted. It is called often and must not block.
	Policy func(LogInfo) CompactionPolicy
	// MapBytes and BytesPerSecond are as in CompactOptions, for the cleaner as a whole:
	// it compacts one log at a time.
	MapBytes       int64
	BytesPerSecond int64
	// Cleaned is called after each compaction, also one that failed; nil is allowed.
	Cleaned func(LogInfo, CompactStats, error)
}

// Clean compacts the logs that need it, the dirtiest first, until none does, ctx
// ends or the store fails. A log that cannot be compacted does not keep the others
// from it; the errors are joined.
func (s *Store) Clean(ctx context.Context, o CleanerOptions) error {
	var errs []error
	tried := make(map[*Log]bool)
	for {
		if err := errors.Join(ctx.Err(), s.failure.get()); err != nil {
			return errors.Join(append(errs, err)...)
		}
		l, p, err := s.dirtiest(o, tried)
		if err != nil {
			errs = append(errs, err)
		}
		if l == nil {
			return errors.Join(errs...)
		}
		tried[l] = true
		stats, err := l.Compact(ctx, CompactOptions{
			Below: p.Below, MinLag: p.MinLag, DeleteRetention: p.DeleteRetention,
			MapBytes: o.MapBytes, BytesPerSecond: o.BytesPerSecond,
		})
		if o.Cleaned != nil {
			o.Cleaned(l.Info(), stats, err)
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, ErrLogDeleted) && !errors.Is(err, errOvertaken) {
			errs = append(errs, err)
		}
	}
}

// RunCleaner calls Clean at once and then every interval until ctx ends, and returns
// then, or when the store is closed or has failed. What fails in between is logged.
func (s *Store) RunCleaner(ctx context.Context, interval time.Duration, o CleanerOptions) error {
	for {
		err := s.Clean(ctx, o)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrFailed), errors.Is(err, ErrClosed):
			return err
		case err != nil:
			s.log.Warn("compaction failed, it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(interval):
		}
	}
}

// dirtiest is the log with the largest dirty share of those that need compaction,
// nil if none does. Logs in skip and damaged ones are left out.
func (s *Store) dirtiest(o CleanerOptions, skip map[*Log]bool) (*Log, CompactionPolicy, error) {
	var (
		found  *Log
		policy CompactionPolicy
		most   = -1.0
		errs   []error
	)
	for _, l := range s.allLogs() {
		if skip[l] || l.damage() != nil {
			continue
		}
		p := o.Policy(l.Info())
		if !p.Compact {
			continue
		}
		d, err := l.Dirty(CompactOptions{Below: p.Below, MinLag: p.MinLag})
		if err != nil {
			skip[l] = true
			if !errors.Is(err, ErrLogDeleted) {
				errs = append(errs, err)
			}
			continue
		}
		if ratio := d.Ratio(); p.wants(d) && ratio > most {
			found, policy, most = l, p, ratio
		}
	}
	return found, policy, errors.Join(errs...)
}

func (p CompactionPolicy) wants(d Dirtiness) bool {
	if d.TombstonesDue {
		return true
	}
	if d.DirtyBytes == 0 {
		return false
	}
	overdue := p.MaxLag > 0 && d.Oldest >= 0 && time.Since(time.UnixMilli(d.Oldest)) > p.MaxLag
	return overdue || d.Ratio() >= p.MinDirtyRatio
}
