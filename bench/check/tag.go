// Package check decides whether a cluster kept its promises: nothing acknowledged is lost, an idempotent producer's records stand once and in their
// order, what was read once is read again, and no two brokers ever led with one epoch. A broken promise voids the figures of the cell it was found in.
//
// Every record that the harness writes carries a tag; a ledger holds what was acknowledged; a verifier reads the topics from the beginning and compares.
package check

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Tag says who wrote a record, when, and as which of his. It is the head of the record's value:
//
//	0  magic "RGC1"          4 bytes
//	4  CRC-32C of the rest   4
//	8  run                   8
//	16 trial, from 0         4
//	20 producer              4
//	24 partition             4
//	28 sequence, from 0, dense for each (producer, topic, partition)   8
//	36 intended time, CLOCK_MONOTONIC ns                               8
//	44 filling
type Tag struct {
	Run       uint64
	Trial     uint32
	Producer  uint32
	Partition int32
	Seq       uint64
	Intended  int64
}

// TagSize is the least size of a value.
const TagSize = 44

const magic = "RGC1"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode returns a value of the size with the tag as its head. The filling depends on the sequence, so that equal values are not equal by chance.
func (t Tag) Encode(size int) []byte {
	v := make([]byte, max(size, TagSize))
	copy(v, magic)
	binary.BigEndian.PutUint64(v[8:], t.Run)
	binary.BigEndian.PutUint32(v[16:], t.Trial)
	binary.BigEndian.PutUint32(v[20:], t.Producer)
	binary.BigEndian.PutUint32(v[24:], uint32(t.Partition))
	binary.BigEndian.PutUint64(v[28:], t.Seq)
	binary.BigEndian.PutUint64(v[36:], uint64(t.Intended))
	fill := t.Seq*0x9e3779b97f4a7c15 + uint64(t.Producer)
	for i := TagSize; i < len(v); i++ {
		fill = fill*6364136223846793005 + 1442695040888963407
		v[i] = byte(fill >> 56)
	}
	binary.BigEndian.PutUint32(v[4:], crc32.Checksum(v[8:], castagnoli))
	return v
}

var errNotOurs = errors.New("not a record of the harness")

// DecodeTag reads the tag of a value and checks all of it.
func DecodeTag(v []byte) (Tag, error) {
	if len(v) < TagSize || string(v[:4]) != magic {
		return Tag{}, errNotOurs
	}
	if want, got := binary.BigEndian.Uint32(v[4:]), crc32.Checksum(v[8:], castagnoli); want != got {
		return Tag{}, fmt.Errorf("checksum %08x, want %08x", got, want)
	}
	return Tag{
		Run:       binary.BigEndian.Uint64(v[8:]),
		Trial:     binary.BigEndian.Uint32(v[16:]),
		Producer:  binary.BigEndian.Uint32(v[20:]),
		Partition: int32(binary.BigEndian.Uint32(v[24:])),
		Seq:       binary.BigEndian.Uint64(v[28:]),
		Intended:  int64(binary.BigEndian.Uint64(v[36:])),
	}, nil
}
