// Package replication keeps the replicas that this broker follows up to date: one fetch loop per leader, with one connection, which asks for all partitions of that
// leader in one long poll, appends what comes, waits for the disk, and asks again. The offset of the next fetch tells the leader what is on this broker's disk.
//
// A loop ends when this broker follows nothing of its leader any more. It does not decide anything: what to follow comes from partition.Set, and so does what an
// answer means for a log.
package replication
