package detector

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/coordination"
)

// A broker that was itself stopped or starved must not count the time against others: it starts to count anew.
func TestOwnPauseIsNobodysSilence(t *testing.T) {
	beat := DefaultBeat
	p := NewPeers(PeersConfig{ID: 1, Current: cluster.NewCurrent(), Log: slog.New(slog.DiscardHandler)})
	w := newWatch(p, coordination.Registered{Registration: coordination.Registration{ID: 2}}, "")
	w.process = uuid.New()
	for range 3 {
		for range DefaultMissed - 1 {
			w.beat(beat)
		}
		w.beat(5 * time.Second)
		if w.evidence != "" {
			t.Fatalf("evidence %q from our own pause", w.evidence)
		}
	}
	reconnects := 0
	for range DefaultMissed {
		if w.beat(beat + beat/2) { // late, but not by a beat
			reconnects++
		}
	}
	if w.evidence != silent || reconnects < 1 {
		t.Errorf("evidence %q and %d reconnects after %d beats without an answer, want silence and at least one", w.evidence, reconnects, DefaultMissed)
	}
}
