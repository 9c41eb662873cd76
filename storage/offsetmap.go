package storage

import (
	"hash/maphash"
	"math/bits"
)

// offsetMap holds the newest offset of each key that one pass of compaction saw,
// in bounded memory: by a hash of 128 bits instead of the key, as Kafka's cleaner
// does. Two keys that share a hash would be one key: with 2³⁰ keys that happens
// once in 2⁶⁹ passes.
type offsetMap struct {
	seeds [2]maphash.Seed
	slots []offsetSlot
	used  int
}

type offsetSlot struct {
	hash [2]uint64
	next int64 // the offset + 1; 0 is an empty slot
}

const (
	offsetSlotLen  = 24
	minOffsetSlots = 4
)

// newOffsetMap makes a map of at most size bytes.
func newOffsetMap(size int64) *offsetMap {
	return &offsetMap{
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		slots: make([]offsetSlot, max(size/offsetSlotLen, minOffsetSlots)),
	}
}

// full leaves a quarter of the slots empty, so that probes stay short.
func (m *offsetMap) full() bool { return m.used*4 >= len(m.slots)*3 }

func (m *offsetMap) clear() {
	clear(m.slots)
	m.used = 0
}

// find returns the slot of key, or the empty one where it belongs.
func (m *offsetMap) find(key []byte) (*offsetSlot, [2]uint64) {
	h := [2]uint64{maphash.Bytes(m.seeds[0], key), maphash.Bytes(m.seeds[1], key)}
	at, _ := bits.Mul64(h[0], uint64(len(m.slots)))
	for {
		s := &m.slots[at]
		if s.next == 0 || s.hash == h {
			return s, h
		}
		if at++; at == uint64(len(m.slots)) {
			at = 0
		}
	}
}

// put notes offset for key; false if the key is new and the map is full.
func (m *offsetMap) put(key []byte, offset int64) bool {
	s, h := m.find(key)
	if s.next == 0 {
		if m.full() {
			return false
		}
		m.used++
		s.hash = h
	}
	s.next = max(s.next, offset+1)
	return true
}

// supersedes reports whether the map has a newer offset than this one for key.
func (m *offsetMap) supersedes(key []byte, offset int64) bool {
	s, _ := m.find(key)
	return s.next > offset+1
}
