package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"

	"github.com/cockroachdb/pebble/v2"
	"github.com/regency-project/regency/storage/record"
)

// Fault is something in a store that does not agree with itself.
type Fault struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	LogID     uint64 `json:"log_id"`
	Offset    int64  `json:"offset"` // -1 where there is none
	// Kind is batch, offsets, epochs, producers, time index, state, damage or store.
	Kind   string `json:"kind"`
	Detail string `json:"detail"`
}

func (f Fault) String() string {
	where := fmt.Sprintf("%s-%d (log %d)", f.Topic, f.Partition, f.LogID)
	if f.LogID == 0 {
		where = "store"
	}
	if f.Offset >= 0 {
		where += fmt.Sprintf(" at offset %d", f.Offset)
	}
	return fmt.Sprintf("%s: %s: %s", where, f.Kind, f.Detail)
}

// VerifyStats count what Verify looked at.
type VerifyStats struct {
	Logs    int   `json:"logs"`
	Batches int64 `json:"batches"`
	Records int64 `json:"records"`
	Bytes   int64 `json:"bytes"`
	Faults  int   `json:"faults"`
}

// Verify reads everything and compares it: checksums, the order of offsets and
// epochs, and what is kept about the data with the data. It calls fault for each
// disagreement and goes on; an error means that it could not.
func (i *Inspector) Verify(ctx context.Context, fault func(Fault)) (VerifyStats, error) {
	var stats VerifyStats
	count := func(f Fault) {
		stats.Faults++
		fault(f)
	}
	logs, err := i.Logs()
	if err != nil {
		return stats, err
	}
	for _, d := range logs {
		v := &verifier{ctx: ctx, d: d, fault: count, stats: &stats, last: make(map[int64]record.Batch)}
		if err := v.log(i); err != nil {
			return stats, err
		}
		stats.Logs++
	}
	return stats, i.s.orphans(logs, count)
}

// verifier compares one log with what is said of it.
type verifier struct {
	ctx   context.Context
	d     LogDescription
	fault func(Fault)
	stats *VerifyStats

	started   bool
	compacted bool // gaps are legal, and sizes shrink before the index follows
	next      int64
	pos       int64
	newest    int64
	epoch     int32
	index     []TimeIndexEntry
	last      map[int64]record.Batch // headers, by producer
	seen      map[int64]BatchMeta    // remembered batches not yet met, by last offset
}

func (v *verifier) say(offset int64, kind, format string, args ...any) {
	v.fault(Fault{v.d.Topic, v.d.Partition, v.d.LogID, offset, kind, fmt.Sprintf(format, args...)})
}

func (v *verifier) log(i *Inspector) error {
	l, err := i.log(v.d.TopicID, v.d.Partition)
	if err != nil {
		return err
	}
	st := l.snapshot()
	if v.compacted, err = l.wasCompacted(); err != nil {
		return err
	}
	v.next, v.pos, v.newest, v.epoch, v.index = -1, st.startPos, -1, -1, v.d.TimeIndex
	if v.d.Damage != nil {
		v.say(v.d.Damage.Offset, "damage", "marked as damaged: %v", v.d.Damage.Err)
	}
	v.expectProducers()
	v.describe(st)
	err = l.report(0, func(r BatchReport) error {
		v.batch(st, r)
		return v.ctx.Err()
	})
	if isDamage(err) {
		v.say(v.next, "batch", "nothing can be read from here on: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	v.end(st)
	return nil
}

// wasCompacted reports that a compaction has changed the log.
func (l *Log) wasCompacted() (bool, error) {
	_, closer, err := l.store.db.Get(prefixKey(l.id, kindCleaned))
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, closer.Close()
}

// describe checks what is kept about the log in itself.
func (v *verifier) describe(st state) {
	for i, e := range v.d.Epochs {
		if i > 0 && (e.Epoch <= v.d.Epochs[i-1].Epoch || e.Start <= v.d.Epochs[i-1].Start) {
			v.say(e.Start, "epochs", "epoch %d starts at %d, behind epoch %d at %d", e.Epoch, e.Start, v.d.Epochs[i-1].Epoch, v.d.Epochs[i-1].Start)
		}
		if e.Start > st.end {
			v.say(e.Start, "epochs", "epoch %d starts beyond the log end %d", e.Epoch, st.end)
		}
	}
	for i, e := range v.index {
		if e.Offset >= st.end || e.Position > st.endPos {
			v.say(e.Offset, "time index", "an entry at position %d beyond the end %d, position %d", e.Position, st.end, st.endPos)
		}
		if i > 0 && (e.MaxTimestamp < v.index[i-1].MaxTimestamp || e.Position < v.index[i-1].Position) {
			v.say(e.Offset, "time index", "an entry (time %d, position %d) is before the one of offset %d", e.MaxTimestamp, e.Position, v.index[i-1].Offset)
		}
	}
}

func (v *verifier) batch(st state, r BatchReport) {
	v.stats.Batches++
	if r.Err != nil {
		v.say(r.Key, "batch", "%v", r.Err)
	}
	if r.Batch == nil {
		v.started, v.next = true, r.Key+1
		v.compacted = true // its size is not known, nor what it said
		return
	}
	b := r.Batch
	v.stats.Records += int64(b.Count())
	v.stats.Bytes += int64(len(b))
	v.order(st, b)
	v.checkEpoch(b)
	v.producer(b)
	v.checkIndex(b.BaseOffset()-1, st) // of batches that compaction took out
	v.pos += int64(len(b))
	v.newest = max(v.newest, b.MaxTimestamp())
	v.checkIndex(b.LastOffset(), st)
	v.started, v.next = true, b.LastOffset()+1
}

// order checks that the batch follows the one before it.
func (v *verifier) order(st state, b record.Batch) {
	base, last := b.BaseOffset(), b.LastOffset()
	switch {
	case last < st.start:
		v.say(last, "offsets", "a batch below the log start %d", st.start)
	case last >= st.end:
		v.say(last, "offsets", "a batch beyond the log end %d", st.end)
	case v.started && base < v.next:
		v.say(base, "offsets", "the batch %d to %d overlaps the one before, which ends at %d", base, last, v.next-1)
	}
}

func (v *verifier) checkEpoch(b record.Batch) {
	if e := b.LeaderEpoch(); e < v.epoch {
		v.say(b.BaseOffset(), "epochs", "epoch %d after epoch %d", e, v.epoch)
	}
	v.epoch = max(v.epoch, b.LeaderEpoch())
	epochs := v.d.Epochs
	n := sort.Search(len(epochs), func(i int) bool { return epochs[i].Start > max(b.BaseOffset(), v.d.Start) })
	if n == 0 {
		v.say(b.BaseOffset(), "epochs", "no epoch starts at or before this batch of epoch %d", b.LeaderEpoch())
	} else if epochs[n-1].Epoch != b.LeaderEpoch() {
		v.say(b.BaseOffset(), "epochs", "the batch has epoch %d, the epoch starts say %d", b.LeaderEpoch(), epochs[n-1].Epoch)
	}
}

func (v *verifier) checkIndex(last int64, st state) {
	for ; len(v.index) > 0 && v.index[0].Offset <= last; v.index = v.index[1:] {
		e := v.index[0]
		if e.MaxTimestamp < v.newest {
			v.say(e.Offset, "time index", "says that nothing up to here is newer than %d, but a batch has %d", e.MaxTimestamp, v.newest)
		}
		if e.Offset == last && e.Position != v.pos && !v.compacted {
			v.say(e.Offset, "offsets", "the batches up to here have %d bytes, %d were written", v.pos-st.startPos, e.Position-st.startPos)
			v.pos = e.Position // say it once
		}
	}
}

func (v *verifier) end(st state) {
	if v.pos != st.endPos && !v.compacted {
		v.say(-1, "offsets", "the batches up to the log end %d have %d bytes, %d were written", st.end, v.pos-st.startPos, st.endPos-st.startPos)
	}
	if v.newest > st.maxTimestamp {
		v.say(-1, "state", "the newest timestamp is %d, but a batch has %d", st.maxTimestamp, v.newest)
	}
	for last, b := range v.seen {
		if b.BaseOffset >= st.start && !v.compacted {
			v.say(last, "producers", "a remembered batch (sequence %d to %d) is not in the log", b.FirstSeq, b.LastSeq)
		}
	}
	for _, p := range v.d.Producers {
		b, ok := v.last[p.ProducerID]
		if n := len(p.Batches); ok && n > 0 && (p.Batches[n-1].LastOffset != b.LastOffset() || p.Epoch != b.ProducerEpoch()) {
			v.say(b.LastOffset(), "producers", "producer %d (epoch %d) is remembered up to offset %d, its last batch has epoch %d",
				p.ProducerID, p.Epoch, p.Batches[n-1].LastOffset, b.ProducerEpoch())
		}
	}
}

func (v *verifier) expectProducers() {
	v.seen = make(map[int64]BatchMeta)
	for _, p := range v.d.Producers {
		for _, b := range p.Batches {
			v.seen[b.LastOffset] = b
		}
	}
}

func (v *verifier) producer(b record.Batch) {
	if b.ProducerID() < 0 || b.BaseSequence() < 0 || b.IsControl() {
		return
	}
	v.last[b.ProducerID()] = append(record.Batch(nil), b[:record.HeaderLen]...)
	m, ok := v.seen[b.LastOffset()]
	if !ok {
		return
	}
	delete(v.seen, b.LastOffset())
	if m.FirstSeq != b.BaseSequence() || m.LastSeq != b.LastSequence() || m.BaseOffset != b.BaseOffset() {
		v.say(b.BaseOffset(), "producers", "the batch has sequence %d to %d, remembered is %d to %d at offset %d",
			b.BaseSequence(), b.LastSequence(), m.FirstSeq, m.LastSeq, m.BaseOffset)
	}
}

// orphans looks for keys that belong to no log.
func (s *Store) orphans(logs []LogDescription, fault func(Fault)) error {
	known := make(map[uint64]bool, len(logs))
	for _, d := range logs {
		known[d.LogID] = true
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: binary.BigEndian.AppendUint64(nil, 1)})
	if err != nil {
		return err
	}
	defer it.Close()
	for more := it.First(); more; {
		k := it.Key()
		if len(k) < prefixLen {
			fault(Fault{Offset: -1, Kind: "store", Detail: fmt.Sprintf("unknown key %x", k)})
			more = it.Next()
			continue
		}
		id := binary.BigEndian.Uint64(k)
		if !known[id] {
			fault(Fault{Offset: -1, Kind: "store", Detail: fmt.Sprintf("data of log %d, which no topic has", id)})
		}
		more = it.SeekGE(logEnd(id))
	}
	if err := it.Error(); err != nil {
		fault(Fault{Offset: -1, Kind: "store", Detail: fmt.Sprintf("keys cannot be read: %v", err)})
	}
	return nil
}
