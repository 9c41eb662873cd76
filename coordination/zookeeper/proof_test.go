package zookeeper

import (
	"testing"
	"time"
)

// TestProof drives the rule with a timeout of 1 s and a tick of 200 ms: half a tick and its margin are 110 ms, and 25 ms are kept off the deadline.
func TestProof(t *testing.T) {
	const ms = time.Millisecond
	base := time.Unix(1000, 0)
	at := func(d time.Duration) time.Time { return base.Add(d) }
	p := newProof(time.Second, 200*ms)
	step := func(connection uint64, since, sent, answered, want time.Duration) {
		t.Helper()
		if got := p.committed(connection, at(since), at(sent), at(answered)); !got.Equal(at(want)) {
			t.Errorf("committed(%d, %v, %v, %v) = %v, want %v", connection, since, sent, answered, got.Sub(base), want)
		}
	}
	// The first write confirms the handshake, not itself.
	step(1, 0, 50*ms, 55*ms, 975*ms)
	// Too soon after the first: a ping of the leader need not have come in between.
	step(1, 0, 160*ms, 165*ms, 975*ms)
	// 115 ms after the first was answered: that one has been reported.
	step(1, 0, 170*ms, 172*ms, 50*ms+975*ms)
	// Now all three have.
	step(1, 0, 300*ms, 310*ms, 170*ms+975*ms)
	// An answer that took long counts from its arrival.
	step(1, 0, 420*ms, 700*ms, 300*ms+975*ms)
	step(1, 0, 710*ms, 720*ms, 300*ms+975*ms)
	step(1, 0, 840*ms, 850*ms, 710*ms+975*ms)
	// A new connection: what the old follower had not reported may be lost, the handshake is not.
	step(2, 900*ms, 950*ms, 960*ms, 900*ms+975*ms)
	step(2, 900*ms, 1100*ms, 1110*ms, 950*ms+975*ms)
	// A handshake cannot take back what was proven.
	step(3, 940*ms, 1120*ms, 1130*ms, 950*ms+975*ms)
}

func TestProofAssumesHalfTheTimeoutForAnUnknownTick(t *testing.T) {
	if got, want := newProof(4*time.Second, 0).lag, 1100*time.Millisecond; got != want {
		t.Errorf("lag = %v, want %v", got, want)
	}
}

func TestProofIsBounded(t *testing.T) {
	p := newProof(time.Hour, time.Minute)
	for i := range 10 * maxTouches {
		now := time.Unix(int64(i)/100, 0)
		p.committed(1, time.Unix(0, 0), now, now)
	}
	if len(p.touches) > maxTouches {
		t.Errorf("%d writes are remembered, want at most %d", len(p.touches), maxTouches)
	}
}
