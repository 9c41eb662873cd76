package chain

import (
	"context"
	"fmt"
)

// commitsAfter reads the commits after the given one to the newest.
func (c *Coordinator) commitsAfter(ctx context.Context, after commitID) ([]head, error) {
	h, _, err := c.readHead(ctx)
	if err != nil || h == nil {
		return nil, err
	}
	return c.readOn(ctx, after, h.seq)
}

// readOn reads the commits after the given one up to number to, in order: errGap if one was overwritten, ErrLineage if they do not continue it.
// The ring must still hold the given commit itself: without it nothing shows that the store was not set back to before it and went on from there.
func (c *Coordinator) readOn(ctx context.Context, after commitID, to uint64) ([]head, error) {
	if to <= after.seq {
		return nil, nil
	}
	hs, err := c.readRing(ctx, after.seq, to)
	if err != nil {
		return nil, err
	}
	if found := hs[0].id(); found != after {
		return nil, after.forked(found)
	}
	for i, h := range hs[1:] {
		if h.lineage != after.lineage || h.epoch < hs[i].epoch {
			return nil, after.forked(h.id())
		}
	}
	return hs[1:], nil
}

// readRing reads the commits from..to, in order; errGap if one was overwritten.
func (c *Coordinator) readRing(ctx context.Context, from, to uint64) ([]head, error) {
	if to-from >= RingSlots {
		return nil, fmt.Errorf("commits %d to %d: %w", from, to, errGap)
	}
	var keys []string
	for seq := from; seq <= to; seq++ {
		keys = append(keys, slotKey(seq))
	}
	entries, err := c.store.GetMany(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("read ring: %w", err)
	}
	hs := make([]head, 0, len(entries))
	for i, e := range entries {
		h, err := decodeHead(keys[i], e.Value)
		if err != nil {
			return nil, err
		}
		if h.seq != from+uint64(i) {
			return nil, fmt.Errorf("slot %s holds commit %d, want %d: %w", keys[i], h.seq, from+uint64(i), errGap)
		}
		hs = append(hs, h)
	}
	return hs, nil
}

// folded is what many commits in a row come to: for each key that they name its last value, nil where that was a deletion. So it takes no more room than the
// state, and the names of what was deleted, however many commits there were.
type folded struct {
	to   commitID // the last of them
	last map[string][]byte
}

func (f *folded) add(hs []head) {
	for _, h := range hs {
		for _, m := range h.mutations {
			f.last[m.Key] = m.Value
		}
		f.to = h.id()
	}
}

func (f *folded) replay(records map[string][]byte) {
	for key, value := range f.last {
		if value == nil {
			delete(records, key)
		} else {
			records[key] = value
		}
	}
}
