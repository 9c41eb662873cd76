package group

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/regency-project/regency/storage/record"
)

const (
	loadChunk  = 1 << 20
	batchLimit = 64 << 20 // of a decompressed batch
)

// load reads a partition of the internal topic from start to end. A record that cannot be understood is skipped with a log line: one of them must not cost all
// other groups their offsets.
func load(ctx context.Context, l Log, rules Rules, log *slog.Logger) (map[string]*Group, error) {
	start, end, err := l.Settled(ctx)
	if err != nil {
		return nil, fmt.Errorf("wait for committed groups: %w", err)
	}
	groups := map[string]*Group{}
	for from := start; from < end; {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		chunk, err := l.Read(from, loadChunk)
		if err != nil {
			return nil, fmt.Errorf("read groups from offset %d: %w", from, err)
		}
		if chunk.Next <= from {
			return nil, fmt.Errorf("read groups from offset %d of %d: nothing there", from, end)
		}
		if err := replayChunk(groups, chunk.Bytes, rules, log); err != nil {
			return nil, fmt.Errorf("read groups from offset %d: %w", from, err)
		}
		from = chunk.Next
	}
	return groups, nil
}

func replayChunk(groups map[string]*Group, b []byte, rules Rules, log *slog.Logger) error {
	now := time.Now()
	for batch, err := range record.Batches(b, record.CheckReplica) {
		if err != nil {
			return err
		}
		if batch.IsControl() {
			continue
		}
		err := record.ForEach(batch, batchLimit, func(r record.Record) bool {
			if err := replay(groups, Record{Key: r.Key, Value: r.Value}, rules, now); err != nil {
				log.Warn("record of the offsets topic skipped", "offset", r.Offset, "error", err)
			}
			return true
		})
		if err != nil {
			return fmt.Errorf("batch at offset %d: %w", batch.BaseOffset(), err)
		}
	}
	return nil
}
