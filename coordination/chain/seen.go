package chain

import (
	"fmt"
	"sync"

	"github.com/google/uuid"

	"github.com/regency-project/regency/coordination"
)

// seen is the newest commit that this coordinator knows to have happened: it wrote it, read it or watched it. Every backend's read is linearizable, so
// one that is sent later and shows less is no staleness. It shows a store that somebody set back: a restored backup, or a member that
// was started on another's disk. Whoever went on from there would give numbers out a second time.
type seen struct {
	mu struct {
		sync.Mutex
		newest commitID
	}
}

// commitID names a commit. Two histories that fork after a restore give one number to two commits, but not one request id.
type commitID struct {
	lineage uuid.UUID
	epoch   int32
	seq     uint64
	request uuid.UUID
}

func (h *head) id() commitID {
	return commitID{lineage: h.lineage, epoch: h.epoch, seq: h.seq, request: h.request}
}

func (s *seen) newest() commitID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.newest
}

// note takes a commit down. Another lineage replaces nothing: the first one is what this process belongs to.
func (s *seen) note(id commitID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.mu.newest
	if known.lineage == uuid.Nil || known.lineage == id.lineage && id.seq > known.seq {
		s.mu.newest = id
	}
}

// since refuses what a read shows (nil: an empty store) if it was sent when id was known already.
func (id commitID) since(h *head) error {
	switch {
	case id.lineage == uuid.Nil:
		return nil
	case h == nil:
		return fmt.Errorf("the store is empty, but was at commit %d of %s: %w", id.seq, id.lineage, coordination.ErrLineage)
	case h.lineage != id.lineage:
		return fmt.Errorf("the store is at commit %d of %s, but was at commit %d of %s: %w", h.seq, h.lineage, id.seq, id.lineage, coordination.ErrLineage)
	case h.seq < id.seq:
		return fmt.Errorf("the store of %s is at commit %d (epoch %d), but was at commit %d (epoch %d): it was set back to an older state: %w",
			h.lineage, h.seq, h.epoch, id.seq, id.epoch, coordination.ErrLineage)
	case h.seq == id.seq && h.request != id.request, h.epoch < id.epoch:
		return fmt.Errorf("the store of %s is at commit %d (epoch %d), which is not the history of commit %d (epoch %d) that was seen: it was set back and went on: %w",
			h.lineage, h.seq, h.epoch, id.seq, id.epoch, coordination.ErrLineage)
	}
	return nil
}

// forked is the error for a commit that the store shows and that is not of this one's history.
func (id commitID) forked(found commitID) error {
	return fmt.Errorf("the store holds %s, which is not the history of %s that was seen: it was set back and went on: %w", found, id, coordination.ErrLineage)
}

func (id commitID) String() string {
	return fmt.Sprintf("commit %d (epoch %d, request %s) of %s", id.seq, id.epoch, id.request, id.lineage)
}
