package storage

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/regency-project/regency/storage/record"
	"pgregory.net/rapid"
)

// compact compacts with maps of different sizes, and takes from the log what the model
// leaves open: how a batch is encoded, and which batches without records stay.
func (mt *modelTest) compact(t *rapid.T) {
	mt.now += rapid.Int64Range(0, 20).Draw(t, "pause")
	limit := rapid.Int64Range(mt.model.start, mt.model.hw).Draw(t, "below")
	mapBytes := rapid.SampledFrom([]int64{1, 200, 0}).Draw(t, "map")
	if limit < mt.model.cleaned {
		return // nothing is due below what is clean already
	}
	left := mt.model.survivors(limit, mt.now)
	var first []record.Batch
	mt.do(t, func(v *variant, l *Log) {
		// The horizon is far, so that several passes see the same tombstones.
		_, err := l.Compact(context.Background(), CompactOptions{
			Now: time.UnixMilli(mt.now), Below: limit, DeleteRetention: 15 * time.Millisecond, MapBytes: mapBytes,
		})
		if err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		batches := onDisk(t, v)
		if first == nil {
			first = batches
			mt.checkCompacted(t, batches, limit, left)
		}
		if !slices.EqualFunc(first, batches, func(a, b record.Batch) bool { return bytes.Equal(a, b) }) {
			t.Fatalf("%s: another result than %s", v.name, mt.all[0].name)
		}
	})
	mt.model.batches = first
	mt.model.cleaned = limit
	mt.model.compactions++
}

// withinCompaction tells whether a log is as a crash in the middle of a compaction may
// leave it: some commits of several, from one or more passes, have reached the disk.
// So each batch has at least the records that the whole compaction leaves and at most
// those it met, and each key has its newest record, or none where that is a tombstone.
func withinCompaction(states []*model, start, end int64, epochs []epochStart, batches []record.Batch) bool {
	for i, after := range states[1:] {
		before := states[i]
		if after.compactions > before.compactions &&
			content(before.start, before.end, before.epochs, nil) == content(start, end, epochs, nil) &&
			contains(before.batches, batches) && contains(batches, after.batches) &&
			maps.Equal(newestValues(before.batches), newestValues(batches)) {
			return true
		}
	}
	return false
}

// contains tells whether each batch of part is one of whole, with no records of its own.
func contains(whole, part []record.Batch) bool {
	records := make(map[string][]string)
	for _, b := range whole {
		records[header(b)] = recordsOf(b)
	}
	for _, b := range part {
		all, ok := records[header(b)]
		if !ok || slices.ContainsFunc(recordsOf(b), func(r string) bool { return !slices.Contains(all, r) }) {
			return false
		}
	}
	return true
}

// newestValues is the newest record of each key, without tombstones.
func newestValues(batches []record.Batch) map[string]string {
	newest := make(map[string]string)
	for _, b := range batches {
		record.ForEach(b, 1<<20, func(r record.Record) bool {
			if delete(newest, string(r.Key)); r.Key != nil && r.Value != nil {
				newest[string(r.Key)] = describe(r)
			}
			return true
		})
	}
	return newest
}

func onDisk(t *rapid.T, v *variant) []record.Batch {
	batches := []record.Batch{}
	err := v.log.scanChecked(v.log.Start(), v.log.End(), func(b record.Batch) (bool, error) {
		batches = append(batches, slices.Clone(b))
		return true, nil
	})
	if err != nil {
		t.Fatalf("%s: %v", v.name, err)
	}
	return batches
}

// checkCompacted compares a compacted log with the records that must be left.
func (mt *modelTest) checkCompacted(t *rapid.T, got []record.Batch, limit int64, left map[int64][]string) {
	byLast := make(map[int64]record.Batch)
	for _, b := range got {
		byLast[b.LastOffset()] = b
	}
	lastOf := make(map[int64]int64) // by producer
	last := int64(-1)
	ends := make(map[int64]bool) // batches beside the start of an epoch
	for i, b := range mt.model.batches {
		if i > 0 && mt.model.batches[i-1].LeaderEpoch() != b.LeaderEpoch() {
			ends[mt.model.batches[i-1].LastOffset()], ends[b.LastOffset()] = true, true
		}
		if b.LastOffset() < limit {
			lastOf[b.ProducerID()], last = b.LastOffset(), b.LastOffset()
		}
	}
	due := limit > max(mt.model.cleaned, mt.model.start) // else only tombstones may go
	for _, old := range mt.model.batches {
		b, there := byLast[old.LastOffset()]
		delete(byLast, old.LastOffset())
		if old.LastOffset() >= limit {
			if !bytes.Equal(b, old) {
				t.Fatalf("the batch to %d is not below %d and changed", old.LastOffset(), limit)
			}
			continue
		}
		if !there {
			if len(left[old.LastOffset()]) > 0 || old.LastOffset() == last || ends[old.LastOffset()] ||
				(old.ProducerID() >= 0 && lastOf[old.ProducerID()] == old.LastOffset()) {
				t.Fatalf("the batch to %d is gone", old.LastOffset())
			}
			continue
		}
		if header(b) != header(old) {
			t.Fatalf("header %s, want %s", header(b), header(old))
		}
		want := left[old.LastOffset()]
		have := recordsOf(b)
		if !due && fmt.Sprint(have) == fmt.Sprint(recordsOf(old)) {
			continue
		}
		if fmt.Sprint(have) != fmt.Sprint(want) {
			t.Fatalf("the batch to %d has %d records, want %d", old.LastOffset(), len(have), len(want))
		}
	}
	if len(byLast) > 0 {
		t.Fatalf("%d batches came from nowhere", len(byLast))
	}
	was, is := replicaOf(mt.model.batches), replicaOf(got)
	for epoch := int32(-1); epoch <= was.latestEpoch(); epoch++ {
		e, end := was.epochEnd(epoch)
		if ge, gend := is.epochEnd(epoch); ge != e || gend != end {
			t.Fatalf("a replica answers for epoch %d with %d, %d, want %d, %d", epoch, ge, gend, e, end)
		}
	}
}

// replicaOf is a log that was filled with batches.
func replicaOf(batches []record.Batch) *model {
	m := &model{}
	for _, b := range batches {
		m.put(b)
	}
	return m
}

func header(b record.Batch) string {
	return fmt.Sprint(b.BaseOffset(), b.LastOffset(), b.LeaderEpoch(), b.ProducerID(), b.ProducerEpoch(), b.BaseSequence())
}

func recordsOf(b record.Batch) (rs []string) {
	record.ForEach(b, 1<<20, func(r record.Record) bool {
		rs = append(rs, describe(r))
		return true
	})
	return rs
}

func describe(r record.Record) string {
	return fmt.Sprintf("%d %d %q %d %v", r.Offset, r.Timestamp, r.Key, len(r.Value), r.Value == nil)
}
