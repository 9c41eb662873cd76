// Package storage keeps the logs of a broker's partitions in one Pebble store:
// bytes and offsets, with no knowledge of topics' policy or of the network.
//
// Each appended record batch is one value, the bytes that the client sent with
// only base offset and leader epoch patched. What describes the data is committed
// in the same Pebble batch, so that opening needs no recovery scan. Keys are
// big-endian, so that they sort as numbers:
//
//	log id (8) ‖ 'b' ‖ last offset (8)   → record batch
//	log id (8) ‖ 'c'                     → how far it is compacted, see compact.go
//	log id (8) ‖ 'd'                     → where it is damaged, see damage.go
//	log id (8) ‖ 'e' ‖ leader epoch (4)  → start offset (8)
//	log id (8) ‖ 'p' ‖ producer id (8)   → producer state, see producer.go
//	log id (8) ‖ 's'                     → log state, see state.go
//	log id (8) ‖ 't' ‖ last offset (8)   → time index entry, see timeindex.go
//	0      (8) ‖ 'l' ‖ topic id (16) ‖ partition (4) → log id (8) ‖ topic name
//	0      (8) ‖ 'n'                     → the next log id (8)
//	0      (8) ‖ 'v'                     → the mark of the last clean close
//
// Keyed by its last offset, the batch that contains an offset is one SeekGE away,
// and truncation and log start are one range deletion each. Log ids are local to
// the store and never used twice.
//
// The directory holds, beside Pebble's own files, store.json (format version,
// directory UUID, how it was last closed) and wal/.
package storage
