// Package coordination is the agreement that a cluster of processes needs, and nothing about Kafka: who is a member (sessions and
// registrations), who decides (leadership with an epoch that only grows), and what was decided (a chain of fenced commits that every
// process watches in order).
//
// A Coordinator is opened by a backend package (embedded, etcd, zookeeper, consul, memory). The backends implement the small interface
// of package backend; the rules of this contract are implemented once, in package chain.
//
// # The commit chain
//
// All controller-owned state is a set of records (key → bytes). It changes only by commits; each has a sequence number, and the numbers
// are dense: 1, 2, 3 … for the life of the cluster (its lineage). A claim of leadership is a commit too (it changes no record). One key
// of the store, the chain record, carries {lineage, epoch, seq, request id} and every commit is guarded on it: that one guard is the
// fence, the total order, and, through the request id, what makes a commit exactly-once when its answer was lost.
//
// So no safety rests on time. A leader that was stopped for an hour, or whose packets were, commits nothing after its successor's claim,
// because the version of the chain record is another. Sessions and their timeouts decide only how soon somebody else may try.
//
// # Words
//
//	session       a lease on existence, renewed by the process, ended by the service
//	registration  what a session's process tells about itself; gone with the session
//	leadership    the right to commit; taken by a claim that makes the epoch one greater
//	epoch         number of the term, int32, dense, never used twice
//	seq           number of the commit, uint64, dense, never used twice
//	lineage       UUID of the chain, made at bootstrap; a store with another is another cluster
//	record        controller-owned state under a key
//	ring          the newest 64 commits in full, so that a watcher that was away for a moment needs no new snapshot
//
// # What a session's state means
//
// Valid: the service provably holds the session at this moment, counted from before the newest successful renewal was sent. Suspect: that proof has
// run out; the session may live, and it is renewed on. Lost: the service said that it is over, or the registration was taken away. A Suspect
// process starts nothing (no claim, no commit) but goes on serving what it already leads: that is safe because of the fences, and it is what keeps a
// data plane up while the coordination service is down. Only Lost ends an identity, and no new session is ever opened silently.
//
// Where a service gives no lower bound on a session's life (Capabilities.ProvableDeadline is false), Valid is an assumption: the asked timeout. Nothing
// but availability depends on it.
//
// # What became of a request
//
// Three answers, never mixed up: applied (nil), not applied (ErrConflict, ErrFenced, ErrTooLarge, ErrSessionLost, ErrUnavailable), and unknown (ErrOutcomeUnknown).
// A Commit whose answer was lost is settled by the next one: the chain record's request id says that it was applied; else a no-op commit takes its
// sequence number, after which it can never apply; if others have committed since, the ring says; if the ring has moved on, the answer is ErrFenced together
// with ErrOutcomeUnknown, and the watch tells. Claims and registrations with lost answers are recognized by their request id and incarnation.
//
// # Writing a backend
//
// A backend is a backend.Store: linearizable reads, one guarded transaction, two watches, and a session that the service ends by itself. Etcd's is the
// shortest to read; memory's is the model. What every one had to answer:
//
//  1. Version. Which number of the service is unique for every write of a key, also across deletion and re-creation? (etcd: mod revision; ZooKeeper: the zxid, since
//     the data version restarts; Consul: the modify index.) For an ephemeral key, which tells two creations apart?
//  2. Transaction. It is sent once. Which failures prove that it was not applied? A connection refused does; a connection lost after the request was written, a
//     timeout, a leader that changed do not: they are ErrOutcomeUnknown. Client libraries that retry writes inside must be stopped from it. It must fail with
//     ErrSessionLost when the session is over, even if it touches nothing ephemeral: the session is a guard of every transaction.
//  3. Linearizable read. Which read cannot be answered by a deposed leader or a lagging member? (ZooKeeper's sync can: a write before the read cannot.)
//  4. Renewal. What does the service count a session's life from, and what can a client prove about it? A heartbeat that a follower answers proves nothing.
//     Each try has its own short limit and goes to another member than the last one that failed: one silent member must not cost the session.
//  5. Expiry. When does the service tell, and can the client library open a new session by itself? It must not.
//  6. Watch. How does a stream that is silently dead differ from a quiet one? fn is called at least every backend.HeartbeatInterval with proof from
//     the service; a stream without it is abandoned. After a reconnection to another member, versions never go back.
//  7. Limits. How many operations and bytes does a transaction take, and is more refused before it is applied? Capabilities says what is left for a commit.
//  8. Granted ≠ asked. Services lengthen and clamp timeouts silently: Session.Timeout is what was granted.
//
// Then: package backendtest holds the promises of backend.Store as tests (Run), coordtest those of this package; both are a few lines to call, and are run against a real
// ensemble of three, with its links cut and its members killed: see package ensembletest. A difference that cannot be closed becomes a field of Capabilities with a
// test on either side of it, never a test on the backend's name. Settings go to package profile with the source of each constant and the detection window by formula;
// the URL's keys are read by package backend/options, so that they are the same everywhere.
package coordination
