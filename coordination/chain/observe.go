package chain

import (
	"context"
	"errors"
	"fmt"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

// quietLimit is for how long the process's own watch may tell nothing before a term no longer relies on it: its receiver is slow, or its stream broke.
const quietLimit = 2 * backend.HeartbeatInterval

// observe ends the term when the chain shows a newer epoch, so that a leader that commits nothing learns of its successor too, or when the
// store was emptied, replaced by another's or set back. It hears what the process's own watch is told, since each watch costs the service something at every commit;
// it watches by itself only while that one tells nothing.
func (l *leadership) observe() {
	var told uint64 // the version told last, also by a watch that has ended since
	hear := func(e backend.Entry) {
		l.judge(e, e.Version == told)
		told = e.Version
	}
	var heard uint64
	for l.ctx.Err() == nil {
		heard = l.s.c.keys.listen(l.ctx, heard, hear)
		ctx, cancel := context.WithCancel(l.ctx)
		l.s.running.Go(func() {
			l.s.c.keys.await(ctx, heard)
			cancel()
		})
		_ = l.s.c.store.Watch(ctx, chainKey, hear)
		cancel()
		pause(l.ctx, retryPause)
	}
}

// judge looks at the chain record as a watch told it, perhaps again. What can be a stale server's is proven by a linearizable read.
func (l *leadership) judge(e backend.Entry, again bool) {
	if e.Version != 0 {
		h, err := decodeHead(chainKey, e.Value)
		switch {
		case err != nil:
			l.s.c.log.Warn("chain record ignored", "error", err)
			return
		case h.lineage != l.claim.lineage:
		case h.epoch > l.claim.epoch:
			l.fence(h)
			return
		case !again || h.seq >= l.s.c.seen.newest().seq: // the news of a commit may come after its own answer: no reason for a read
			return
		}
	}
	if _, _, err := l.s.c.readHead(l.ctx); errors.Is(err, coordination.ErrLineage) {
		l.cancel(fmt.Errorf("epoch %d: %w", l.claim.epoch, err))
	}
}

func (l *leadership) fence(by head) {
	l.cancel(fmt.Errorf("epoch %d: broker %d claimed epoch %d: %w", l.claim.epoch, by.holder, by.epoch, coordination.ErrFenced))
}
