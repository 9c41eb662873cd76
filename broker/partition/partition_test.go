package partition

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/regency-project/regency/broker/controller"
	"github.com/regency-project/regency/storage/record"
)

func TestHighWatermarkNeedsEveryISRMembersDisk(t *testing.T) {
	w := newTestWorld(t, 3, 3, nil)
	w.nodes[2].sync(1)
	w.nodes[3].sync(1)
	d := w.nodes[1].append(1)
	w.must(w.nodes[2].fetch(1))
	w.must(w.nodes[3].fetch(1))
	w.want(d, "open")

	w.nodes[2].flush()
	w.nodes[3].flush()
	w.must(w.nodes[2].fetch(1))
	w.must(w.nodes[3].fetch(1))
	w.want(d, "open") // the followers have it on disk, the leader does not
	w.wantHW(1, 0)
	w.nodes[1].flush()
	w.want(d, "ok")
	w.wantHW(1, 1)

	d = w.nodes[1].append(2)
	w.nodes[1].flush()
	w.must(w.nodes[2].fetch(1))
	w.must(w.nodes[3].fetch(1))
	w.nodes[2].flush()
	w.must(w.nodes[2].fetch(1))
	if err := w.nodes[3].fetch(1); err == nil {
		t.Fatalf("broker 3 fetches past what it has on disk")
	}
	w.want(d, "open") // broker 3 has not flushed
	w.nodes[3].flush()
	w.must(w.nodes[3].fetch(1))
	w.want(d, "ok")
	w.wantHW(3, 2) // learned with the answer
}

func TestAcksOneWaitsForTheLeadersDiskOnly(t *testing.T) {
	w := newTestWorld(t, 3, 3, nil)
	d, err := w.nodes[1].part().Append(batch(1), AppendOptions{Acks: AcksLeader, FromClient: true, ExpectedEpoch: -1})
	w.must(err)
	w.want(d, "open")
	w.nodes[1].flush()
	w.want(d, "ok")
	w.wantHW(1, 0)
}

func TestISRShrinkByViewCompletesAppendsAtOnce(t *testing.T) {
	w := newTestWorld(t, 3, 3, nil)
	w.nodes[2].sync(1)
	d := w.nodes[1].append(1)
	w.nodes[1].flush()
	w.nodes[2].sync(1)
	w.want(d, "open") // broker 3 never fetched
	w.leave(3)
	w.want(d, "open")
	w.nodes[1].deliver()
	w.want(d, "ok")
}

func TestISRBelowMinimum(t *testing.T) {
	w := newTestWorld(t, 3, 3, nil) // min.insync.replicas is 2
	w.nodes[2].sync(1)
	d := w.nodes[1].append(1)
	w.nodes[1].flush()
	w.leave(3)
	w.leave(2)
	w.nodes[1].deliver()
	w.want(d, ErrNotEnoughReplicasAfterAppend.Error())
	_, err := w.nodes[1].part().Append(batch(2), AppendOptions{Acks: AcksAll, ExpectedEpoch: -1})
	w.wantErr(err, ErrNotEnoughReplicas)
	if _, err = w.nodes[1].part().Append(batch(2), AppendOptions{Acks: AcksLeader, ExpectedEpoch: -1}); err != nil {
		t.Fatalf("acks=1 with a small ISR: %v", err)
	}
	w.nodes[1].flush()
	w.wantHW(1, 0) // one replica alone commits nothing
}

func TestMaximalISRHoldsTheHighWatermark(t *testing.T) {
	w := newTestWorld(t, 3, 3, map[string]string{"min.insync.replicas": "1"})
	w.leave(3)
	w.nodes[3].register()
	w.deliverAll()
	w.nodes[2].sync(1)
	if got := w.view.Topics[topic].Partitions[0].ISR; !slices.Equal(got, []int32{1, 2}) {
		t.Fatalf("isr = %v, want [1 2]", got)
	}

	// Broker 3 catches up; its return to the ISR is committed, but the answer is lost: from now on it may be a member.
	w.refuse, w.applied = errors.New("lost"), true
	w.must(w.nodes[3].fetch(1))
	w.nodes[1].propose()
	d := w.nodes[1].append(1)
	w.nodes[1].flush()
	w.nodes[2].sync(1)
	w.want(d, "open")
	w.nodes[3].sync(1)
	w.want(d, "ok")

	// The view settles it.
	w.nodes[1].deliver()
	p := w.nodes[1].part()
	if p.mu.proposal != nil || !slices.Equal(p.mu.isr, []int32{1, 2, 3}) {
		t.Fatalf("after the view: isr %v, proposal %v; want [1 2 3], none", p.mu.isr, p.mu.proposal)
	}
}

func TestLostProposalIsRepeatedAndAnswerTakenOver(t *testing.T) {
	w := newTestWorld(t, 3, 3, nil)
	w.leave(3)
	w.nodes[3].register()
	w.deliverAll()
	w.refuse, w.applied = errors.New("unreachable"), false
	w.must(w.nodes[3].fetch(1))
	w.nodes[1].propose()
	w.refuse = nil
	w.nodes[1].propose()
	p := w.nodes[1].part()
	if !slices.Equal(p.mu.isr, []int32{1, 2, 3}) || p.mu.proposal != nil {
		t.Fatalf("isr %v, proposal %v; want [1 2 3], none", p.mu.isr, p.mu.proposal)
	}
	w.nodes[1].deliver() // the same state by the view
	if !slices.Equal(p.mu.isr, []int32{1, 2, 3}) {
		t.Fatalf("isr %v after the view", p.mu.isr)
	}
}

func TestFollowerThatFallsBehindLeavesAndReturns(t *testing.T) {
	w := newTestWorld(t, 3, 3, nil)
	w.nodes[2].sync(1)
	w.nodes[3].sync(1)
	d := w.nodes[1].append(1)
	w.nodes[1].flush()
	w.nodes[2].sync(1)
	p := w.nodes[1].part()
	w.now = w.now.Add(9 * time.Second)
	p.shrink(10*time.Second, w.now)
	w.nodes[1].propose()
	w.want(d, "open")
	w.must(w.nodes[2].fetch(1))
	w.now = w.now.Add(2 * time.Second)
	p.shrink(10*time.Second, w.now)
	w.want(d, "open") // only proposed
	w.nodes[1].propose()
	w.want(d, "ok")
	if got := w.view.Topics[topic].Partitions[0].ISR; !slices.Equal(got, []int32{1, 2}) {
		t.Fatalf("isr = %v, want [1 2]", got)
	}
	w.nodes[3].sync(1)
	w.nodes[1].propose()
	if got := w.view.Topics[topic].Partitions[0].ISR; !slices.Equal(got, []int32{1, 2, 3}) {
		t.Fatalf("isr = %v, want [1 2 3]", got)
	}
}

func TestRefusedExpansionIsNotRepeatedAtOnce(t *testing.T) {
	w := newTestWorld(t, 3, 3, nil)
	w.leave(3)
	w.nodes[3].register()
	w.deliverAll()
	w.refuse = controller.ErrIneligibleReplica
	p := w.nodes[1].part()
	w.must(w.nodes[3].fetch(1))
	pr := p.open()
	p.answered(pr, controller.ISRResult{Err: controller.ErrIneligibleReplica}, w.now)
	w.must(w.nodes[3].fetch(1))
	if p.open() != nil {
		t.Fatalf("proposed again at once")
	}
	w.now = w.now.Add(time.Second)
	w.must(w.nodes[3].fetch(1))
	if p.open() == nil {
		t.Fatalf("not proposed again after a second")
	}
}

func TestStepDownFailsWaitersAtOnce(t *testing.T) {
	w := newTestWorld(t, 3, 3, nil)
	d := w.nodes[1].append(1)
	one, err := w.nodes[1].part().Append(batch(2), AppendOptions{Acks: AcksLeader, ExpectedEpoch: -1})
	w.must(err)
	w.nodes[1].lost = true
	w.nodes[1].deliver()
	w.want(d, ErrNotLeader.Error())
	w.want(one, ErrNotLeader.Error())
	_, err = w.nodes[1].part().Append(batch(3), AppendOptions{Acks: AcksAll, ExpectedEpoch: -1})
	w.wantErr(err, ErrNotLeader)
	// The same epoch is not led a second time.
	w.nodes[1].lost = false
	w.nodes[1].deliver()
	_, err = w.nodes[1].part().Leader()
	w.wantErr(err, ErrNotLeader)
}

func TestWaitEndsWithItsContext(t *testing.T) {
	w := newTestWorld(t, 3, 3, nil)
	d := w.nodes[1].append(1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w.wantErr(d.Wait(ctx), ErrTimedOut)
	if p := w.nodes[1].part(); len(p.mu.committed.list) != 0 {
		t.Fatalf("%d waiters left", len(p.mu.committed.list))
	}
}

func TestIdempotentProducer(t *testing.T) {
	w := newTestWorld(t, 1, 1, nil)
	p := w.nodes[1].part()
	o := AppendOptions{Acks: AcksAll, FromClient: true, ExpectedEpoch: -1}
	first, err := p.Append(idempotent(7, 0, 0), o)
	w.must(err)
	if _, err = p.Append(idempotent(7, 0, 1), o); err != nil {
		t.Fatal(err)
	}
	again, err := p.Append(idempotent(7, 0, 0), o)
	w.must(err)
	if again.BaseOffset != first.BaseOffset {
		t.Fatalf("the duplicate is at %d, want %d", again.BaseOffset, first.BaseOffset)
	}
	w.want(again, "open") // not before the original is committed
	w.nodes[1].flush()
	w.want(first, "ok")
	w.want(again, "ok")
	_, err = p.Append(idempotent(7, 0, 3), o)
	w.wantErr(err, ErrOutOfOrderSequence)
	_, err = p.Append(idempotent(7, 1, 1), o)
	w.wantErr(err, ErrOutOfOrderSequence)
	_, err = p.Append(idempotent(7, 1, 0), o)
	w.must(err)
	_, err = p.Append(idempotent(7, 0, 2), o)
	w.wantErr(err, ErrInvalidProducerEpoch)
}

func TestBadBatches(t *testing.T) {
	w := newTestWorld(t, 1, 1, map[string]string{"max.message.bytes": "100"})
	p := w.nodes[1].part()
	damaged := batch(1)
	damaged[len(damaged)-1] ^= 1
	old := batch(1)
	old[16] = 1
	for _, c := range []struct {
		name  string
		bytes []byte
		want  error
	}{
		{"empty", nil, ErrInvalidRecord},
		{"cut", batch(1)[:40], ErrCorrupt},
		{"damaged", damaged, ErrCorrupt},
		{"old format", old, ErrUnsupportedFormat},
		{"two", append(batch(1), batch(2)...), ErrInvalidRecord},
		{"good", batch(1), nil},
	} {
		_, err := p.Append(c.bytes, AppendOptions{Acks: AcksLeader, FromClient: true, ExpectedEpoch: -1})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: error = %v, want %v", c.name, err, c.want)
		}
	}
	_, err := p.Append(sized(200), AppendOptions{Acks: AcksLeader, FromClient: true, ExpectedEpoch: -1})
	w.wantErr(err, ErrTooLarge)
	if end := p.log.End(); end != 1 {
		t.Fatalf("log end = %d after refused batches, want 1", end)
	}
}

func TestEpochFencing(t *testing.T) {
	w := newTestWorld(t, 3, 3, nil)
	w.leave(1)
	w.nodes[1].register()
	w.deliverAll() // leader is 2, in epoch 1
	p := w.nodes[2].part()
	info, err := p.Leader()
	w.must(err)
	_, err = p.LeaderAt(info.Epoch - 1)
	w.wantErr(err, ErrFencedLeaderEpoch)
	_, err = p.LeaderAt(info.Epoch + 1)
	w.wantErr(err, ErrUnknownLeaderEpoch)
	_, err = p.Append(batch(1), AppendOptions{Acks: AcksAll, ExpectedEpoch: info.Epoch - 1})
	w.wantErr(err, ErrFencedLeaderEpoch)

	f := FollowerFetch{Replica: 3, BrokerEpoch: w.nodes[3].epoch, CurrentLeaderEpoch: info.Epoch, LastFetchedEpoch: -1, Now: w.now}
	_, err = p.Follow(f)
	w.must(err)
	f.BrokerEpoch++
	_, err = p.Follow(f)
	w.wantErr(err, ErrStaleBrokerEpoch)
	f.Replica = 9
	_, err = p.Follow(f)
	w.wantErr(err, ErrUnknownReplica)
	var nl *NotLeaderError
	_, err = w.nodes[3].part().Leader()
	if !errors.As(err, &nl) || nl.Leader != 2 {
		t.Fatalf("Leader() on a follower = %v, want a hint of 2", err)
	}
}

func TestZombieLeaderCommitsNothing(t *testing.T) {
	w := newTestWorld(t, 3, 3, nil)
	w.nodes[2].sync(1)
	w.nodes[3].sync(1)
	w.leave(1)
	w.nodes[2].deliver()
	w.nodes[3].deliver()
	d := w.nodes[1].append(1) // it does not know yet
	w.nodes[1].flush()
	if err := w.nodes[2].fetch(1); err == nil {
		t.Fatalf("the new leader fetched from the old one")
	}
	w.must(w.nodes[3].fetch(2))
	w.want(d, "open")
	w.wantHW(1, 0)
	w.nodes[1].deliver()
	w.want(d, ErrNotLeader.Error())
}

func TestNewLeaderDoesNotKnowWhatIsCommitted(t *testing.T) {
	w := newTestWorld(t, 3, 3, nil)
	d := w.nodes[1].append(1)
	w.nodes[1].flush()
	w.nodes[2].sync(1)
	w.nodes[3].sync(1)
	w.want(d, "ok")
	w.nodes[2].part().mu.hw = 0 // it never heard of it
	w.leave(1)
	w.deliverAll()
	info, err := w.nodes[2].part().Leader()
	w.must(err)
	if info.Settled() || info.EpochStart != 1 {
		t.Fatalf("new leader: %+v, want an unsettled one from 1", info)
	}
	_, err = w.nodes[2].part().OffsetForTimestamp(1, -1)
	w.wantErr(err, ErrOffsetNotAvailable)
	w.must(w.nodes[3].fetch(2))
	if info, err = w.nodes[2].part().Leader(); err != nil || !info.Settled() {
		t.Fatalf("after the fetch: %+v, %v; want a settled one", info, err)
	}
}

func sized(size int) []byte {
	return record.Build(record.NoProducer, record.Record{Timestamp: 1, Value: make([]byte, size)})
}
