package partition

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/regency-project/regency/storage"
)

type inner = Logs

// hurt makes the log of a node look damaged until it is reset.
type hurt struct {
	inner
	n   *node
	bad *storage.DamageError
}

type hurtLog struct {
	Log
	h *hurt
}

func (h *hurt) Log(topic string, id [16]byte, partition int32) (Log, error) {
	l, err := h.inner.Log(topic, id, partition)
	return hurtLog{l, h}, err
}

func (h *hurt) Damaged() []*storage.DamageError {
	if h.bad == nil {
		return nil
	}
	return []*storage.DamageError{h.bad}
}

func (l hurtLog) Damage() error {
	if l.h.bad == nil {
		return nil
	}
	return l.h.bad
}

func (l hurtLog) Reset(offset int64) error {
	l.h.bad = nil
	return l.Log.Reset(offset)
}

// repairWorld is a cluster of three whose broker 3 has fallen out of the ISR and has caught up since, and can be hurt.
func repairWorld(t *testing.T) (*world, *hurt) {
	w := newTestWorld(t, 3, 3, nil)
	n := w.nodes[3]
	h := &hurt{n: n, inner: Storage(n.store)}
	n.set = NewSet(Config{Logs: h, Control: w, ReplicaLagMax: 10 * time.Second, Now: func() time.Time { return w.now }, ClusterID: "c"})
	w.deliverAll()
	lead, second := w.nodes[1], w.nodes[2]
	for i := range 5 {
		lead.append(i)
	}
	lead.flush()
	for range 2 {
		second.sync(1)
		w.now = w.now.Add(6 * time.Second)
	}
	second.sync(1)
	lead.part().shrink(10*time.Second, w.now)
	lead.propose()
	w.deliverAll()
	if isr := w.isr(); !slices.Equal(isr, []int32{1, 2}) {
		t.Fatalf("ISR = %v, want 1 and 2", isr)
	}
	n.sync(1) // and the leader has a proposal to take it back
	return w, h
}

func (w *world) isr() []int32 {
	st, _ := w.view.Partition(tp0)
	return st.ISR
}

func (h *hurt) damage() {
	h.bad = &storage.DamageError{Topic: topic, TopicID: h.n.part().TopicID(), Err: errors.New("flipped bit")}
}

// check: who is in the ISR has what is committed.
func (h *hurt) check() {
	w := h.n.w
	w.t.Helper()
	if end := h.n.part().log.End(); slices.Contains(w.isr(), 3) && end < 5 {
		w.t.Fatalf("broker 3 is in the ISR %v, and its log ends at %d of 5 acknowledged records", w.isr(), end)
	}
}

// A replica outside the ISR has caught up, and its leader's proposal to take it back is open, when its log turns out to be damaged. It must not empty the log while that
// proposal can be committed: it would be in sync with nothing.
func TestDamagedOutsiderIsNotTakenBackEmpty(t *testing.T) {
	for name, order := range map[string][]string{
		"repair first":            {"repair", "propose", "deliver", "repair", "propose", "deliver", "repair"},
		"proposal first":          {"propose", "repair", "deliver", "repair", "deliver", "repair"},
		"views late":              {"repair", "repair", "propose", "repair", "deliver", "repair"},
		"proposal between":        {"repair", "propose", "repair", "propose", "deliver", "repair"},
		"leader is the last told": {"repair", "deliver 3", "repair", "propose", "deliver"},
	} {
		t.Run(name, func(t *testing.T) {
			w, h := repairWorld(t)
			h.damage()
			seen := map[*Partition]noticed{}
			do := func(what string) {
				switch what {
				case "repair":
					h.n.set.repair(context.Background(), h.Damaged(), seen)
				case "propose":
					w.nodes[1].propose()
				case "deliver":
					w.deliverAll()
				case "deliver 3":
					h.n.deliver()
				}
				h.check()
			}
			for _, what := range order {
				do(what)
			}
			for range 4 {
				do("deliver")
				do("repair")
			}
			if h.bad != nil {
				t.Fatal("the log was never rebuilt")
			}
			if end := h.n.part().log.End(); end != 0 {
				t.Fatalf("the rebuilt log ends at %d, want it empty", end)
			}
			// And it comes back as a new replica does.
			h.n.sync(1)
			h.n.sync(1)
			w.nodes[1].propose()
			w.deliverAll()
			h.check()
			if !slices.Contains(w.isr(), 3) || h.n.contents() != w.nodes[1].contents() {
				t.Errorf("ISR %v, contents %q, want broker 3 back with %q", w.isr(), h.n.contents(), w.nodes[1].contents())
			}
		})
	}
}

// A log that cannot be reset because the whole disk failed is not a reason to leave the ISR.
func TestFailedStoreRepairsNothing(t *testing.T) {
	w := newTestWorld(t, 1, 1, nil)
	l := Storage(w.nodes[1].store)
	_ = w.nodes[1].store.Close()
	if got := l.Damaged(); got != nil {
		t.Errorf("Damaged() of a closed store = %v, want none", got)
	}
}
