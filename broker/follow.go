package broker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/partition"
	"github.com/regency-project/regency/coordination"
)

// watch follows the commit chain and publishes the views.
func (n *node) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	v := cluster.Empty()
	err := n.coordinator.Watch(ctx, func(e coordination.Event) {
		next, err := v.Apply(e)
		if err != nil {
			cancel(err)
			return
		}
		if next != v {
			v = next
			n.current.Set(v)
		}
	})
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// applyAgain is how long after a log or a role that could not be taken it is tried again.
const applyAgain = time.Second

// apply brings the partitions in line with each view, and with what this broker is. Views that come while it is at work are taken as one.
func (n *node) apply(ctx context.Context) error {
	for {
		v, newer := n.current.Next()
		_, other := n.member.Identity()
		self := n.self(v)
		self.Lost = other
		var again <-chan time.Time // never
		if !n.partitions.Apply(v, self) {
			again = time.After(applyAgain)
		}
		select {
		case <-again:
		case <-newer:
		case <-other:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// stepDown ends the leaderships with the registration that they came by, also while apply waits for a disk.
func (n *node) stepDown(ctx context.Context) error {
	for {
		_, other := n.member.Identity()
		n.partitions.StepDown()
		select {
		case <-other:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// self is what this broker is in the view. Without a registration that is admitted there, it leads nothing.
func (n *node) self(v *cluster.View) partition.Self {
	s := partition.Self{ID: n.cfg.ID, Epoch: -1, DirectoryUUID: n.store.DirectoryUUID()}
	if b, ok := n.member.Admitted(v); ok {
		s.Epoch, s.Leading = b.Epoch, true
	}
	return s
}

// handOverPause is between requests to take over what could not be taken over at first.
const handOverPause = 100 * time.Millisecond

// handOver gives the leaderships to other brokers, for as long as there are any that may take over within the time limit.
func (n *node) handOver(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.ShutdownTimeout)
	defer cancel()
	v := n.current.View()
	if n.self(v).Epoch < 0 || !n.others(v) {
		return
	}
	for {
		remaining, err := n.control.ControlledShutdown(ctx)
		if err != nil {
			n.log.Warn("leaderships not handed over", "error", err)
			return
		}
		if !n.takers(remaining) {
			break
		}
		select {
		case <-time.After(handOverPause):
		case <-ctx.Done():
			n.log.Warn("leaderships not handed over", "partitions", len(remaining))
			return
		}
	}
	// Our own view has to show it before the listeners close, so that clients are told where to go.
	if _, err := n.current.Wait(ctx, func(v *cluster.View) bool { return v.Brokers[n.cfg.ID].Stopping }); err != nil {
		n.log.Warn("hand-over not seen", "error", fmt.Errorf("wait for the view: %w", err))
	}
}

// others says whether any other broker could take over.
func (n *node) others(v *cluster.View) bool {
	for id, b := range v.Brokers {
		if id != n.cfg.ID && !b.Fenced && !b.Stopping {
			return true
		}
	}
	return false
}

// takers says whether any of the partitions has a replica that may get in sync and take over.
func (n *node) takers(tps []cluster.TopicPartition) bool {
	v := n.current.View()
	return slices.ContainsFunc(tps, func(tp cluster.TopicPartition) bool {
		p, _ := v.Partition(tp)
		return slices.ContainsFunc(p.Replicas, func(id int32) bool {
			return id != n.cfg.ID && v.Live(id) && !v.Brokers[id].Stopping
		})
	})
}
