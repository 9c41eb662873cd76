package mutation

import (
	"slices"
	"time"

	"github.com/regency-project/regency/bench/check"
	"github.com/regency-project/regency/bench/probe"
	"github.com/regency-project/regency/bench/timeline"
)

const victim = 1

// fault is done to a cluster under load. whole is how long to wait for the cluster to be whole again.
type fault func(w *world, whole time.Duration)

// none lets the load run.
func none(w *world, _ time.Duration) { w.pass(3 * time.Second) }

// tail makes a leader's log end in what no follower has, and lets its successors go on in its place before it comes back.
func tail(w *world, whole time.Duration) {
	parts := w.led(victim)
	w.freeze(2)
	w.freeze(3)
	w.tempt(victim, parts, 500*time.Millisecond)
	w.kill(victim)
	w.resume(2)
	w.resume(3)
	w.succeeded(victim)
	w.pass(2 * time.Second) // their logs grow beyond its
	w.restart(victim)
	w.heal(whole)
}

// zombie freezes a leader until it has successors.
func zombie(w *world, whole time.Duration) {
	parts := w.led(victim)
	w.freeze(victim)
	w.succeeded(victim)
	w.resume(victim)
	accepted := w.tempt(victim, parts, 500*time.Millisecond)
	rightful := slices.ContainsFunc(w.view(victim).Partitions, func(p timeline.PartitionRole) bool {
		return p.Leader == victim && slices.ContainsFunc(parts, func(t probe.Target) bool { return t.Topic == p.Topic && t.Partition == p.Partition })
	})
	if accepted > 0 && !rightful { // or else it leads again
		w.found = append(w.found, check.Violation{Check: check.ZombieWrite, Detail: "a deposed leader accepted writes"})
	}
	w.heal(whole)
}

// stall freezes a follower for longer than a request waits, and not so long that it is taken for dead for good.
func stall(w *world, whole time.Duration) {
	w.freeze(2)
	w.pass(1500 * time.Millisecond)
	w.resume(2)
	w.heal(whole)
}

// power takes the only replica of a topic away for a moment.
func power(w *world, whole time.Duration) {
	w.kill(victim)
	w.restart(victim)
	w.heal(whole)
}

// everything takes all replicas away at once.
func everything(w *world, whole time.Duration) {
	w.kill(1, 2, 3)
	w.restart(1, 2, 3)
	w.heal(whole)
}
