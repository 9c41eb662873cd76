package coordination

import (
	"context"
	"time"
)

// Coordinator is one process's access to the coordination of one cluster. It is safe for concurrent use.
type Coordinator interface {
	// Capabilities says what this backend can promise. It does not change.
	Capabilities() Capabilities

	// Status reads the head of the commit chain (linearizable). Exists is false for a store that was never bootstrapped.
	// It fails with ErrUnavailable while the service cannot answer.
	Status(ctx context.Context) (Status, error)

	// OpenSession opens a new session. It waits for the service until ctx ends. It never writes cluster state: see Session.Bootstrap.
	OpenSession(ctx context.Context, o SessionOptions) (Session, error)

	// Watch calls fn, from one goroutine, with a Snapshot and then every Delta in sequence order, without a gap. When a gap cannot be
	// filled it calls fn with Resync, and a Snapshot follows. Alive is delivered at least every few seconds while the stream is proven live.
	// A sequence number never goes back. Watch survives disconnection; it returns only when ctx ends (ctx's error), when the store's
	// lineage changed (ErrLineage), or when the coordinator was closed (ErrClosed). Before bootstrap it waits.
	Watch(ctx context.Context, fn func(Event)) error

	// WatchRegistrations calls fn with the complete set of present registrations, first at once and then after every change (several
	// changes may be told as one). The first set is at least as new as the call, and no set is older than the one before; how far a later one is behind
	// has no bound but the detection of a dead stream. So who must know at least what was at some moment begins a watch after it: a new leader at its claim.
	// It returns only when ctx ends or the coordinator was closed.
	WatchRegistrations(ctx context.Context, fn func([]Registered)) error

	// Close releases the connection. Open sessions are not ended at the service (close them first): they expire.
	Close() error
}

// Session is a lease on existence: what it registers vanishes when the service says that the session is over.
type Session interface {
	ID() string
	// Timeout is what the service granted.
	Timeout() time.Duration
	// State is evaluated at the call: a process that was stopped past its deadline reads Suspect at once, before any timer ran.
	State() State
	// Watch calls fn with the present state and then with every change until ctx ends or the session is Lost (fn sees Lost last).
	Watch(ctx context.Context, fn func(State))
	// Done is closed when the session is Lost or was closed; Err then says why: ErrSessionLost (wrapped) or ErrClosed.
	Done() <-chan struct{}
	Err() error

	// Bootstrap makes the chain of a new cluster if there is none, and returns the status either way. Any number of processes may race.
	Bootstrap(ctx context.Context) (Status, error)

	// Register makes the process's ephemeral registration. A registration of the same id and the same DirectoryUUID (this broker's earlier
	// incarnation: the caller holds the data directory's lock) is replaced atomically; another's is ErrDuplicateID, and the text names the holder.
	// A lost answer is resolved inside. Losing the registration (expired, evicted, replaced) ends the session as Lost.
	Register(ctx context.Context, r Registration) (Registered, error)

	// Evict revokes another broker's identity, if its registration still is the given revision; ErrConflict otherwise. One transaction deletes the
	// registration and, where that incarnation holds it, the controllership: the others' campaigns then go on exactly as after its session's expiry,
	// with the next epoch, and whatever it still sends as the controller is fenced as soon as one of them has claimed. Its session hears of it as Lost.
	// Any session may evict, registered or not, for whatever reason it has: an eviction of a living broker costs a failover, never safety.
	Evict(ctx context.Context, r Registered) error

	// Campaign waits until this session leads, and returns the leadership; it needs Register first. It ends early with ctx's error or,
	// wrapped, ErrSessionLost. While Suspect it waits and claims nothing.
	Campaign(ctx context.Context) (Leadership, error)

	// Usurp takes the leadership from the holder of the given epoch without waiting for its session. ErrConflict if that epoch is over.
	Usurp(ctx context.Context, epoch int32) (Leadership, error)

	// Close ends the session at the service, at once: its registration and leadership are gone when it returns nil.
	Close(ctx context.Context) error
}

// Leadership is one term as the controller. All its writes are fenced: after a successor's claim none applies.
type Leadership interface {
	// Epoch is the controller epoch of this term: dense, grows by one per claim, never reused.
	Epoch() int32
	// Seq is the sequence number of the claim. A new leader decides nothing before its view of the chain has reached it.
	Seq() uint64
	// Commit applies all mutations atomically, or none, as the next commit of the chain, and returns its sequence number.
	// Calls are serialized. Errors: ErrFenced (not applied; the term is over), ErrOutcomeUnknown (the commit may or may not have been
	// applied: the next Commit settles it first, and the watch tells), ErrTooLarge (not applied), ErrUnavailable (not applied: the
	// session is Suspect or the service refused), ErrLineage (the store was emptied, replaced or set back: the term is over and what it wrote is not in
	// that store), ErrSessionLost or ErrClosed (not applied; the term is over with its session). ErrFenced together with ErrOutcomeUnknown: the term
	// is over and the ring no longer says. No other two come together: the text of ErrOutcomeUnknown names its cause, errors.Is does not find it.
	Commit(ctx context.Context, m []Mutation) (uint64, error)
	// Done is closed when the term is over. Err says why, wrapped: ErrFenced (by a successor, or resigned), ErrSessionLost, ErrClosed (the session or the
	// coordinator was closed), or ErrLineage (the store was emptied, replaced by another's or set back). It is nil before.
	Done() <-chan struct{}
	Err() error
	// Resign gives the leadership up at once; the next candidate need not wait for the session. A commit that is under way is cut off, and
	// Resign waits, up to two seconds and whatever ctx says, for it to find out what became of it. Once Resign returned nil, none of this term applies any
	// more. After an error it may be called again.
	Resign(ctx context.Context) error
}

// SessionOptions are the caller's wishes for a session.
type SessionOptions struct {
	// Healthy, when set, is asked before each renewal; an error lets the session lapse (a broker whose disk hangs must not hold its
	// registration). It must not block.
	Healthy func() error
}

// Status is the head of the commit chain.
type Status struct {
	Exists  bool
	Lineage string // UUID made at bootstrap; also the cluster id
	Epoch   int32
	Seq     uint64
	Holder  int32 // broker id of the newest claim, -1 before the first
}

// Registration is what a process tells about itself; the service keeps it for as long as the session lives.
type Registration struct {
	ID            int32  `json:"id"`
	DirectoryUUID string `json:"directory_uuid"`
	Incarnation   string `json:"incarnation"` // UUID of this process's session; set by Register when empty
	Attributes    []byte `json:"attributes,omitempty"`
	Host          string `json:"host,omitempty"` // for messages to people
	PID           int    `json:"pid,omitempty"`
}

// Registered is a registration as the service holds it. Revision identifies it among all registrations ever made under its id.
type Registered struct {
	Registration
	Revision uint64
}

// Mutation sets a record (Value != nil) or deletes it (Value == nil; deleting what is absent is allowed).
type Mutation struct {
	Key   string
	Value []byte
}

// EventKind tells the events of a watch apart.
type EventKind uint8

const (
	Snapshot EventKind = iota + 1 // Records is the whole state at Seq
	Delta                         // Mutations made Seq out of Seq−1
	Resync                        // the stream has a gap; a Snapshot follows
	Alive                         // the stream is live; nothing changed
)

func (k EventKind) String() string {
	switch k {
	case Snapshot:
		return "snapshot"
	case Delta:
		return "delta"
	case Resync:
		return "resync"
	case Alive:
		return "alive"
	}
	return "unknown"
}

// Event is one step of a watch. Its maps and slices belong to the receiver and are never changed afterwards.
type Event struct {
	Kind      EventKind
	Lineage   string
	Seq       uint64
	Epoch     int32
	Holder    int32 // who leads at Seq, by the newest claim
	Records   map[string][]byte
	Mutations []Mutation
}

// State of a session.
type State uint8

const (
	// Valid: the service provably holds the session, by the send time of the last renewal that succeeded.
	Valid State = iota + 1
	// Suspect: the provable deadline has passed. The session may be alive; it is still renewed, and may become Valid again. A Suspect
	// holder makes no decision; what it already leads, it goes on serving.
	Suspect
	// Lost: the service said that it is over, or the registration is gone. Final.
	Lost
)

func (s State) String() string {
	switch s {
	case Valid:
		return "valid"
	case Suspect:
		return "suspect"
	case Lost:
		return "lost"
	}
	return "unknown"
}

// Capabilities are the typed differences between backends; tests and callers branch on them, never on a name.
type Capabilities struct {
	Backend string // for people and reports only
	// MinTimeout is the shortest session the service grants; Granularity the step to which it rounds.
	MinTimeout, Granularity time.Duration
	// ProvableDeadline: State turns Suspect before the service can have ended the session.
	ProvableDeadline bool
	// WakingServerEndsSessions: a server that led the service, was stopped for longer than a session's timeout and goes on, may end sessions that
	// are renewed and within their deadline, before it learns of its successor. (A process that is told so steps down as ever: nothing is unsafe.)
	WakingServerEndsSessions bool
	// CrossProcess: several processes can share it.
	CrossProcess bool
	// Persistent: the store survives the end of all its processes.
	Persistent bool
	// MaxCommitBytes bounds the sum of keys and values of one Commit, net of the chain's own writes; MaxCommitMutations their number.
	MaxCommitBytes, MaxCommitMutations int
}
