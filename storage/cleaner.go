package storage

import (
	"cmp"
	"context"
	"errors"
	"slices"
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

// Clean measures all logs once and compacts those that need it, the dirtiest first,
// until ctx ends or the store fails. A log that cannot be compacted does not keep the
// others from it; the errors are joined.
func (s *Store) Clean(ctx context.Context, o CleanerOptions) error {
	dirty, errs := s.dirtyLogs(ctx, o)
	for _, l := range dirty {
		if err := errors.Join(ctx.Err(), s.failure.get()); err != nil {
			return errors.Join(append(errs, err)...)
		}
		// The logs before took their time.
		p := o.Policy(l.Info())
		if !p.Compact || l.damage() != nil {
			continue
		}
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
	return errors.Join(append(errs, ctx.Err(), s.failure.get())...)
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

// dirtyLogs are the logs that need compaction, those with the largest dirty share
// first, without damaged ones. The errors are of logs that could not be measured.
func (s *Store) dirtyLogs(ctx context.Context, o CleanerOptions) (dirty []*Log, errs []error) {
	ratios := make(map[*Log]float64)
	for _, l := range s.allLogs() {
		if ctx.Err() != nil || s.failure.get() != nil {
			break
		}
		p := o.Policy(l.Info())
		if !p.Compact || l.damage() != nil {
			continue
		}
		d, err := l.Dirty(CompactOptions{Below: p.Below, MinLag: p.MinLag})
		switch {
		case errors.Is(err, ErrLogDeleted), errors.Is(err, errOvertaken):
		case err != nil:
			errs = append(errs, err)
		case p.wants(d):
			dirty, ratios[l] = append(dirty, l), d.Ratio()
		}
	}
	slices.SortFunc(dirty, func(a, b *Log) int { return cmp.Compare(ratios[b], ratios[a]) })
	return dirty, errs
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
