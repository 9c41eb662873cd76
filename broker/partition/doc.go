// Package partition is the state of the replicas that this broker holds: who leads, in which epoch, how far the replicas are, what is committed.
//
// A Set applies each View of the cluster to its Partitions. On the leader, a Partition appends what producers send, follows its followers by their fetches,
// moves the high watermark, and proposes changes of the ISR to the controller; it never changes the ISR by itself. On a follower it appends what the leader
// sends and truncates by leader epoch alone (KIP-101, KIP-279).
//
// Locks, in the order in which they may be taken:
//
//	Set.applying    one Apply at a time
//	Partition.disk  what changes the log; held across disk operations
//	Partition.mu    the replica's state; never held across anything that waits
//
// so that a stalled disk delays appends but not the loss of leadership.
package partition
