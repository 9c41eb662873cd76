package coordtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/regency-project/regency/coordination"
)

// step is one thing that a process of a history does. What a step means depends on where the process is: who does not lead cannot commit, and campaigns instead.
type step struct {
	Kind  string // commit, status, snapshot, usurp, resign, evict, leave
	Key   int
	Value string
	Also  int // a record that the commit deletes; -1: none
	Evict int32
	Limit time.Duration // of the whole step
}

// outcome is what a step came to. Kind is empty when there is nothing that a history could hold.
type outcome struct {
	Kind    opKind
	Epoch   int32
	Seq     uint64
	Edit    edit
	Values  [historyKeys]string
	Unknown bool
	Note    string // for people
	Fault   string // what no process may ever see
}

// actor is a process of a history. It runs in the suite's process or in a child.
type actor struct {
	id      int32
	open    func(ctx context.Context) (coordination.Coordinator, error)
	log     *slog.Logger
	co      coordination.Coordinator
	session coordination.Session
	leads   coordination.Leadership
	values  [historyKeys]string // as the leader knows them
	known   bool                // whether it does
}

// do makes one step.
func (a *actor) do(ctx context.Context, st step) outcome {
	ctx, cancel := context.WithTimeout(ctx, st.Limit)
	defer cancel()
	if err := a.join(ctx); err != nil {
		return outcome{Note: fmt.Sprintf("not a member: %v", err)}
	}
	if a.leads != nil && a.leads.Err() != nil {
		a.leads = nil
	}
	switch st.Kind {
	case "status":
		return a.status(ctx)
	case "snapshot":
		return a.snapshot(ctx)
	case "usurp":
		return a.usurp(ctx)
	case "evict":
		return a.evict(ctx, st.Evict)
	case "resign":
		if a.leads != nil {
			err := a.leads.Resign(ctx)
			return outcome{Note: fmt.Sprintf("resign: %v", err)} // the next look at Err says that it is over
		}
	case "leave":
		err := a.session.Close(ctx)
		a.session, a.leads = nil, nil
		return outcome{Note: fmt.Sprintf("leave: %v", err)}
	}
	if a.leads == nil {
		return a.campaign(ctx)
	}
	return a.commit(ctx, st)
}

// join makes the process a member, again if it must: with a new session, and on purpose.
func (a *actor) join(ctx context.Context) (err error) {
	if a.co == nil {
		if a.co, err = a.open(ctx); err != nil {
			return err
		}
	}
	if a.session != nil && a.session.State() != coordination.Lost {
		return nil
	}
	if a.session != nil {
		if err := a.session.Close(ctx); err != nil {
			a.log.Debug("close a lost session", "error", err)
		}
	}
	a.session, a.leads = nil, nil
	s, err := a.co.OpenSession(ctx, coordination.SessionOptions{})
	if err != nil {
		return err
	}
	if _, err = s.Bootstrap(ctx); err == nil {
		_, err = s.Register(ctx, registration(a.id))
	}
	if err != nil {
		return errors.Join(err, s.Close(context.WithoutCancel(ctx)))
	}
	a.session = s
	return nil
}

func (a *actor) campaign(ctx context.Context) outcome {
	l, err := a.session.Campaign(ctx)
	return a.claimed(l, err)
}

func (a *actor) usurp(ctx context.Context) outcome {
	st, err := a.co.Status(ctx)
	if err != nil {
		return outcome{Note: fmt.Sprintf("status: %v", err)}
	}
	l, err := a.session.Usurp(ctx, st.Epoch)
	if errors.Is(err, coordination.ErrConflict) {
		return outcome{Kind: opOver, Epoch: st.Epoch}
	}
	return a.claimed(l, err)
}

func (a *actor) claimed(l coordination.Leadership, err error) outcome {
	if err != nil { // a claim may have been sent
		return outcome{Kind: opClaim, Unknown: true, Note: err.Error()}
	}
	a.leads, a.known = l, false
	return outcome{Kind: opClaim, Epoch: l.Epoch(), Seq: l.Seq()}
}

// commit changes a record from what the leader knows it to be. Who does not know what became of the last commit settles that first, by an empty one, and reads.
func (a *actor) commit(ctx context.Context, st step) outcome {
	ed := noEdit
	var m []coordination.Mutation
	if a.known {
		ed = edit{Key: st.Key, Old: a.values[st.Key], New: st.Value, Remove: -1}
		m = append(m, put(historyKey(st.Key), st.Value))
		if st.Also >= 0 && st.Also != st.Key {
			ed.Remove = st.Also
			m = append(m, remove(historyKey(st.Also)))
		}
	}
	l := a.leads
	seq, err := l.Commit(ctx, m)
	out := outcome{Kind: opCommit, Epoch: l.Epoch(), Seq: seq, Edit: ed}
	switch {
	case err == nil && a.known:
		a.values, _ = ed.apply(a.values)
	case err == nil:
		a.learn(ctx)
	case errors.Is(err, coordination.ErrOutcomeUnknown):
		a.known = false
		out.Unknown, out.Note = true, err.Error()
	case errors.Is(err, coordination.ErrFenced):
		out.Kind, out.Note = opFenced, err.Error()
	case errors.Is(err, coordination.ErrUnavailable), errors.Is(err, coordination.ErrSessionLost):
		out.Kind, out.Note = opRefused, err.Error()
	default:
		out.Unknown, out.Fault = true, fmt.Sprintf("Commit() = %v, an error that its contract does not have", err)
	}
	return out
}

// learn reads what the leader's records are; nobody else writes them as long as it leads.
func (a *actor) learn(ctx context.Context) {
	if s, ok := firstSnapshot(ctx, a.co); ok && s.Epoch == a.leads.Epoch() {
		a.values, a.known = historyValues(s.Records), true
	}
}

func (a *actor) status(ctx context.Context) outcome {
	st, err := a.co.Status(ctx)
	if err != nil {
		return outcome{Note: fmt.Sprintf("status: %v", err)}
	}
	return outcome{Kind: opStatus, Epoch: st.Epoch, Seq: st.Seq}
}

func (a *actor) snapshot(ctx context.Context) outcome {
	s, ok := firstSnapshot(ctx, a.co)
	if !ok {
		return outcome{Note: "no snapshot"}
	}
	return outcome{Kind: opSnapshot, Epoch: s.Epoch, Seq: s.Seq, Values: historyValues(s.Records)}
}

// evict removes another process, if it is there.
func (a *actor) evict(ctx context.Context, id int32) outcome {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var victim *coordination.Registered
	err := a.co.WatchRegistrations(ctx, func(regs []coordination.Registered) {
		for _, r := range regs {
			if r.ID == id && id != a.id {
				victim = &r
			}
		}
		cancel()
	})
	if victim == nil {
		return outcome{Note: fmt.Sprintf("nobody to evict: %v", err)}
	}
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	return outcome{Note: fmt.Sprintf("evict %d: %v", id, a.session.Evict(ctx, *victim))}
}

// close ends the process in good order.
func (a *actor) close(ctx context.Context) error {
	if a.session != nil {
		if err := a.session.Close(ctx); err != nil {
			a.log.Debug("close the session", "error", err)
		}
	}
	if a.co != nil {
		return a.co.Close()
	}
	return nil
}

func firstSnapshot(ctx context.Context, co coordination.Coordinator) (got coordination.Event, ok bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_ = co.Watch(ctx, func(ev coordination.Event) {
		if !ok && ev.Kind == coordination.Snapshot {
			got, ok = ev, true
			cancel()
		}
	})
	return got, ok
}

func historyValues(records map[string][]byte) (values [historyKeys]string) {
	for i := range values {
		values[i] = string(records[historyKey(i)])
	}
	return values
}
