// Package group coordinates consumer groups, by Kafka's classic protocol, and keeps their committed offsets.
//
// Group is the state machine: Group.Step takes an event and the time, changes the group and says what is to be done. It reads no clock and does no I/O. A shard
// is its shell for one partition of the internal topic: the broker that leads a partition coordinates the groups that hash to it. Manager starts a shard when
// leadership begins and stops it when it ends.
//
//	                 ┌────────────── member joins ─────────────┐
//	                 ▼                                         │
//	Empty ──► PreparingRebalance ──► CompletingRebalance ──► Stable
//	  ▲          │      ▲  all joined,      │  leader's assignment
//	  └─ nobody ─┘      │  or timeout       │  is committed
//	                    └── joins, leaves, expiries ──┘
//
// What a group is survives in the internal topic, in Kafka's own formats so that Kafka's tools read it: an offset is a record (OffsetCommitKey v1,
// OffsetCommitValue v3), and so is a group's generation with its members and assignments (GroupMetadataKey v2, GroupMetadataValue v3); a null value deletes.
// Nothing is acknowledged before all in-sync replicas have its record, under the leadership that took the request. A new coordinator reads the partition from
// start to end before it answers anything.
package group
