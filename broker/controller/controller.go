// Package controller decides: given what the cluster is and what happened, what must be written. It is pure: no I/O, no clock, no randomness. Package controlloop
// is its shell.
//
// The rules, for each partition:
//
//   - The leader is a live ISR member. A broker is live while its registration is present; membership belongs to (broker, data directory).
//   - A death elects and shrinks the ISR to the live members in the same step, also where only a follower died.
//   - The ISR is never empty. When no member is live there is no leader, and the last members stay in it; the first of them to return with the same directory is
//     elected, alone. A replica with another directory is in no ISR.
//   - The leader epoch grows with each change of leader, the partition epoch with each change of anything.
//   - A broker that registers again is first fenced: its old incarnation leaves every ISR, in commits of their own, before the new one is admitted. So "live and
//     in the ISR" always means this incarnation, and a controller that dies between two commits leaves nothing ambiguous.
package controller

import "github.com/regency-project/regency/broker/cluster"

// Step decides on one event. v is not changed. Admissions use v.Seq+1 as the broker epoch: the first commit of the result must be the one after v.
func Step(v *cluster.View, e Event) Result { return e.step(v) }

func refuse(err error) Result { return Result{Err: err} }
