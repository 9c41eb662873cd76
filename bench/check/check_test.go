package check

import (
	"errors"
	"slices"
	"testing"

	"github.com/regency-project/regency/bench/timeline"
)

var part = Partition{Topic: "load", ID: 0}

// history is a small cluster's worth of records: everything was acknowledged in order and is read back.
type history struct {
	ledger   *Ledger
	watcher  *Watcher
	producer uint32
	probe    uint32
	log      [][]byte // by offset
}

func newHistory() *history {
	h := &history{ledger: NewLedger(7), watcher: NewWatcher()}
	h.producer = h.ledger.Register(Producer{Name: "tuned", Idempotent: true})
	h.probe = h.ledger.Register(Producer{Name: "probe"})
	h.ledger.SetTrial("trial/1")
	h.watcher.SetTrial("trial/1")
	for i := range 10 {
		h.append(h.producer, true)
		if i == 4 {
			h.append(h.probe, true)
			h.append(h.probe, false) // timed out and written all the same: allowed
		}
	}
	return h
}

func (h *history) append(producer uint32, acked bool) Tag {
	tag := h.ledger.Next(producer, part, 1000)
	offset := int64(len(h.log))
	h.log = append(h.log, tag.Encode(64))
	if acked {
		h.ledger.Acked(producer, part, tag.Seq, offset)
	}
	return tag
}

func (h *history) watch() {
	for offset, v := range h.log {
		h.watcher.HighWatermark(part, int64(len(h.log)))
		h.watcher.Read(part, int64(offset), v)
	}
}

func (h *history) verify(unread error) (map[string]Counts, []Violation) {
	v := NewVerifier(h.ledger, h.watcher)
	for offset, value := range h.log {
		if value != nil {
			v.Read(part, int64(offset), value)
		}
	}
	counts, violations := v.Finish(unread)
	return counts, append(violations, h.watcher.Violations()...)
}

func TestSoundHistoryPasses(t *testing.T) {
	h := newHistory()
	h.watch()
	counts, violations := h.verify(nil)
	if len(violations) != 0 {
		t.Fatalf("violations in a sound history: %v", violations)
	}
	if want := (Counts{Acknowledged: 11, Read: 12, Unknown: 1}); counts["trial/1"] != want {
		t.Errorf("counts = %+v, want %+v", counts["trial/1"], want)
	}
}

// Each broken history must be caught by the check that is made for it.
func TestBrokenHistoriesAreCaught(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(h *history)
		want string
	}{
		"acknowledged before replication, then the leader dies": {func(h *history) { h.log = h.log[:9] }, Lost},
		"a hole where an acknowledged record was":               {func(h *history) { h.log[2] = nil }, Lost},
		"a probe is lost":           {func(h *history) { h.log[5] = nil }, Lost},
		"a retry is appended again": {func(h *history) { h.log = append(h.log, h.log[3]) }, Duplicate},
		"two records change places": {func(h *history) { h.log[0], h.log[1] = h.log[1], h.log[0] }, Order},
		"an acknowledged offset holds another record": {func(h *history) {
			h.log = slices.Insert(h.log, 0, []byte(nil)) // all moved up by one
		}, Moved},
		"a bit flips":               {func(h *history) { h.log[4] = slices.Clone(h.log[4]); h.log[4][50] ^= 1 }, Corrupt},
		"a record of somebody else": {func(h *history) { h.log = append(h.log, []byte("hello, I am no record of the harness, really not")) }, Corrupt},
		"a record of another run":   {func(h *history) { h.log = append(h.log, Tag{Run: 8}.Encode(64)) }, Corrupt},
		"a record of another partition": {func(h *history) {
			h.log = append(h.log, Tag{Run: 7, Partition: 5}.Encode(64))
		}, Corrupt},
		"a record never sent": {func(h *history) { h.log = append(h.log, Tag{Run: 7, Seq: 99}.Encode(64)) }, Corrupt},
		"a consumer read what is gone (truncated below its position)": {func(h *history) {
			h.watch()
			other := Tag{Run: 7, Trial: 0, Producer: h.probe, Seq: 1}.Encode(64)
			h.log[11] = other
		}, ReadsDiffer},
		"a consumer is sent back": {func(h *history) {
			h.watch()
			h.watcher.Read(part, 3, h.log[3])
		}, OffsetRegress},
		"a consumer goes past an acknowledged record": {func(h *history) {
			for _, offset := range []int{0, 1, 3, 4} {
				h.watcher.Read(part, int64(offset), h.log[offset])
			}
		}, Skipped},
		"an offset is given twice": {func(h *history) {
			h.ledger.Acked(h.producer, part, 3, 2)
		}, OffsetTwice},
		"the high watermark falls below what was delivered": {func(h *history) {
			h.watch()
			h.watcher.HighWatermark(part, 5)
		}, OffsetRegress},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory()
			c.do(h)
			_, violations := h.verify(nil)
			if !slices.ContainsFunc(violations, func(v Violation) bool { return v.Check == c.want }) {
				t.Errorf("violations = %v, want one of %s", violations, c.want)
			}
		})
	}
}

func TestUnreadableTopicIsAViolation(t *testing.T) {
	h := newHistory()
	h.log = nil
	counts, violations := h.verify(errors.New("load-0 ended at 0, want 12"))
	if violations[0].Check != Unread || counts["trial/1"].Lost != 11 {
		t.Errorf("counts %+v, violations %v", counts, violations)
	}
	if n := len(violations); n != 1+maxDetails {
		t.Errorf("%d violations are told one by one, want %d: the counts hold the rest", n, 1+maxDetails)
	}
}

func TestLossIsAttributedToTheTrialOfTheRecord(t *testing.T) {
	h := newHistory()
	h.ledger.SetTrial("trial/2")
	h.append(h.producer, true)
	h.log = h.log[:len(h.log)-1]
	_, violations := h.verify(nil)
	if len(violations) != 1 || violations[0].Trial != "trial/2" {
		t.Errorf("violations = %v, want one of trial/2", violations)
	}
}

func TestDoubleLeadersAndControllersAreCaught(t *testing.T) {
	lines := []string{
		`{"t":1,"broker":1,"pid":1,"event":"partition.leader","topic":"load","partition":0,"epoch":3,"offset":0}`,
		`{"t":2,"broker":1,"pid":1,"event":"controller.claimed","epoch":7,"seq":1}`,
		`{"t":3,"broker":2,"pid":2,"event":"partition.leader","topic":"load","partition":0,"epoch":4,"offset":9}`,
		`{"t":4,"broker":1,"pid":9,"event":"partition.leader","topic":"load","partition":1,"epoch":4,"offset":9}`,
		`{"t":5,"broker":2,"pid":2,"event":"partition.leader","topic":"load","partition":0,"epoch":4,"offset":9}`,
		`{"t":5,"broker":2,"pid":2,"event":"partition.leader","topic":"again","topic_id":"aa","partition":0,"epoch":0,"offset":0}`,
		`{"t":5,"broker":3,"pid":3,"event":"partition.leader","topic":"again","topic_id":"bb","partition":0,"epoch":0,"offset":0}`,
		`{"t":5,"broker":2,"pid":2,"event":"partition.leader","topic":"again","topic_id":"cc","partition":0,"epoch":2,"offset":0}`,
		`{"t":5,"broker":3,"pid":2,"event":"partition.leader","topic":"again","topic_id":"cc","partition":0,"epoch":0,"offset":0}`,
		`{"t":6,"broker":2,"pid":2,"event":"controller.claimed","epoch":8,"seq":9}`,
		`{"t":6,"broker":1,"pid":1,"event":"controller.committed","epoch":7,"seq":8}`,
		`{"t":6,"broker":2,"pid":2,"event":"controller.committed","epoch":8,"seq":12}`,
	}
	found, err := Leadership(parse(t, lines))
	if err != nil || len(found) != 0 {
		t.Fatalf("a sound history: %v, %v", found, err)
	}
	for want, line := range map[string]string{
		DoubleLeader:     `{"t":7,"broker":3,"pid":3,"event":"partition.leader","topic":"load","partition":0,"epoch":4,"offset":9}`,
		DoubleController: `{"t":7,"broker":3,"pid":3,"event":"controller.claimed","epoch":8,"seq":9}`,
		EpochRegress:     `{"t":7,"broker":2,"pid":8,"event":"partition.leader","topic":"again","topic_id":"cc","partition":0,"epoch":1,"offset":0}`,
		ZombieCommit:     `{"t":7,"broker":1,"pid":1,"event":"controller.committed","epoch":7,"seq":12}`,
	} {
		found, err := Leadership(parse(t, append(slices.Clone(lines), line)))
		if err != nil || len(found) != 1 || found[0].Check != want || found[0].T != 7 {
			t.Errorf("found %v, %v; want one %s", found, err, want)
		}
	}
}

func TestControllerEpochsFollowTheChain(t *testing.T) {
	lines := []string{
		`{"t":2,"broker":1,"pid":1,"event":"controller.claimed","epoch":7,"seq":10}`,
		`{"t":3,"broker":2,"pid":2,"event":"controller.claimed","epoch":9,"seq":9}`,
	}
	found, err := Leadership(parse(t, lines))
	if err != nil || len(found) != 1 || found[0].Check != EpochRegress || found[0].T != 3 {
		t.Errorf("found %v, %v; want one %s", found, err, EpochRegress)
	}
}

func parse(t *testing.T, lines []string) []timeline.Event {
	t.Helper()
	var events []timeline.Event
	for _, line := range lines {
		e, err := timeline.Parse([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

func TestTagSurvivesTheRoundTrip(t *testing.T) {
	want := Tag{Run: 1 << 60, Trial: 3, Producer: 2, Partition: 11, Seq: 1 << 40, Intended: -5}
	for _, size := range []int{0, TagSize, 512} {
		got, err := DecodeTag(want.Encode(size))
		if err != nil || got != want {
			t.Errorf("size %d: %+v, %v", size, got, err)
		}
	}
}

func FuzzDecodeTag(f *testing.F) {
	f.Add(Tag{Seq: 4}.Encode(64))
	f.Fuzz(func(t *testing.T, v []byte) {
		tag, err := DecodeTag(v)
		if err == nil && len(v) == TagSize && string(tag.Encode(0)) != string(v) {
			t.Errorf("decoded %+v encodes to something else", tag)
		}
	})
}
