// Package mutation tests the harness: a check that never fails proves nothing. Programs that break one promise each are built with the tag regency_mutation,
// run as a small cluster, and given the fault that exposes them; the check that is named for each must find it. The same faults on the program without a
// mutation must leave nothing to find. The ordinary program has none of this.
//
//	mutation               what it breaks                                                  fault            check
//	ack-early              acks=all is answered when the leader alone has the record       tail             acknowledged-lost
//	isr-never-waits        the high watermark waits for no follower of the ISR             tail             acknowledged-lost
//	read-uncommitted       consumers are given what is not replicated                      tail             reads-differ
//	no-truncation          a follower goes on from its own end, whatever its epochs        tail             replicas-differ
//	no-sync                what was acknowledged is in memory alone                        power            acknowledged-lost
//	truncate-to-watermark  a log is cut to the high watermark that it remembers            everything       acknowledged-lost
//	no-fencing             a deposed leader goes on                                        zombie           zombie-write
//	producer-forgotten     a retry is appended again                                       stall            duplicate
//	corrupt                a bit flips before the checksum is made                         none             corrupt
//	corrupt-replica        the same at a follower                                          none             replicas-differ
//	offset-twice           an offset is acknowledged twice                                 none             offset-twice
//	reordered              two batches of one record change places                         none             order
//
// The faults: tail freezes the followers while a leader is written to, kills it, lets them go on and starts it again. power kills the only replica.
// everything kills all brokers at once. zombie freezes a leader until another one leads, and tempts it. stall freezes a follower for longer than a request waits.
package mutation
