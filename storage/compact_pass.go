package storage

import (
	"context"

	"github.com/cockroachdb/pebble/v2"
	"github.com/regency-project/regency/storage/record"
)

const (
	// compactChunk is how much is read between two commits.
	compactChunk = 1 << 20
	// maxIndexEntries bounds what a pass remembers of the time index.
	maxIndexEntries = 1 << 16
)

// compaction is one call of Compact. The fields from start on are those of the pass.
type compaction struct {
	log   *Log
	o     CompactOptions
	pacer pacer
	seen  *offsetMap
	stats CompactStats

	generation uint64
	start      int64 // log start
	dirty      int64 // where the dirty part begins
	done       int64 // where the clean one ended; a batch across the log start reaches back
	mapEnd     int64 // seen holds all keys from dirty up to here
	end        int64 // behind the last batch that the pass rewrites
	last       int64 // last offset of that batch
	producers  map[int64]ProducerState
	epochEnds  map[int64]bool // last offsets of the batches that tell of leader epochs

	total   int64 // bytes in the rewritten log so far
	index   []indexed
	gap     int64 // between entries of index
	horizon int64
}

// pass cleans as far as the map reaches, and reports whether there is more.
func (c *compaction) pass(ctx context.Context) (more bool, err error) {
	limit, todo, err := c.plan()
	if err != nil || !todo {
		return false, err
	}
	if err := c.readDirty(ctx, limit); err != nil {
		return false, err
	}
	if err := c.findEnds(); err != nil {
		return false, err
	}
	for from := c.start; from < c.end; {
		if from, err = c.rewriteFrom(ctx, from); err != nil {
			return false, err
		}
	}
	if err := c.finish(); err != nil {
		return false, err
	}
	c.stats.Passes++
	c.stats.To = c.mapEnd
	return c.mapEnd < limit, nil
}

// plan begins a pass: limit is where it must stop.
func (c *compaction) plan() (limit int64, todo bool, err error) {
	l := c.log
	err = l.view("compact", func() error {
		c.generation = l.generation()
		st, done := l.snapshot(), l.cleanedNow()
		c.start, c.dirty, c.done = st.start, max(st.start, done.end), done.end
		if min(st.highWatermark, c.o.Below) < c.dirty {
			return nil
		}
		end, err := l.cleanableEnd(st, c.dirty, c.o)
		limit = max(end, c.dirty)
		due := done.due(c.o.Now) && c.stats.Passes == 0
		todo = limit > c.dirty || (due && limit > c.start)
		return err
	})
	if err != nil || !todo {
		return 0, false, err
	}
	if c.seen == nil {
		c.seen = newOffsetMap(c.o.MapBytes)
		c.stats.From = c.dirty
	}
	c.seen.clear()
	c.total, c.index, c.gap, c.horizon = 0, nil, timeIndexGap, 0
	c.producers = make(map[int64]ProducerState)
	for _, p := range l.Producers() {
		c.producers[p.ProducerID] = p.before(limit)
	}
	return limit, true, nil
}

// readDirty fills the map from the dirty part, until either ends.
func (c *compaction) readDirty(ctx context.Context, limit int64) error {
	c.mapEnd, c.end = limit, limit
	for next, full := c.dirty, false; next < limit && !full; {
		var read int64
		err := c.log.view("compact", func() error {
			from := next
			next = limit
			return c.log.scanChecked(from, limit, func(b record.Batch) (bool, error) {
				read += int64(len(b))
				if full = !c.mapKeys(b); full {
					c.end = b.LastOffset() + 1
					return false, nil
				}
				if read < compactChunk {
					return true, nil
				}
				next = b.LastOffset() + 1
				return false, nil
			})
		})
		c.stats.BytesRead += read
		if err != nil {
			return err
		}
		if err := c.pacer.pace(ctx, read); err != nil {
			return err
		}
	}
	return nil
}

// mapKeys enters a batch into the map; false if the map is full, which then reaches
// to a record of the batch.
func (c *compaction) mapKeys(b record.Batch) bool {
	if b.IsControl() || b.IsTransactional() {
		return true
	}
	records, err := record.Expand(b, lookupLimit)
	if err != nil {
		return true // kept as it is; see clean
	}
	fits := true
	records.Each(func(r record.Record) bool {
		if r.Key != nil && r.Offset >= c.done && !c.seen.put(r.Key, r.Offset) {
			c.mapEnd, fits = r.Offset, false
		}
		return fits
	})
	return fits
}

// findEnds finds the last batch that the pass will see, and those on both sides of
// each start of a leader epoch.
func (c *compaction) findEnds() error {
	l := c.log
	return l.view("compact", func() error {
		it, err := l.store.db.NewIter(&pebble.IterOptions{
			LowerBound: offsetKey(l.id, kindBatch, c.start),
			UpperBound: offsetKey(l.id, kindBatch, c.end),
		})
		if err != nil {
			return err
		}
		defer it.Close()
		c.last = -1
		if it.Last() {
			c.last = keyOffset(it.Key())
		}
		c.epochEnds = make(map[int64]bool)
		for i, e := range l.epochs() {
			if i == 0 || e.start <= c.start || e.start > c.end {
				continue
			}
			start := offsetKey(l.id, kindBatch, e.start)
			if it.SeekLT(start) {
				c.epochEnds[keyOffset(it.Key())] = true
			}
			if it.SeekGE(start) {
				c.epochEnds[keyOffset(it.Key())] = true
			}
		}
		return at(c.start, it.Error())
	})
}

// rewrite is what becomes of the batch at a key: value, or nothing.
type rewrite struct {
	last  int64
	value record.Batch // nil deletes
	freed int64
}

// rewriteFrom cleans about compactChunk and returns where to go on.
func (c *compaction) rewriteFrom(ctx context.Context, from int64) (next int64, err error) {
	l := c.log
	var (
		changes       []rewrite
		read, written int64
		sizes         = []indexed{{from, timeEntry{pos: c.total}}} // the bytes up to each batch
	)
	next = c.end
	err = l.view("compact", func() error {
		err := l.scanChecked(from, c.end, func(b record.Batch) (bool, error) {
			read += int64(len(b))
			after, changed, err := c.clean(b)
			if err != nil {
				return false, err
			}
			if changed {
				changes = append(changes, rewrite{b.LastOffset(), after, int64(len(b) - len(after))})
				written += int64(len(after))
			}
			c.total += int64(len(after))
			sizes = append(sizes, indexed{b.LastOffset() + 1, timeEntry{pos: c.total}})
			if read+written < compactChunk {
				return true, nil
			}
			next = b.LastOffset() + 1
			return false, nil
		})
		if err != nil {
			return err
		}
		return c.reindex(from, next, sizes)
	})
	c.stats.BytesRead += read
	if err == nil {
		err = c.apply(changes)
	}
	if err == nil {
		err = c.pacer.pace(ctx, read+written)
	}
	return next, err
}

// clean returns what is left of a batch, nil if it goes.
func (c *compaction) clean(b record.Batch) (after record.Batch, changed bool, err error) {
	if b.IsControl() || b.Count() == 0 {
		if b.IsControl() || c.needed(b) {
			return b, false, nil
		}
		c.stats.BatchesRemoved++
		return nil, true, nil
	}
	records, err := record.Expand(b, lookupLimit)
	if err != nil {
		c.stats.Unreadable++
		return b, false, nil
	}
	v := c.judge(b, records)
	if v.horizon != 0 && (c.horizon == 0 || v.horizon < c.horizon) {
		c.horizon = v.horizon
	}
	if v.removed == 0 && v.newHorizon == record.NoHorizon {
		return b, false, nil
	}
	c.stats.RecordsRemoved += v.removed
	if v.removed == int64(b.Count()) && !c.needed(b) {
		c.stats.BatchesRemoved++
		return nil, true, nil
	}
	c.stats.BatchesRewritten++
	after, err = records.Filter(v.newHorizon, func(r record.Record) bool { return c.fate(b, r) == keep })
	return after, true, err
}

// needed tells of a batch without records whether it must stay: as the last one of
// the cleaned part, as the first or last one of a leader epoch, or as the last one of a
// producer that is remembered. Where the producer wrote too much since to tell, it stays.
func (c *compaction) needed(b record.Batch) bool {
	if b.LastOffset() == c.last || c.epochEnds[b.LastOffset()] {
		return true
	}
	p, ok := c.producers[b.ProducerID()]
	if !ok || b.BaseSequence() < 0 {
		return false
	}
	return !p.Known() || p.Batches[len(p.Batches)-1].LastOffset == b.LastOffset()
}

type fate int

const (
	keep fate = iota
	superseded
	keyless
	expired // a tombstone
)

func (c *compaction) fate(b record.Batch, r record.Record) fate {
	switch {
	case r.Offset >= c.mapEnd:
		return keep
	case r.Key == nil:
		if b.IsTransactional() {
			return keep
		}
		return keyless
	case c.seen.supersedes(r.Key, r.Offset):
		return superseded
	case r.Value == nil && !b.IsTransactional():
		if horizon, ok := b.DeleteHorizon(); ok && c.o.Now.UnixMilli() >= horizon {
			return expired
		}
	}
	return keep
}

// verdict is what a pass decides about a batch.
type verdict struct {
	removed    int64
	newHorizon int64 // to be written; record.NoHorizon if there is one or none is needed
	horizon    int64 // of the tombstones that stay, 0 for none
}

func (c *compaction) judge(b record.Batch, records record.Expanded) verdict {
	v := verdict{newHorizon: record.NoHorizon}
	tombstones := false
	records.Each(func(r record.Record) bool {
		switch c.fate(b, r) {
		case keep:
			tombstones = tombstones || (r.Value == nil && r.Key != nil && r.Offset < c.mapEnd)
			return true
		case keyless:
			c.stats.KeylessRemoved++
		case expired:
			c.stats.TombstonesRemoved++
		}
		v.removed++
		return true
	})
	if !tombstones || b.IsTransactional() {
		return v
	}
	horizon, ok := b.DeleteHorizon()
	if !ok {
		horizon = c.o.Now.Add(c.o.DeleteRetention).UnixMilli()
		v.newHorizon = horizon
	}
	v.horizon = max(horizon, 1)
	return v
}

// reindex takes the time index entries of [from, next) over into the new one.
// Their times stay: they may be newer than what is left, never older.
func (c *compaction) reindex(from, next int64, sizes []indexed) error {
	l := c.log
	it, err := l.store.db.NewIter(&pebble.IterOptions{
		LowerBound: offsetKey(l.id, kindTimeIndex, from),
		UpperBound: offsetKey(l.id, kindTimeIndex, next),
	})
	if err != nil {
		return err
	}
	defer it.Close()
	var before int64
	for more := it.First(); more; more = it.Next() {
		e, err := iterEntry(it)
		if err != nil {
			return err
		}
		for len(sizes) > 0 && sizes[0].next <= e.next {
			before, sizes = sizes[0].pos, sizes[1:]
		}
		c.addIndex(indexed{e.next, timeEntry{e.maxTimestamp, before}})
	}
	return it.Error()
}

func (c *compaction) addIndex(e indexed) {
	if n := len(c.index); n > 0 && e.pos-c.index[n-1].pos < c.gap {
		return
	}
	if c.index = append(c.index, e); len(c.index) < maxIndexEntries {
		return
	}
	c.gap *= 2
	old := c.index
	c.index = old[:0]
	for _, e := range old {
		c.addIndex(e)
	}
}

// apply commits what became of some batches. It waits for no disk: what a crash
// loses is done again.
func (c *compaction) apply(changes []rewrite) error {
	if len(changes) == 0 {
		return nil
	}
	l := c.log
	return l.change("compact", func() error {
		if l.generation() != c.generation {
			return errOvertaken
		}
		start := l.Start()
		b := l.store.db.NewBatch()
		defer b.Close()
		for _, ch := range changes {
			key := offsetKey(l.id, kindBatch, ch.last)
			switch {
			case ch.last < start: // deleted meanwhile, and must stay so
			case ch.value == nil:
				b.Delete(key, nil)
			default:
				b.Set(key, ch.value, nil)
			}
			c.stats.BytesFreed += ch.freed
		}
		// From the first change on, the log says that gaps in it are compaction's.
		b.Set(prefixKey(l.id, kindCleaned), l.cleanedNow().encode(), nil)
		return l.store.commit(b, pebble.NoSync)
	})
}

// finish commits how far the log is compacted, and the positions of what is left:
// the end of the log keeps its own, those before the end of the pass rise.
func (c *compaction) finish() error {
	l := c.log
	return l.change("compact", func() error {
		if l.generation() != c.generation {
			return errOvertaken
		}
		st, done := l.snapshot(), l.cleanedNow()
		behind, err := l.positionAt(st, max(c.end, st.start))
		if err != nil {
			return err
		}
		shift := behind - c.total
		b := l.store.db.NewBatch()
		defer b.Close()
		b.DeleteRange(prefixKey(l.id, kindTimeIndex), offsetKey(l.id, kindTimeIndex, c.end), nil)
		st.startPos = shift
		for _, e := range c.index {
			e.pos += shift
			if e.next <= st.start { // the start moved meanwhile
				st.startPos = e.pos
				continue
			}
			st.indexedPos = max(st.indexedPos, e.pos)
			b.Set(offsetKey(l.id, kindTimeIndex, e.next-1), e.encode(), nil)
		}
		if c.end <= st.start {
			st.startPos = behind
		}
		done = cleaned{max(done.end, c.mapEnd), c.horizon}
		b.Set(prefixKey(l.id, kindCleaned), done.encode(), nil)
		b.Set(prefixKey(l.id, kindState), st.encode(), nil)
		if err := l.store.commit(b, pebble.NoSync); err != nil {
			return err
		}
		l.publishCleaned(st, done)
		return nil
	})
}
