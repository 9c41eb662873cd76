package chain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

// errGap: the ring no longer holds what the watch needs next.
var errGap = errors.New("gap in the chain")

// Watch implements coordination.Coordinator.
func (c *Coordinator) Watch(ctx context.Context, fn func(coordination.Event)) error {
	ctx, cancel := c.merge(ctx)
	defer cancel()
	w := &watcher{c: c, fn: fn}
	c.keys.acquire(w)
	defer c.keys.release(w)
	for {
		err := w.follow(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, coordination.ErrLineage):
			return err
		case errors.Is(err, errGap):
			w.c.log.Info("watch has a gap, reading everything again", "seq", w.seq)
			if w.loaded { // or else the receiver has nothing yet, or knows already
				fn(coordination.Event{Kind: coordination.Resync, Seq: w.seq, Epoch: w.epoch, Lineage: w.lineage.String()})
			}
			w.loaded = false
			continue
		}
		c.log.Debug("watch renewed", "error", err)
		if !pause(ctx, retryPause) {
			return context.Cause(ctx)
		}
	}
}

// watcher is the state of one Watch: where the receiver is.
type watcher struct {
	c       *Coordinator
	fn      func(coordination.Event)
	loaded  bool
	lineage uuid.UUID
	seq     uint64
	epoch   int32
	holder  int32
	request uuid.UUID // of the commit at seq
}

// follow delivers events until the store's watch ends or a gap shows.
func (w *watcher) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := w.c.store.Watch(ctx, chainKey, func(e backend.Entry) {
		if ctx.Err() != nil {
			return
		}
		if err := w.advance(ctx, e); err != nil {
			cancel(err)
		}
	})
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// advance brings the receiver to the chain record e.
func (w *watcher) advance(ctx context.Context, e backend.Entry) error {
	if e.Version == 0 {
		return w.absent(ctx)
	}
	h, err := decodeHead(chainKey, e.Value)
	if err != nil {
		return err
	}
	switch {
	case w.lineage != uuid.Nil && h.lineage != w.lineage:
		return fmt.Errorf("watched %s, the store now holds %s: %w", w.lineage, h.lineage, coordination.ErrLineage)
	case !w.loaded:
		return w.load(ctx, h)
	case h.seq < w.seq || h.seq == w.seq && h.request != w.request: // a stale server, or a store that was set back: a linearizable read tells
		_, _, err := w.c.readHead(ctx)
		return err
	case h.seq == w.seq: // heartbeat
		w.c.keys.saw(w, h, e.Version)
		w.fn(coordination.Event{Kind: coordination.Alive, Lineage: w.lineage.String(), Seq: w.seq, Epoch: w.epoch, Holder: w.holder})
		return nil
	}
	// Before the delivery: its receiver may be what starts a claim.
	w.c.keys.saw(w, h, e.Version)
	if h.seq == w.seq+1 && h.inline {
		w.deliver(h)
		return nil
	}
	return w.catchUp(ctx, h.seq)
}

// absent: before bootstrap that is normal; afterwards it must be proven by a linearizable read.
func (w *watcher) absent(ctx context.Context) error {
	if w.lineage == uuid.Nil {
		return nil
	}
	_, _, err := w.c.readHead(ctx)
	return err
}

// load sends a Snapshot: the records as listed after the chain was at a, brought forward by the ring to b. Ring records hold full values, so replaying
// what a listed record already contains changes nothing. That a may be old (it is what the store's watch told) costs no more than ring records.
func (w *watcher) load(ctx context.Context, a head) error {
	records, newer, err := w.list(ctx, a.seq+1)
	if err != nil {
		return err
	}
	b, version, err := w.c.readHead(ctx)
	if err != nil {
		return err
	}
	if b == nil {
		return fmt.Errorf("%w: the chain record vanished", coordination.ErrUnavailable)
	}
	last, err := w.c.readRing(ctx, a.seq+1+uint64(len(newer)), b.seq)
	if err != nil {
		return err
	}
	for _, h := range append(newer, last...) {
		replay(records, h.mutations)
	}
	w.loaded, w.lineage, w.seq, w.epoch, w.holder, w.request = true, b.lineage, b.seq, b.epoch, b.holder, b.request
	w.c.keys.saw(w, *b, version)
	w.c.keys.load(w, w.seq, records)
	w.fn(coordination.Event{Kind: coordination.Snapshot, Lineage: b.lineage.String(), Seq: b.seq, Epoch: b.epoch, Holder: b.holder, Records: records})
	return nil
}

const (
	// ringPause is how often a long listing looks at the ring, which must not turn over meanwhile: at a thousand commits a second it has 64 ms.
	ringPause = 30 * time.Millisecond
	// maxNewer bounds the commits that are kept until the listing is done; after that many it begins anew.
	maxNewer = 64 * RingSlots
)

// list reads all records, and the commits from the given one on that are made while it does: a listing takes longer than the ring lasts where there are many
// records and many commits, and without them a watch would never begin.
func (w *watcher) list(ctx context.Context, from uint64) (records map[string][]byte, newer []head, err error) {
	ctx, cancel := context.WithCancel(ctx)
	listed := make(chan error, 1)
	go func() {
		var err error
		records, err = w.c.listRecords(ctx)
		listed <- err
	}()
	look := time.NewTicker(ringPause)
	defer look.Stop()
	for {
		select {
		case err = <-listed:
			cancel()
			return records, newer, err
		case <-look.C:
			some, err := w.c.commitsFrom(ctx, from+uint64(len(newer)))
			if newer = append(newer, some...); len(newer) > maxNewer {
				err = fmt.Errorf("%d commits since the listing began: %w", len(newer), errGap)
			}
			if errors.Is(err, errGap) { // any other error is worth another look
				cancel()
				<-listed
				return nil, nil, err
			}
		}
	}
}

func (c *Coordinator) listRecords(ctx context.Context) (map[string][]byte, error) {
	entries, err := c.store.List(ctx, "records")
	if err != nil {
		return nil, err
	}
	records := make(map[string][]byte, len(entries))
	for _, e := range entries {
		name, err := recordName(e.Key)
		if err != nil {
			return nil, fmt.Errorf("record key %q: %w", e.Key, err)
		}
		records[name] = e.Value
	}
	return records, nil
}

// commitsFrom reads the commits from the given one to the newest.
func (c *Coordinator) commitsFrom(ctx context.Context, from uint64) ([]head, error) {
	h, _, err := c.readHead(ctx)
	if err != nil || h == nil {
		return nil, err
	}
	return c.readRing(ctx, from, h.seq)
}

func replay(records map[string][]byte, ms []coordination.Mutation) {
	for _, m := range ms {
		if m.Value == nil {
			delete(records, m.Key)
		} else {
			records[m.Key] = m.Value
		}
	}
}

func (w *watcher) catchUp(ctx context.Context, to uint64) error {
	hs, err := w.c.readRing(ctx, w.seq+1, to)
	if err != nil {
		return err
	}
	for _, h := range hs {
		w.deliver(h)
	}
	return nil
}

func (w *watcher) deliver(h head) {
	w.seq, w.epoch, w.holder, w.request = h.seq, h.epoch, h.holder, h.request
	w.c.seen.note(h.id())
	w.c.keys.advance(w, h.seq, h.mutations)
	w.fn(coordination.Event{Kind: coordination.Delta, Lineage: h.lineage.String(), Seq: h.seq, Epoch: h.epoch, Holder: h.holder, Mutations: h.mutations})
}

// readRing reads the commits from..to, in order; errGap if one was overwritten.
func (c *Coordinator) readRing(ctx context.Context, from, to uint64) ([]head, error) {
	if to < from {
		return nil, nil
	}
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
