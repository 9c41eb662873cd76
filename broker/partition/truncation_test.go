package partition

import "testing"

// The first scenario of KIP-101: a follower restarts before it has heard that its last record is committed, and then becomes the leader. Had it truncated to its high
// watermark, the record would be lost.
func TestFollowerDoesNotTruncateToItsHighWatermark(t *testing.T) {
	w := newTestWorld(t, 2, 2, map[string]string{"min.insync.replicas": "1"})
	d := w.nodes[1].append(1)
	w.nodes[1].flush()
	w.must(w.nodes[2].fetch(1))
	w.nodes[2].flush()
	if _, ok := w.nodes[2].ask(1); !ok { // the answer with the high watermark is lost
		t.Fatal("not asked")
	}
	w.want(d, "ok")
	w.wantHW(2, 0)

	w.nodes[2].crash()
	w.nodes[2].open()
	w.nodes[1].deliver()
	w.nodes[2].deliver()
	w.must(w.nodes[2].fetch(1)) // compares epochs, and returns to the ISR
	w.nodes[1].propose()
	w.nodes[1].crash()
	w.nodes[2].deliver()
	if got, want := w.nodes[2].contents(), "0:0:1"; got != want {
		t.Fatalf("new leader has %q, want %q", got, want)
	}
	w.wantHW(2, 1) // alone in the ISR
}

// The second scenario of KIP-101: both lose power, the follower comes back first without its last record and writes another in its place.
func TestDivergedRecordIsReplaced(t *testing.T) {
	w := newTestWorld(t, 2, 2, map[string]string{"min.insync.replicas": "1"})
	w.nodes[1].append(1)
	w.nodes[1].flush()
	w.nodes[2].sync(1)
	w.nodes[1].append(2)
	w.nodes[1].flush()
	w.must(w.nodes[2].fetch(1)) // not flushed
	w.nodes[2].crash()
	w.nodes[2].open()
	w.nodes[1].deliver()
	w.nodes[2].deliver()
	w.must(w.nodes[2].fetch(1))
	w.nodes[1].deliver()
	if got := w.nodes[2].contents(); got != "0:0:1 1:0:2" {
		t.Fatalf("follower has %q", got)
	}
	w.nodes[1].propose()
	w.nodes[2].crash() // loses record 2 again
	w.nodes[2].open()
	w.nodes[1].deliver()
	w.nodes[2].deliver()

	// Record 2 is committed by the leader alone now; a third one is not, when leadership moves.
	w.wantHW(1, 2)
	w.nodes[2].sync(1)
	w.nodes[1].propose()
	w.nodes[1].append(3)
	w.nodes[1].flush()
	w.leave(1)
	w.nodes[2].deliver()
	w.nodes[2].append(4)
	w.nodes[2].flush()
	w.nodes[1].register()
	w.deliverAll()
	w.nodes[1].sync(2)
	want := "0:0:1 1:0:2 2:1:4"
	if got := w.nodes[1].contents(); got != want {
		t.Fatalf("the old leader has %q, want %q", got, want)
	}
	if got := w.nodes[2].contents(); got != want {
		t.Fatalf("the new leader has %q, want %q", got, want)
	}
}

// The scenario of KIP-279: fast fail-overs leave two logs with epochs that the other does not know; one comparison is not enough.
func TestTruncationOverSeveralEpochs(t *testing.T) {
	w := newTestWorld(t, 2, 2, nil)
	leader, follower := w.nodes[1].part(), w.nodes[2].part()
	leader.mu.epoch, follower.mu.epoch = 5, 5
	put := func(p *Partition, epoch int32, id int) {
		t.Helper()
		if _, err := p.log.AppendLeader(batch(id), epoch, w.now); err != nil {
			t.Fatal(err)
		}
	}
	// Offset:      0  1  2  3  4
	// leader    :  e0 e0 e2 e2 e4     follower: e0 e0 e1 e3 e3
	for i, e := range []int32{0, 0, 2, 2, 4} {
		put(leader, e, i)
	}
	for i, e := range []int32{0, 0, 1, 3, 3} {
		put(follower, e, i+10*min(max(0, i-1), 1))
	}
	for _, p := range []*Partition{leader, follower} {
		p.mu.durable = p.log.End()
	}
	rounds := 0
	for w.nodes[2].contents() != w.nodes[1].contents() {
		if rounds++; rounds > 10 {
			t.Fatalf("follower has %q, leader %q", w.nodes[2].contents(), w.nodes[1].contents())
		}
		w.must(w.nodes[2].fetch(1))
		w.nodes[2].flush()
	}
	t.Logf("%d rounds", rounds)
}

// A log all of whose epochs the leader lacks agrees nowhere with the leader's.
func TestTruncationWithoutACommonEpoch(t *testing.T) {
	w := newTestWorld(t, 2, 2, nil)
	leader, follower := w.nodes[1].part(), w.nodes[2].part()
	follower.mu.epoch, leader.mu.epoch = 5, 5
	for i := range 3 {
		if _, err := leader.log.AppendLeader(batch(i), 0, w.now); err != nil {
			t.Fatal(err)
		}
		if _, err := follower.log.AppendLeader(batch(10+i), 2, w.now); err != nil {
			t.Fatal(err)
		}
	}
	follower.mu.durable = 3
	for range 4 {
		w.must(w.nodes[2].fetch(1))
		w.nodes[2].flush()
	}
	if got, want := w.nodes[2].contents(), w.nodes[1].contents(); got != want {
		t.Fatalf("follower has %q, leader %q", got, want)
	}
}

func TestTruncationBelowTheHighWatermarkIsRefused(t *testing.T) {
	w := newTestWorld(t, 2, 2, nil)
	w.nodes[1].append(1)
	w.nodes[1].flush()
	w.nodes[2].sync(1)
	p := w.nodes[2].part()
	pos, _ := p.Position(1)
	if _, err := p.Replicate(Fetched{Position: pos, Diverging: &EpochEnd{Epoch: 0, EndOffset: 0}}); err == nil {
		t.Fatalf("truncated below the high watermark")
	}
	if got := p.log.End(); got != 1 {
		t.Fatalf("log end = %d, want 1", got)
	}
}

func TestStaleAnswersAreIgnored(t *testing.T) {
	w := newTestWorld(t, 3, 3, nil)
	w.nodes[1].append(1)
	old, _ := w.nodes[3].ask(1)
	w.must(w.nodes[3].fetch(1))
	w.nodes[3].flush()
	w.wantErr(w.nodes[3].take(old), ErrStale) // the log has moved on
	w.nodes[1].append(2)
	old, _ = w.nodes[3].ask(1)
	w.leave(1)
	w.deliverAll()
	w.wantErr(w.nodes[3].take(old), ErrStale) // the epoch has
	if got := w.nodes[3].contents(); got != "0:0:1" {
		t.Fatalf("follower has %q", got)
	}
}

func TestDamagedAnswerIsNotAppended(t *testing.T) {
	w := newTestWorld(t, 2, 2, nil)
	w.nodes[1].append(1)
	r, _ := w.nodes[2].ask(1)
	r.f.Batches[len(r.f.Batches)-1] ^= 1
	w.wantErr(w.nodes[2].take(r), ErrCorrupt)
	if got := w.nodes[2].part().log.End(); got != 0 {
		t.Fatalf("log end = %d, want 0", got)
	}
	w.nodes[2].sync(1)
	if got := w.nodes[2].contents(); got != "0:0:1" {
		t.Fatalf("follower has %q", got)
	}
}

func TestFollowerBehindRetentionStartsOver(t *testing.T) {
	w := newTestWorld(t, 3, 3, nil)
	w.leave(3)
	w.deliverAll()
	w.nodes[3].register()
	for i := range 3 {
		w.nodes[1].append(i)
	}
	w.nodes[1].flush()
	w.nodes[2].sync(1)
	w.must(w.nodes[1].part().log.SetStart(2))
	w.deliverAll()
	r, _ := w.nodes[3].ask(1)
	w.wantErr(r.err, ErrOffsetOutOfRange)
	r.f.LogStart = w.nodes[1].part().log.Start()
	w.must(w.nodes[3].take(r))
	w.nodes[3].sync(1)
	if got := w.nodes[3].contents(); got != "2:0:2" {
		t.Fatalf("follower has %q, want %q", got, "2:0:2")
	}
	w.wantHW(3, 3)
}
