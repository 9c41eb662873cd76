package storage

import (
	"encoding/binary"
)

// Kinds of key, the byte after the log id. Data comes first: a scan of what
// describes a log starts behind it.
const (
	kindBatch     = 'b'
	kindCleaned   = 'c'
	kindDamage    = 'd'
	kindEpoch     = 'e'
	kindProducer  = 'p'
	kindState     = 's'
	kindTimeIndex = 't'

	// Under log id 0, which no log has.
	kindLog    = 'l'
	kindNextID = 'n'
	kindMark   = 'v'
)

const (
	prefixLen    = 9
	offsetKeyLen = prefixLen + 8
	logKeyLen    = prefixLen + 16 + 4
)

func prefixKey(id uint64, kind byte) []byte {
	k := make([]byte, prefixLen, logKeyLen)
	putPrefix(k, id, kind)
	return k
}

func putPrefix(k []byte, id uint64, kind byte) {
	binary.BigEndian.PutUint64(k, id)
	k[8] = kind
}

// offsetKey is a key whose number is an offset or a producer id, both ≥ 0.
func offsetKey(id uint64, kind byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(prefixKey(id, kind), uint64(n))
}

func putOffsetKey(k []byte, id uint64, kind byte, n int64) {
	putPrefix(k, id, kind)
	binary.BigEndian.PutUint64(k[prefixLen:], uint64(n))
}

func keyOffset(k []byte) int64 { return int64(binary.BigEndian.Uint64(k[prefixLen:])) }

func epochKey(id uint64, epoch int32) []byte {
	return binary.BigEndian.AppendUint32(prefixKey(id, kindEpoch), uint32(epoch))
}

// kindEnd is behind the last key of a kind.
func kindEnd(id uint64, kind byte) []byte { return prefixKey(id, kind+1) }

// logEnd is behind the last key of a log.
func logEnd(id uint64) []byte { return binary.BigEndian.AppendUint64(nil, id+1) }

// logIdentity is what a log is known by outside the store.
type logIdentity struct {
	topicID   [16]byte
	partition int32
}

func (i logIdentity) key() []byte {
	k := append(prefixKey(0, kindLog), i.topicID[:]...)
	return binary.BigEndian.AppendUint32(k, uint32(i.partition))
}

func decodeLogKey(k []byte) logIdentity {
	var i logIdentity
	copy(i.topicID[:], k[prefixLen:])
	i.partition = int32(binary.BigEndian.Uint32(k[prefixLen+16:]))
	return i
}
