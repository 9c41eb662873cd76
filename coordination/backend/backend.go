// Package backend is what a coordination service must offer so that package chain can build a coordination.Coordinator on it: linearizable
// reads, one guarded transaction, two watches, and a session that the service ends by itself.
//
// Keys are relative to the cluster's prefix. There are few of them, in three directories of one level:
//
//	chain            the chain record: the guard of every commit; never deleted
//	controller       ephemeral: the session that leads
//	ring/NN          the bounded ring of recent commits; slots made at bootstrap
//	brokers/ID       ephemeral registrations
//	records/KEY      controller-owned records (KEY is escaped: it contains no slash)
//
// A backend creates the directories, where its service has such a thing, when a session is opened.
package backend

import (
	"context"
	"time"

	"github.com/regency-project/regency/coordination"
)

// Directories lists the directories a service with real directories must have.
var Directories = []string{"ring", "brokers", "records"}

// Entry is a key with its value. Version is 0 for an absent key. Two different writes of one key never have the same Version (for an
// ephemeral key: two different creations never have; it need not change otherwise).
type Entry struct {
	Key     string
	Value   []byte
	Version uint64
}

// Guard holds if the key's version is Version (0: the key is absent). For a persistent key other than the chain record, which is never deleted, a service whose
// transactions cannot name a creation (ZooKeeper) may miss that the key is deleted and made again while the transaction is on its way.
type Guard struct {
	Key     string
	Version uint64
}

// OpKind is what an Op does.
type OpKind uint8

const (
	// Create makes a key that the caller knows to be absent (or guards to be).
	Create OpKind = iota + 1
	// Set overwrites a key that the caller knows to exist.
	Set
	// Delete removes a key that the caller knows to exist.
	Delete
	// CreateEphemeral makes a key that vanishes with the session.
	CreateEphemeral
	// ReplaceEphemeral takes an existing ephemeral key, whoever holds it: it becomes this session's, and the old holder's end no longer
	// removes it. The caller guards it.
	ReplaceEphemeral
)

// Op is one write of a transaction. A transaction writes no key twice. When the caller's knowledge of existence is wrong, the backend may apply the op
// or refuse the whole transaction with a conflict.
type Op struct {
	Kind  OpKind
	Key   string
	Value []byte
}

// Store is one cluster's part of a coordination service. All methods are safe for concurrent use, honour ctx (they return when it ends, even while
// disconnected), and return errors of package coordination.
type Store interface {
	Capabilities() coordination.Capabilities

	// Get reads a key, linearizable. An absent key is an Entry with Version 0 and no error.
	Get(ctx context.Context, key string) (Entry, error)

	// GetMany reads several keys, each linearizable (together they need not be one instant); absent ones have Version 0. The result is in the order of keys.
	GetMany(ctx context.Context, keys []string) ([]Entry, error)

	// List reads all entries of a directory. Each entry is at least as new as the call; together they need not be one instant.
	List(ctx context.Context, dir string) ([]Entry, error)

	// Load reads all entries of a directory between two readings of a key, linearizable, in as few requests as the service needs. It tells begun, in the calling
	// goroutine, what the key was before any entry was read, and returns what it was when all had been. So no entry is older than what begun was told, and none
	// newer than what is returned; where the service shows all at one instant the two are the same. begun is called once at least if Load succeeds; again where
	// Load had to start anew.
	Load(ctx context.Context, key, dir string, begun func(Entry)) (Entry, []Entry, error)

	// Watch calls fn, from one goroutine, with the present entry (absent: Version 0) and then after changes; several changes may be told as one, the
	// newest is always told, versions never go back. fn is called again with an unchanged entry at least every HeartbeatInterval as proof that the
	// stream is live. It blocks until ctx ends (returns ctx's error) or the stream can no longer be trusted (any other error: call again).
	Watch(ctx context.Context, key string, fn func(Entry)) error

	// WatchDir is Watch for all entries of a directory.
	WatchDir(ctx context.Context, dir string, fn func([]Entry)) error

	// OpenSession opens a new session, trying until ctx ends.
	OpenSession(ctx context.Context) (Session, error)

	Close() error
}

// HeartbeatInterval bounds the silence of a live watch.
const HeartbeatInterval = 2 * time.Second

// Session is a session at the service. Package chain renews it: a backend has no renewal loop of its own, unless its client cannot be stopped from it.
type Session interface {
	ID() string
	// Timeout is what the service granted.
	Timeout() time.Duration

	// Renew proves to the service that the session lives, once, within ctx, and returns the time until which the service provably holds it
	// (counted from before the request was sent, minus a margin; the zero time where the service gives no such bound). Errors:
	// coordination.ErrSessionLost only when the service said that the session is over; anything else is worth a retry.
	Renew(ctx context.Context) (deadline time.Time, err error)

	// Expired is closed when the client learns by itself that the session is over.
	Expired() <-chan struct{}

	// Txn applies all ops atomically if all guards hold. It is sent once, never retried inside, and only on this session: after expiry it returns
	// ErrSessionLost, after Close ErrClosed. Errors: *coordination.ConflictError (not applied; it names the guard, or has -1 where an op met a key that the caller thought
	// to be otherwise), ErrTooLarge, ErrUnavailable, ErrSessionLost (all: not applied),
	// ErrOutcomeUnknown. When in doubt it is ErrOutcomeUnknown. On success versions[i] is the new version of the key of ops[i] (0 where deleted).
	Txn(ctx context.Context, guards []Guard, ops []Op) (versions []uint64, err error)

	// Close ends the session at the service at once: its ephemeral keys are gone when it returns nil. It also releases the client's resources, even on error.
	Close(ctx context.Context) error
}

// Decorator puts something around a store: measurement, faults.
type Decorator func(Store) Store

// Decorate applies the decorators in order, so that the last is the outermost. Nil ones are skipped.
func Decorate(s Store, decorators ...Decorator) Store {
	for _, d := range decorators {
		if d != nil {
			s = d(s)
		}
	}
	return s
}
