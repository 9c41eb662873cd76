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
	w.fresh = true
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

// load sends a Snapshot: the records as listed after the chain was at a, brought forward by the ring to b. Ring records hold full values, so replaying
// what a listed record already contains changes nothing. That a may be old (it is what the store's watch told) costs no more than ring records.
func (w *watcher) load(ctx context.Context, a head) error {
	records, newer, err := w.list(ctx, a.id())
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
	last, err := w.c.readOn(ctx, newer.to, b.seq)
	if err != nil {
		return err
	}
	newer.add(last)
	newer.replay(records)
	w.loaded, w.fresh = true, false
	w.lineage, w.seq, w.epoch, w.holder, w.request = b.lineage, b.seq, b.epoch, b.holder, b.request
	w.c.keys.saw(w, *b, version)
	w.c.keys.load(w, w.seq, records)
	w.fn(coordination.Event{Kind: coordination.Snapshot, Lineage: b.lineage.String(), Seq: b.seq, Epoch: b.epoch, Holder: b.holder, Records: records})
	return nil
}

// ringPause is how often a long listing looks at the ring, which must not turn over meanwhile: at a thousand commits a second it has 64 ms.
const ringPause = 30 * time.Millisecond

// list reads all records, and the commits after the given one that are made while it does: a listing takes longer than the ring lasts where there are many
// records and many commits, and without them a watch would never begin.
func (w *watcher) list(ctx context.Context, after commitID) (records map[string][]byte, newer *folded, err error) {
	newer = &folded{to: after, last: map[string][]byte{}}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
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
			return records, newer, err
		case <-look.C:
			some, err := w.c.commitsAfter(ctx, newer.to)
			if errors.Is(err, errGap) || errors.Is(err, coordination.ErrLineage) || errors.Is(err, coordination.ErrClosed) {
				cancel()
				<-listed
				return nil, nil, err
			}
			newer.add(some) // none after any other error, which is worth another look
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

func (w *watcher) deliver(h head) {
	w.seq, w.epoch, w.holder, w.request, w.went = h.seq, h.epoch, h.holder, h.request, true
	w.c.seen.note(h.id())
	w.c.keys.advance(w, h.seq, h.mutations)
	w.fn(coordination.Event{Kind: coordination.Delta, Lineage: h.lineage.String(), Seq: h.seq, Epoch: h.epoch, Holder: h.holder, Mutations: h.mutations})
}
