// Package record reads, checks and patches Kafka record batches (message
// format v2), the unit that producers send, replicas copy and the log stores.
//
// A batch is kept as the bytes the client sent. Only the base offset and the
// partition leader epoch are ever rewritten, and both lie before the bytes that
// the checksum covers. All integers are big-endian:
//
//	 0        8        12       16    17       21        23
//	+--------+--------+--------+-----+--------+---------+
//	| base   | batch  | leader |magic| CRC32C | attri-  |
//	| offset | length | epoch  | = 2 | (21..) | butes   |
//	+--------+--------+--------+-----+--------+---------+
//	 23       27          35          43        51       53       57      61
//	+--------+-----------+-----------+---------+--------+--------+-------+---------+
//	| last   | base      | max       | producer|producer| base   |record | records |
//	| offset | timestamp | timestamp | id      | epoch  |sequence| count | …       |
//	| delta  | (ms)      | (ms)      |         |        |        |       |         |
//	+--------+-----------+-----------+---------+--------+--------+-------+---------+
//
// Batch length counts the bytes after its own field, so a batch occupies 12 +
// length bytes. Attributes: bits 0–2 compression, bit 3 timestamp type (1 = log
// append time), bit 4 transactional, bit 5 control, bit 6 delete horizon.
//
// A record inside (the whole section is compressed as one block if the
// attributes say so) is a sequence of zigzag varints and bytes:
//
//	length, attributes (1 byte), timestamp delta, offset delta,
//	key length (-1 = null), key, value length (-1 = null), value,
//	header count, then per header: key length, key, value length, value
package record
