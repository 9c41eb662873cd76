package chain

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
	gaps := backoff{from: gapPause, to: maxGapPause}
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
			if w.went { // the last listing was worth its cost
				gaps.reset()
			}
			w.loaded, w.went = false, false
			if !gaps.wait(ctx) {
				return context.Cause(ctx)
			}
			continue
		}
		c.log.Debug("watch renewed", "error", err)
		if !pause(ctx, retryPause) {
			return context.Cause(ctx)
		}
	}
}

// A watch that cannot follow reads the whole state each time: the pauses between leave the service something for those that can.
const (
	gapPause    = 50 * time.Millisecond
	maxGapPause = time.Second
)

// watcher is the state of one Watch: where the receiver is.
type watcher struct {
	c       *Coordinator
	fn      func(coordination.Event)
	loaded  bool
	went    bool // on from the last Snapshot, by a Delta or an Alive
	fresh   bool // the store's watch has told nothing yet that continues what the receiver has
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
	if !w.loaded { // not on the watch's first reading, which would be one more that the Snapshot has to wait for
		if err := w.load(ctx); err != nil {
			return err
		}
	}
	w.fresh = true
	err := w.c.store.Watch(ctx, chainKey, func(e backend.Entry) {
		if ctx.Err() != nil {
			return
		}
		w.c.keys.tell(w, e)
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
		return w.load(ctx)
	case h.seq < w.seq || h.seq == w.seq && h.request != w.request: // a stale server, or a store that was set back: a linearizable read tells
		_, _, err := w.c.readHead(ctx)
		return err
	case h.epoch < w.epoch: // before any delivery, and before a claim is made on it
		return w.id().forked(h.id())
	case h.seq == w.seq: // heartbeat
		w.went, w.fresh = true, false
		w.c.keys.saw(w, h, e.Version)
		w.fn(coordination.Event{Kind: coordination.Alive, Lineage: w.lineage.String(), Seq: w.seq, Epoch: w.epoch, Holder: w.holder})
		return nil
	}
	if h.seq == w.seq+1 && h.inline && !w.fresh {
		w.c.keys.saw(w, h, e.Version) // before the delivery: its receiver may be what starts a claim
		w.deliver(h)
		return nil
	}
	// While no store watch ran, the store may have been set back and have gone on past the receiver: the ring tells whose continuation this is.
	hs, err := w.c.readOn(ctx, w.id(), h.seq)
	if err != nil {
		return err
	}
	w.fresh = false
	w.c.keys.saw(w, h, e.Version)
	for _, h := range hs {
		w.deliver(h)
	}
	return nil
}

func (w *watcher) id() commitID {
	return commitID{lineage: w.lineage, epoch: w.epoch, seq: w.seq, request: w.request}
}

// absent: before bootstrap that is normal; afterwards it must be proven by a linearizable read.
func (w *watcher) absent(ctx context.Context) error {
	if w.lineage == uuid.Nil {
		return nil
	}
	_, _, err := w.c.readHead(ctx)
	return err
}

// load sends a Snapshot, if there is a chain: the records as they were read while the chain went from one commit to another, brought forward by the ring to the
// latter. Ring records hold full values, so replaying what a record contains already changes nothing. Most services show one instant, and there is nothing to replay.
func (w *watcher) load(ctx context.Context) error {
	l, err := w.list(ctx)
	if err != nil || l == nil {
		return err
	}
	last, err := w.c.readOn(ctx, l.newer.to, l.head.seq)
	if err != nil {
		return err
	}
	l.newer.add(last)
	l.newer.replay(l.records)
	h := l.head
	w.loaded, w.fresh = true, true
	w.lineage, w.seq, w.epoch, w.holder, w.request = h.lineage, h.seq, h.epoch, h.holder, h.request
	w.c.keys.saw(w, *h, l.version)
	w.c.keys.load(w, w.seq, l.records)
	w.fn(coordination.Event{Kind: coordination.Snapshot, Lineage: h.lineage.String(), Seq: h.seq, Epoch: h.epoch, Holder: h.holder, Records: l.records})
	return nil
}

// listing is what a reading of all records found.
type listing struct {
	records map[string][]byte
	newer   *folded // commits from the one before any record was read
	head    *head   // the chain when all records, and newer, had been read
	version uint64  // of head
}

// list reads all records, and the commits that are made while it does. It is nil where there is no chain.
func (w *watcher) list(ctx context.Context) (*listing, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	seen := w.c.seen.newest()
	looks := &lookout{c: w.c, fail: cancel}
	defer looks.stop()
	e, entries, err := w.c.store.Load(ctx, chainKey, "records", func(e backend.Entry) {
		if err := looks.start(ctx, e, seen); err != nil {
			cancel(err)
		}
	})
	looks.stop()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil || looks.newer == nil {
		return nil, err
	}
	l := &listing{newer: looks.newer}
	if l.head, l.version, err = w.c.headOf(e, seen); err != nil {
		return nil, err
	}
	if l.head == nil || l.head.seq < l.newer.to.seq { // the looks came later than the listing's instant
		if l.head, l.version, err = w.c.readHead(ctx); err != nil {
			return nil, err
		}
	}
	if err := l.newer.to.since(l.head); err != nil {
		return nil, err
	}
	l.records, err = recordsOf(entries)
	return l, err
}

// ringPause is how often a long listing looks at the ring, which must not turn over meanwhile: at a thousand commits a second it has 64 ms.
const ringPause = 30 * time.Millisecond

// lookout reads the commits that are made while records are listed: a listing takes longer than the ring lasts where there are many records and many commits,
// and without them a watch would never begin.
type lookout struct {
	c       *Coordinator
	fail    context.CancelCauseFunc
	newer   *folded // nil: there is no chain
	end     context.CancelFunc
	running sync.WaitGroup
}

// start begins at what the chain was before any record was read. A listing that starts anew has begun with an older one already.
func (o *lookout) start(ctx context.Context, e backend.Entry, seen commitID) error {
	if o.newer != nil {
		return nil
	}
	h, _, err := o.c.headOf(e, seen)
	if err != nil || h == nil {
		return err
	}
	o.newer = &folded{to: h.id(), last: map[string][]byte{}}
	ctx, o.end = context.WithCancel(ctx)
	o.running.Go(func() { o.look(ctx) })
	return nil
}

func (o *lookout) look(ctx context.Context) {
	t := time.NewTicker(ringPause)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		some, err := o.c.commitsAfter(ctx, o.newer.to)
		if errors.Is(err, errGap) || errors.Is(err, coordination.ErrLineage) || errors.Is(err, coordination.ErrClosed) {
			o.fail(err)
			return
		}
		o.newer.add(some) // none after any other error, which is worth another look
	}
}

// stop ends the looks. One that is under way is given up: the ring holds what it would have found.
func (o *lookout) stop() {
	if o.end != nil {
		o.end()
		o.running.Wait()
	}
}

func recordsOf(entries []backend.Entry) (map[string][]byte, error) {
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

func (w *watcher) deliver(h head) {
	w.seq, w.epoch, w.holder, w.request, w.went = h.seq, h.epoch, h.holder, h.request, true
	w.c.seen.note(h.id())
	w.c.keys.advance(w, h.seq, h.mutations)
	w.fn(coordination.Event{Kind: coordination.Delta, Lineage: h.lineage.String(), Seq: h.seq, Epoch: h.epoch, Holder: h.holder, Mutations: h.mutations})
}
