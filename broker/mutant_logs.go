//go:build regency_mutation

package broker

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"slices"
	"time"

	"github.com/regency-project/regency/broker/partition"
	"github.com/regency-project/regency/storage"
	"github.com/regency-project/regency/storage/record"
)

// mutated breaks the logs in the way that REGENCY_MUTATION names, for programs that the harness tests itself with.
func mutated(logs partition.Logs) partition.Logs {
	switch mode := os.Getenv("REGENCY_MUTATION"); mode {
	case "corrupt", "corrupt-replica", "offset-twice", "reordered", "truncate-to-watermark":
		return mutantLogs{logs, mode}
	}
	return logs
}

type (
	soundLogs  = partition.Logs
	mutantLogs struct {
		soundLogs
		mode string
	}
)

func (l mutantLogs) Log(topic string, topicID [16]byte, id int32) (partition.Log, error) {
	log, err := l.soundLogs.Log(topic, topicID, id)
	if err != nil {
		return nil, err
	}
	if l.mode == "truncate-to-watermark" { // what brokers did before KIP-101
		if _, err := log.Truncate(max(log.Start(), log.HighWatermark())); err != nil {
			return nil, err
		}
	}
	return &mutantLog{Log: log, mode: l.mode}, nil
}

// mutantLog is called by one appender at a time.
type mutantLog struct {
	partition.Log
	mode    string
	appends int
}

// every is how many appends there are to one that is mutilated.
const every = 4

func (l *mutantLog) AppendLeader(batches []byte, epoch int32, now time.Time) (partition.Appended, error) {
	l.appends++
	if l.mode == "corrupt" && l.appends%every == 0 {
		batches = flipped(batches)
	}
	a, err := l.Log.AppendLeader(batches, epoch, now)
	if l.mode == "offset-twice" && l.appends%every == 0 && err == nil && a.Base > 0 {
		a.Base--
		a.Last--
	}
	return a, err
}

func (l *mutantLog) AppendFollower(batches []byte) (partition.Appended, error) {
	l.appends++
	if l.mode == "corrupt-replica" && l.appends%every == 0 {
		batches = flipped(batches)
	}
	return l.Log.AppendFollower(batches)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// flipped changes a bit of the last record's value in the first batch, and its checksum with it: as memory does that fails before the checksum is made.
func flipped(batches []byte) []byte {
	out := append([]byte(nil), batches...)
	size := 12 + int(binary.BigEndian.Uint32(out[8:]))
	out[size-2] ^= 1 // the last byte counts the headers
	binary.BigEndian.PutUint32(out[17:], crc32.Checksum(out[21:size], castagnoli))
	return out
}

// Read of a reordering log lets neighbours of as many records change places.
func (l *mutantLog) Read(from int64, maxBytes int, below int64) (storage.Chunk, error) {
	c, err := l.Log.Read(from, maxBytes, below)
	if err != nil || l.mode != "reordered" {
		return c, err
	}
	var list []record.Batch
	for b, err := range record.Batches(c.Bytes, record.CheckLengths) {
		if err != nil {
			return c, nil
		}
		list = append(list, append(record.Batch(nil), b...))
	}
	for i := 1; i < len(list); i++ {
		a, b := list[i-1], list[i]
		if a.Count() != b.Count() || a.LeaderEpoch() != b.LeaderEpoch() {
			continue
		}
		first, second := a.BaseOffset(), b.BaseOffset()
		a.Patch(second, a.LeaderEpoch())
		b.Patch(first, b.LeaderEpoch())
		list[i-1], list[i] = b, a
		i++ // each moves once
	}
	c.Bytes = slices.Concat(list...)
	return c, nil
}
