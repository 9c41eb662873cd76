package coordtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/memory"
)

// testLockstep: one process's random operations, one after the other, get the same answers from the service as from package memory, the reference.
func testLockstep(e *env) {
	seed, steps := historySeed(e), 120
	if soak() {
		steps = 3000
	}
	e.stall = e.measureStall()
	r := rand.New(rand.NewPCG(seed, 99))
	reference := memory.NewServer(10 * time.Minute)
	real := e.side("the service", func() coordination.Coordinator { return e.coordinator() })
	model := e.side("memory", func() coordination.Coordinator {
		co := reference.Open(nil)
		e.Cleanup(func() { _ = co.Close() })
		return co
	})
	for n := range steps {
		op := drawLockstep(r, model.leader(reference))
		want := model.do(op)
		got := real.do(op)
		if d := got.Seq - want.Seq; got.Seq > want.Seq && d <= 3 && got.Epoch == want.Epoch {
			// A commit whose answer was lost was settled by no-ops, which are commits as well.
			e.Logf("step %d: %d no-ops", n, d)
			real.noops += d
			got.Seq = want.Seq
		}
		if got.String() != want.String() {
			for i, a := range real.actors {
				if a.session != nil && a.session.State() == coordination.Lost && !model.lost(i) {
					e.judge(a.session.Timeout(), "session of process %d: %v", i, a.session.Err())
				}
			}
			e.Errorf("step %d, %v: the service answers %v, memory %v", n, op, got, want)
			e.Fatalf("the same steps again: REGENCY_SEED=%d", seed)
		}
	}
	e.Logf("seed %d: %d steps; the end: %v", seed, steps, real.do(lockstepOp{kind: "status"}))
}

// lockstepOp is one operation; the same for both sides.
type lockstepOp struct {
	kind         string
	actor, other int
	right        bool // of epochs and revisions: the present one, or one that is over
	mutations    []coordination.Mutation
}

func (op lockstepOp) String() string {
	return fmt.Sprintf("%s by %d (other %d, right %v, %s)", op.kind, op.actor, op.other, op.right, canonical(op.mutations))
}

// lockstepKeys have what a service's paths and encodings could stumble over.
var lockstepKeys = []string{"a", "a/b", "a/c", "ä ö", "%2F", "..", "with space", "UPPER", "upper", "k?x=1&y", `back\slash`, strings.Repeat("long", 40)}

func drawLockstep(r *rand.Rand, leader int) lockstepOp {
	op := lockstepOp{actor: r.IntN(3), other: r.IntN(3), right: r.IntN(4) > 0}
	for _, i := range r.Perm(len(lockstepKeys))[:r.IntN(4)] {
		m := coordination.Mutation{Key: lockstepKeys[i]}
		if r.IntN(3) > 0 {
			m.Value = []byte(strings.Repeat(string(rune(r.IntN(256))), r.IntN(30)))
		}
		op.mutations = append(op.mutations, m)
	}
	kinds := []string{"commit", "commit", "commit", "commit", "status", "snapshot", "present", "register", "register", "impostor", "usurp", "resign", "evict", "close", "campaign", "campaign"}
	op.kind = kinds[r.IntN(len(kinds))]
	switch {
	case op.kind == "campaign" && leader >= 0: // it would wait; who leads commits
		op.kind, op.actor = "commit", leader
	case op.kind == "commit" && leader >= 0 && r.IntN(4) > 0: // mostly by who may
		op.actor = leader
	}
	return op
}

// answer is what a side says, without what differs by nature (lineage, revisions, session ids).
type answer struct {
	Err     string
	Epoch   int32
	Seq     uint64
	Holder  int32
	Records string
	IDs     []int32
}

func (a answer) String() string {
	return fmt.Sprintf("{error %q, epoch %d, seq %d, holder %d, records %s, registered %v}", a.Err, a.Epoch, a.Seq, a.Holder, a.Records, a.IDs)
}

// side is one of the two services with its processes.
type side struct {
	e      *env
	name   string
	actors []*lockstepActor
	noops  uint64
}

type lockstepActor struct {
	co         coordination.Coordinator
	session    coordination.Session
	leads      coordination.Leadership
	registered *coordination.Registered
}

func (e *env) side(name string, open func() coordination.Coordinator) *side {
	s := &side{e: e, name: name}
	for range 3 {
		s.actors = append(s.actors, &lockstepActor{co: open()})
	}
	return s
}

// leader is the index of the process that holds the reference's controller key; -1: nobody does.
func (s *side) leader(server *memory.Server) int {
	key, err := server.Store().Get(s.e.ctx, controller)
	if err != nil {
		s.e.Fatalf("memory: Get(%s) = %v", controller, err)
	}
	return slices.IndexFunc(s.actors, func(a *lockstepActor) bool {
		return key.Version != 0 && a.registered != nil && a.registered.Incarnation == string(key.Value)
	})
}

func (s *side) lost(i int) bool {
	a := s.actors[i]
	return a.session == nil || a.session.State() == coordination.Lost
}

// do runs an operation until the service says what became of it.
func (s *side) do(op lockstepOp) (got answer) {
	s.e.Helper()
	a := s.actors[op.actor]
	err := s.e.insist(func(ctx context.Context) error {
		if a.session == nil {
			return s.join(ctx, a)
		}
		return nil
	})
	if err != nil {
		s.e.Fatalf("%s: open a session: %v", s.name, err)
	}
	got.Err = classify(s.run(op, a, &got))
	if got.Seq > 0 {
		got.Seq -= s.noops
	}
	return got
}

func (s *side) join(ctx context.Context, a *lockstepActor) error {
	session, err := a.co.OpenSession(ctx, coordination.SessionOptions{})
	if err != nil {
		return err
	}
	if _, err := session.Bootstrap(ctx); err != nil {
		return errors.Join(err, session.Close(ctx))
	}
	a.session, a.leads, a.registered = session, nil, nil
	s.e.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := session.Close(ctx); err != nil {
			s.e.Logf("%s: Session.Close() = %v", s.name, err)
		}
	})
	return nil
}

func (s *side) run(op lockstepOp, a *lockstepActor, got *answer) error {
	e := s.e
	switch op.kind {
	case "status":
		st := e.status(a.co)
		got.Epoch, got.Seq, got.Holder = st.Epoch, st.Seq, st.Holder
	case "snapshot":
		ev := e.snapshot(a.co)
		got.Epoch, got.Seq, got.Holder, got.Records = ev.Epoch, ev.Seq, ev.Holder, fmt.Sprintf("%q", ev.Records)
	case "present":
		for _, r := range e.present(a.co) {
			got.IDs = append(got.IDs, r.ID)
		}
		slices.Sort(got.IDs)
	case "register":
		if a.registered != nil {
			return nil
		}
		r, err := a.session.Register(e.ctx, registration(int32(op.actor)))
		if err == nil {
			a.registered = &r
		}
		return err
	case "impostor": // another's id from another directory
		if a.registered != nil || op.other == op.actor {
			return nil
		}
		_, err := a.session.Register(e.ctx, coordination.Registration{ID: int32(op.other), DirectoryUUID: "another"})
		if err == nil { // nobody was there: leave again
			return errors.Join(err, s.end(a, int32(op.other)))
		}
		return err
	case "campaign", "usurp":
		return s.claim(op, a, got)
	case "commit":
		if a.leads == nil {
			return nil
		}
		seq, err := a.leads.Commit(e.ctx, op.mutations)
		got.Epoch, got.Seq = a.leads.Epoch(), seq
		return err
	case "resign":
		if a.leads == nil {
			return nil
		}
		return e.insist(a.leads.Resign)
	case "evict":
		return s.evict(op, a)
	case "close":
		return s.end(a, int32(op.actor))
	}
	return nil
}

func (s *side) claim(op lockstepOp, a *lockstepActor, got *answer) (err error) {
	var l coordination.Leadership
	if op.kind == "campaign" {
		l, err = a.session.Campaign(s.e.ctx)
	} else {
		epoch := s.e.status(a.co).Epoch
		if !op.right {
			epoch += 7
		}
		l, err = a.session.Usurp(s.e.ctx, epoch)
	}
	if err != nil {
		return err
	}
	a.leads = l
	got.Epoch, got.Seq = l.Epoch(), l.Seq()
	return nil
}

func (s *side) evict(op lockstepOp, a *lockstepActor) error {
	victim := s.actors[op.other]
	if victim.registered == nil || victim == a {
		return nil
	}
	r := *victim.registered
	if !op.right {
		r.Revision++
	}
	if err := s.e.evict(a.session, r); err != nil {
		return err
	}
	s.e.closed(victim.session.Done(), patience, s.name+": Done of an evicted session")
	return s.end(victim, int32(op.other))
}

// end closes a session and waits until what it held is gone, also where the answer was lost.
func (s *side) end(a *lockstepActor, id int32) error {
	ctx, cancel := context.WithTimeout(s.e.ctx, patience)
	defer cancel()
	if err := a.session.Close(ctx); err != nil {
		s.e.Logf("%s: Session.Close() = %v", s.name, err)
	}
	s.e.eventually(patience, s.name+": a closed session's registration is gone", func() error {
		if slices.ContainsFunc(s.e.present(a.co), func(r coordination.Registered) bool { return r.ID == id }) {
			return fmt.Errorf("%d is there", id)
		}
		return nil
	})
	a.session, a.registered = nil, nil // a leadership stays, to be refused
	return nil
}

// classify names the error by the contract.
func classify(err error) string {
	if err == nil {
		return ""
	}
	for _, c := range []struct {
		name string
		is   error
	}{
		{"duplicate id", coordination.ErrDuplicateID}, {"not registered", coordination.ErrNotRegistered}, {"session lost", coordination.ErrSessionLost},
		{"closed", coordination.ErrClosed}, {"fenced", coordination.ErrFenced}, {"conflict", coordination.ErrConflict}, {"too large", coordination.ErrTooLarge},
		{"unknown", coordination.ErrOutcomeUnknown}, {"unavailable", coordination.ErrUnavailable},
	} {
		if errors.Is(err, c.is) {
			return c.name
		}
	}
	return "other"
}
