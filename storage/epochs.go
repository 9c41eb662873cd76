package storage

import (
	"encoding/binary"
	"fmt"
	"sort"

	"github.com/cockroachdb/pebble/v2"
)

// epochStart says that a leader epoch's records begin at start.
type epochStart struct {
	epoch int32
	start int64
}

func latestEpoch(epochs []epochStart) int32 {
	if len(epochs) == 0 {
		return -1
	}
	return epochs[len(epochs)-1].epoch
}

// epochsBefore are the epochs that start below offset.
func epochsBefore(epochs []epochStart, offset int64) []epochStart {
	return epochs[:sort.Search(len(epochs), func(i int) bool { return epochs[i].start >= offset })]
}

// AssignEpoch records that epoch starts at startOffset. A new leader calls it with
// the log end before anything else (KAFKA-7415). Epochs that start at or beyond
// startOffset hold no records and are forgotten. The latest epoch again does
// nothing; a lower one is ErrStaleEpoch. It does not wait for the disk, which gets
// the epoch before any record of it: without records the epoch is no loss.
func (l *Log) AssignEpoch(epoch int32, startOffset int64) error {
	return l.change("assign epoch to", func() error {
		a := l.newAppender(0)
		defer a.batch.Close()
		latest := latestEpoch(a.epochs)
		if epoch == latest {
			return nil
		}
		if epoch < latest {
			return fmt.Errorf("epoch %d, latest %d: %w", epoch, latest, ErrStaleEpoch)
		}
		if startOffset < a.st.end {
			return fmt.Errorf("epoch %d starts at %d, log end %d: %w", epoch, startOffset, a.st.end, ErrOffsetOutOfRange)
		}
		a.startEpoch(epoch, startOffset)
		if err := l.store.commit(a.batch, pebble.NoSync); err != nil {
			return err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.mu.epochs = a.epochs
		return nil
	})
}

func (l *Log) epochs() []epochStart {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.mu.epochs
}

// LatestEpoch is the newest leader epoch in the log, -1 if there is none.
func (l *Log) LatestEpoch() int32 { return latestEpoch(l.epochs()) }

// EpochEnd returns the largest epoch ≤ epoch that the log knows, and the offset
// where it ends: the start of the next epoch, or End (KIP-101, KIP-279). It returns
// (-1, -1) if the log knows none.
func (l *Log) EpochEnd(epoch int32) (foundEpoch int32, endOffset int64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	epochs := l.mu.epochs
	next := sort.Search(len(epochs), func(i int) bool { return epochs[i].epoch > epoch })
	if next == 0 {
		return -1, -1
	}
	if next == len(epochs) {
		return epochs[next-1].epoch, l.mu.state.end
	}
	return epochs[next-1].epoch, epochs[next].start
}

// dropEpochsFrom deletes the epochs that start at or above offset.
func dropEpochsFrom(b *pebble.Batch, id uint64, epochs []epochStart, offset int64) []epochStart {
	kept := epochsBefore(epochs, offset)
	for _, e := range epochs[len(kept):] {
		b.Delete(epochKey(id, e.epoch), nil)
	}
	return kept[:len(kept):len(kept)]
}

// raiseEpochs forgets the epochs that end at or below a new log start; the one
// that the start lies in begins there.
func raiseEpochs(b *pebble.Batch, id uint64, epochs []epochStart, start int64) []epochStart {
	below := len(epochsBefore(epochs, start))
	if below == 0 {
		return epochs
	}
	if below < len(epochs) && epochs[below].start == start {
		below++ // an epoch begins right at the new start, the one before it is over
	}
	for _, e := range epochs[:below-1] {
		b.Delete(epochKey(id, e.epoch), nil)
	}
	raised := append([]epochStart(nil), epochs[below-1:]...)
	raised[0].start = max(raised[0].start, start)
	b.Set(epochKey(id, raised[0].epoch), binary.BigEndian.AppendUint64(nil, uint64(raised[0].start)), nil)
	return raised
}
