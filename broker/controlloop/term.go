package controlloop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/controller"
	"github.com/regency-project/regency/coordination"
)

type request struct {
	event  controller.Event
	answer chan answer // capacity 1: the term never waits for a requester
}

type answer struct {
	reply any
	err   error
}

// term is one leadership. Its fields belong to the goroutine of serve, but for queue and done.
type term struct {
	l          *Loop
	leadership coordination.Leadership
	queue      chan request
	done       chan struct{} // closed when nothing is taken from the queue any more
	roster     *roster

	// view follows our own commits, without waiting for the watch to tell of them: nobody else commits in our epoch.
	view *cluster.View
	// unsettled: a commit's outcome is not known, so view may be behind.
	unsettled bool
	// present must be stepped; collect: orphans may be there.
	registrations, collect bool
	// leftOut: a record too large to commit was left out of the last decision on registrations.
	leftOut          bool
	retry, rebalance *time.Timer
	rebalancing      bool // rebalance is armed
}

// serve leads for one term. It returns nil when the term is over, an error when this broker must not go on.
func (l *Loop) serve(ctx context.Context, leadership coordination.Leadership) error {
	ctx, cancel := context.WithCancelCause(ctx)
	known := newRoster()
	var watching sync.WaitGroup
	watching.Go(func() { known.follow(ctx, l.cfg) })
	defer watching.Wait()
	defer cancel(nil)
	go func() { // ends with the term or with serve
		select {
		case <-leadership.Done():
			cancel(leadership.Err())
		case <-ctx.Done():
		}
	}()
	t := &term{
		l: l, leadership: leadership, queue: make(chan request, queueSize), done: make(chan struct{}),
		roster: known, registrations: true, collect: true, retry: stopped(), rebalance: stopped(),
	}
	l.cfg.Events.Emit("controller.claimed", "epoch", leadership.Epoch(), "seq", leadership.Seq())
	l.cfg.Log.Info("controller leadership claimed", "epoch", leadership.Epoch(), "seq", leadership.Seq())
	l.setTerm(t)
	err := t.lead(ctx)
	l.setTerm(nil)
	close(t.done)
	return t.end(ctx, err)
}

func stopped() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// end tells why the term is over, and gives it up if it is not.
func (t *term) end(ctx context.Context, err error) error {
	reason := t.leadership.Err()
	if reason == nil {
		reason = err
		rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resignTimeout)
		defer cancel()
		if err := t.leadership.Resign(rctx); err != nil {
			t.l.cfg.Log.Warn("controller leadership not resigned", "epoch", t.leadership.Epoch(), "error", err)
		}
	}
	t.l.cfg.Events.Emit("controller.lost", "epoch", t.leadership.Epoch(), "reason", fmt.Sprint(reason))
	t.l.cfg.Log.Info("controller leadership over", "epoch", t.leadership.Epoch(), "reason", reason)
	if ctx.Err() != nil {
		return nil // Campaign says why, if it concerns more than this term
	}
	return err
}

// lead loads and then decides until ctx, which ends with the term, is over.
func (t *term) lead(ctx context.Context) error {
	v, err := t.l.cfg.Current.Wait(ctx, func(v *cluster.View) bool { return v.Seq >= t.leadership.Seq() })
	if err != nil {
		return err
	}
	t.view = v
	t.l.cfg.Events.Emit("controller.loaded", "epoch", t.leadership.Epoch(), "seq", v.Seq)
	for {
		if err := t.decide(ctx); err != nil {
			return err
		}
		t.armRebalance()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.roster.changed:
			t.registrations = true
		case <-t.retry.C:
		case <-t.rebalance.C:
			t.rebalancing = false
			if _, err := t.run(ctx, controller.Rebalance{}); fatal(err) {
				return err
			}
		case r := <-t.queue:
			if err := t.answer(ctx, r); err != nil {
				return err
			}
		}
	}
}

// decide does what comes before any request: settle, registrations, orphans.
func (t *term) decide(ctx context.Context) error {
	select {
	case <-t.roster.changed:
		t.registrations = true
	default:
	}
	err := t.settle(ctx)
	if present, known := t.roster.present(); err == nil && known && t.registrations {
		if _, err = t.run(ctx, controller.RegistrationsChanged{Present: present}); err == nil {
			t.registrations = false
		}
	}
	if err == nil && t.collect {
		if _, err = t.run(ctx, controller.CollectOrphans{}); err == nil {
			t.collect = false
		}
	}
	if err != nil && !fatal(err) && ctx.Err() == nil {
		t.l.cfg.Log.Warn("controller decision not committed", "epoch", t.leadership.Epoch(), "error", err)
		t.retry.Reset(retryPause)
		return nil
	}
	return err
}

// answer serves one request; the error is for the term, not for the requester.
func (t *term) answer(ctx context.Context, r request) error {
	reply, err := t.run(ctx, r.event)
	r.answer <- answer{reply, err}
	if t.leftOut && err == nil { // the event may have been the deletion of what stood in the way
		t.leftOut, t.registrations = false, true
	}
	if fatal(err) {
		return err
	}
	return nil
}

// run steps an event until it has no further part, and commits each part. An error after the first of a step's commits is ErrUnsettled: a
// part of the decision is there.
func (t *term) run(ctx context.Context, e controller.Event) (any, error) {
	if t.unsettled {
		return nil, fmt.Errorf("an earlier commit is not settled: %w", coordination.ErrUnavailable)
	}
	for {
		r := controller.Step(t.view, e)
		if r.Err != nil {
			return nil, r.Err
		}
		ms, err := t.fit(e, r.Mutations)
		if err != nil {
			return nil, err
		}
		batches, err := split(ms, t.l.cfg.Coordinator.Capabilities())
		if err != nil {
			return nil, err
		}
		for i, batch := range batches {
			if err := t.commit(ctx, batch); err != nil {
				t.collect = t.collect || i > 0
				return nil, partly(i > 0, err)
			}
		}
		if !r.Again || len(batches) == 0 { // a further part of nothing would be the same again
			return r.Reply, nil
		}
	}
}

func partly(begun bool, err error) error {
	if begun {
		return fmt.Errorf("%w: a part was committed: %w", ErrUnsettled, err)
	}
	return err
}

// fit keeps the records within what one commit takes. New ones must leave room to grow: fencing and elections write them again, with more in them. One that
// outgrew the limit all the same must not keep every other broker from being fenced, so it is left out of that decision; brokers are not admitted while it lasts,
// because its in-sync replicas are not settled.
func (t *term) fit(e controller.Event, ms []coordination.Mutation) ([]coordination.Mutation, error) {
	limit := t.l.cfg.Coordinator.Capabilities().MaxCommitBytes
	switch e.(type) {
	case controller.CreateTopic, controller.CreatePartitions:
		for _, m := range ms {
			if n := sizeOf(m); n > limit/2 {
				return nil, fmt.Errorf("record %s of %d bytes, want at most %d to leave room: %w", m.Key, n, limit/2, coordination.ErrTooLarge)
			}
		}
	case controller.RegistrationsChanged:
		return slices.DeleteFunc(slices.Clone(ms), func(m coordination.Mutation) bool {
			n := sizeOf(m)
			if n > limit {
				t.leftOut = true
				t.l.cfg.Log.Error("record is too large for a commit and left as it is", "epoch", t.leadership.Epoch(), "key", m.Key, "bytes", n, "limit", limit)
			}
			return n > limit
		}), nil
	}
	return ms, nil
}

func sizeOf(m coordination.Mutation) int { return len(m.Key) + len(m.Value) }

func (t *term) commit(ctx context.Context, ms []coordination.Mutation) error {
	seq, err := t.leadership.Commit(ctx, ms)
	switch {
	case err == nil:
		return t.advance(ctx, seq, ms)
	case errors.Is(err, coordination.ErrOutcomeUnknown):
		t.unsettled, t.registrations, t.collect = true, true, true
		return fmt.Errorf("%w: %w", ErrUnsettled, err)
	case errors.Is(err, coordination.ErrFenced), errors.Is(err, coordination.ErrSessionLost), errors.Is(err, coordination.ErrLineage), errors.Is(err, coordination.ErrClosed):
		return fmt.Errorf("%w: %w", ErrNotController, err)
	}
	return err
}

// settle finds out where the chain is after a commit with an unknown outcome: the next commit settles that one, and our watch tells the rest.
func (t *term) settle(ctx context.Context) error {
	if !t.unsettled {
		return nil
	}
	seq, err := t.leadership.Commit(ctx, nil)
	if err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	if err := t.reload(ctx, seq); err != nil {
		return err
	}
	t.unsettled = false
	return nil
}

func (t *term) advance(ctx context.Context, seq uint64, ms []coordination.Mutation) error {
	old := t.view
	if seq == old.Seq+1 {
		v, err := old.Apply(coordination.Event{
			Kind: coordination.Delta, Lineage: old.ClusterID, Seq: seq, Epoch: old.Epoch, Holder: old.Controller, Mutations: ms,
		})
		if err != nil {
			return fmt.Errorf("%w: %w: %w", ErrUnsettled, errBrokenView, err)
		}
		t.view = v
	} else if err := t.reload(ctx, seq); err != nil { // no-ops lie between
		t.unsettled = true
		return fmt.Errorf("%w: %w", ErrUnsettled, err)
	}
	if leaders, brokers := moved(old, t.view); leaders > 0 || len(brokers) > 0 {
		t.l.cfg.Events.Emit("controller.committed", "epoch", t.leadership.Epoch(), "seq", seq, "leaders", leaders, "brokers", brokers)
	}
	return nil
}

func (t *term) reload(ctx context.Context, seq uint64) error {
	v, err := t.l.cfg.Current.Wait(ctx, func(v *cluster.View) bool { return v.Seq >= seq })
	if err == nil {
		t.view = v
	}
	return err
}

// errBrokenView: our own decision cannot be applied to our own view. Going on would spread the damage.
var errBrokenView = errors.New("committed decision cannot be applied")

func fatal(err error) bool { return errors.Is(err, errBrokenView) }

// armRebalance starts the wait when leadership could go back to preferred replicas, and stops it when something else is about to change.
func (t *term) armRebalance() {
	if t.l.cfg.RebalanceDelay < 0 {
		return
	}
	wants := controller.WantsRebalance(t.view)
	switch {
	case wants && !t.rebalancing:
		t.rebalance.Reset(t.l.cfg.RebalanceDelay)
	case !wants && t.rebalancing:
		t.rebalance.Stop()
	}
	t.rebalancing = wants
}

// split cuts mutations into commits that the backend can take.
func split(ms []coordination.Mutation, c coordination.Capabilities) ([][]coordination.Mutation, error) {
	var batches [][]coordination.Mutation
	first, size := 0, 0
	for i, m := range ms {
		n := sizeOf(m)
		if n > c.MaxCommitBytes {
			return nil, fmt.Errorf("record %s of %d bytes: %w", m.Key, n, coordination.ErrTooLarge)
		}
		if size += n; size > c.MaxCommitBytes || i-first == c.MaxCommitMutations {
			batches = append(batches, ms[first:i])
			first, size = i, n
		}
	}
	if first < len(ms) {
		batches = append(batches, ms[first:])
	}
	return batches, nil
}

// moved counts the partitions that got a new leader, and lists the brokers that lost one.
func moved(old, v *cluster.View) (leaders int, brokers []int32) {
	from := map[int32]bool{}
	for name, t := range v.Topics {
		was := old.Topics[name]
		if was == t {
			continue // untouched topics are shared between views
		}
		for i, p := range t.Partitions {
			before := cluster.NoLeader
			if was != nil && was.ID == t.ID && i < len(was.Partitions) {
				if was.Partitions[i].LeaderEpoch == p.LeaderEpoch {
					continue
				}
				before = was.Partitions[i].Leader
			}
			if p.Leader != cluster.NoLeader {
				leaders++
			}
			if before != cluster.NoLeader {
				from[before] = true
			}
		}
	}
	return leaders, append([]int32{}, slices.Sorted(maps.Keys(from))...)
}
