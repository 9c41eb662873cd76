package zookeeper

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/regency-project/regency/coordination/backend/options"
)

// maxCalls bounds the goroutines that wait in the library on one link. The library's calls take no context and block while it is
// disconnected, so an abandoned call keeps its goroutine until the connection is back or over.
const maxCalls = 256

// leash is the part of the session timeout for which a renewed link goes on without a renewal. It is above every sensible renewal interval (at most
// half the timeout), and below 2/3, when the library misses the pings that we do not send and connects again.
const leash = 0.6

// link is one zk.Conn for one session of the service, and never for a second one: the library answers an expiry by silently opening a
// new session and running what was queued in it. Its event callback runs synchronously before it dials again, so a link that is
// marked expired there refuses that dial, and no operation can ever reach the new session.
//
// A renewed link carries a session of the contract, which must lapse when nobody renews it. The library's pings and reconnections would keep it:
// the pings are not sent, and a connection is made only if a renewal was tried lately.
type link struct {
	request time.Duration
	tls     *tls.Config
	files   options.TLS
	logger  *slog.Logger
	renewed bool
	onNode  func(zk.Event) // a watch fired, or will not fire any more; must not block
	hosts   *hosts

	conn  *zk.Conn
	calls chan struct{} // one element per running call
	jobs  chan func()   // to an idle worker

	// over is closed when no call can succeed any more; expired says that the service ended the session.
	over    chan struct{}
	wanted  chan struct{} // capacity 1: a renewal was tried
	expired chan struct{}
	endOnce sync.Once
	made    chan struct{} // closed once conn is set

	auth struct {
		sync.Mutex
		done bool // the library knows our credentials
	}

	mu struct {
		sync.Mutex
		up          chan struct{} // closed while a handshaken connection exists
		wire        *wire
		connectedAt time.Time       // before the handshake of the present connection was sent
		incarnation uint64          // counts handshaken connections
		granted     time.Duration   // session timeout
		renewal     time.Time       // when one was tried last; zero before the first
		silences    int             // requests in a row that got no answer in time
		failure     error           // why the last try to connect failed; nil once connected
		apart       time.Time       // since when no connection is handshaken
		refusedBy   map[string]bool // servers that gave a fault since then
	}
}

// newLink starts connecting.
func newLink(cfg Config, t *tls.Config, logger *slog.Logger, renewed bool, onNode func(zk.Event)) (*link, error) {
	l := &link{
		request: cfg.Request, tls: t, files: cfg.TLS, logger: logger, renewed: renewed, onNode: onNode, wanted: make(chan struct{}, 1),
		calls: make(chan struct{}, maxCalls), jobs: make(chan func()), over: make(chan struct{}), expired: make(chan struct{}), made: make(chan struct{}),
	}
	l.mu.up = make(chan struct{})
	l.mu.apart, l.mu.refusedBy = time.Now(), map[string]bool{}
	l.hosts = &hosts{stopped: l.over}
	conn, _, err := zk.Connect(cfg.Hosts, cfg.Session,
		zk.WithHostProvider(l.hosts),
		zk.WithDialer(func(_, address string, _ time.Duration) (net.Conn, error) { return l.dial(address) }),
		zk.WithEventCallback(l.event),
		zk.WithLogger(clientLog{logger}),
		zk.WithMaxBufferSize(maxResponse),
	)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	l.conn = conn
	close(l.made)
	return l, nil
}

// clientLog is the library's logger: what it says concerns single connections, which come and go.
type clientLog struct{ logger *slog.Logger }

func (c clientLog) Printf(format string, args ...any) {
	c.logger.Debug("zookeeper client", "detail", fmt.Sprintf(format, args...))
}

func (l *link) dial(address string) (net.Conn, error) {
	if err := l.hosts.pace(); err != nil {
		return nil, err
	}
	if err := l.awaitRenewal(); err != nil {
		return nil, err
	}
	// The first handshake makes a session, which costs the service a write on a quorum; a later one runs against the session's clock.
	limit := time.Second
	l.mu.Lock()
	if l.mu.incarnation > 0 {
		limit = l.request
	}
	l.mu.Unlock()
	deadline := time.Now().Add(limit)
	conn, err := dial(address, limit, l.tls)
	if err != nil {
		err = fmt.Errorf("connect %s: %w", address, l.files.Explain(err))
		l.failed(address, err)
		return nil, err
	}
	if l.tls != nil {
		conn = options.Conn{Conn: conn, Files: l.files, OnFault: func(err error) { l.failed(address, fmt.Errorf("connect %s: %w", address, err)) }}
	}
	w := &wire{Conn: conn, handshakeEnds: deadline, mute: l.renewed}
	l.mu.Lock()
	l.mu.wire = w
	l.mu.connectedAt = time.Now()
	l.mu.Unlock()
	return w, nil
}

// failed keeps why a try to connect failed. A refusal is not overwritten by what follows from it, nor by a server that is down beside it.
func (l *link) failed(address string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if options.AsFault(err) != nil {
		l.mu.refusedBy[address] = true
	}
	if options.AsFault(l.mu.failure) == nil {
		l.mu.failure = err
	}
}

// fault says that a setting keeps the link from ever connecting: every server was tried twice, none took us, and all said why, or one did and the others
// have had the time to.
func (l *link) fault() *options.Fault {
	rounds := l.hosts.rounds()
	l.mu.Lock()
	defer l.mu.Unlock()
	if rounds < 2 || !l.hosts.all(l.mu.refusedBy) && time.Since(l.mu.apart) < options.FaultPatience {
		return nil
	}
	return options.AsFault(l.mu.failure)
}

// shutOutRounds is about two seconds of asking every server in turn.
const shutOutRounds = 10

// shutOut says that the link was connected once, and that no server takes it any more. It may never be taken again: a server closes the connection of a client that
// has seen a later transaction than itself, which after the restore of a backup all servers do for good. A link without a past is let in.
func (l *link) shutOut() bool {
	rounds := l.hosts.rounds()
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.mu.up:
		return false
	default:
		return l.mu.incarnation > 0 && rounds >= shutOutRounds
	}
}

// want notes that a renewal is being tried.
func (l *link) want() {
	l.mu.Lock()
	l.mu.renewal = time.Now()
	l.mu.Unlock()
	select {
	case l.wanted <- struct{}{}:
	default:
	}
}

// awaitRenewal holds the library's reconnection back while nobody renews.
func (l *link) awaitRenewal() error {
	for {
		l.mu.Lock()
		free := l.mu.renewal.IsZero() || time.Since(l.mu.renewal) < time.Duration(leash*float64(l.mu.granted))
		l.mu.Unlock()
		if free {
			return nil
		}
		select {
		case <-l.over:
			return errStopped
		case <-l.wanted:
		}
	}
}

// event runs in the library's goroutines, in order; the library waits for it.
func (l *link) event(e zk.Event) {
	if e.Type != zk.EventSession {
		l.onNode(e)
		return
	}
	switch e.State {
	case zk.StateHasSession:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.mu.incarnation++
		l.mu.silences = 0
		l.mu.failure = nil
		clear(l.mu.refusedBy)
		l.mu.granted = l.mu.wire.granted()
		if err := l.mu.wire.finish(); err != nil {
			l.logger.Debug("zookeeper connection broke at once", "server", e.Server, "error", err)
		}
		close(l.mu.up)
	case zk.StateExpired:
		l.end(true)
	case zk.StateDisconnected:
		l.mu.Lock()
		defer l.mu.Unlock()
		select {
		case <-l.mu.up:
			l.mu.up = make(chan struct{})
			l.mu.apart = time.Now()
		default:
		}
	}
}

// end makes the link refuse all further work, and the library quit, in the background.
func (l *link) end(expired bool) {
	l.endOnce.Do(func() {
		if expired {
			close(l.expired)
		}
		close(l.over)
		go func() {
			<-l.made
			l.conn.Close()
		}()
	})
}

// close ends the session at the service if it can be reached, and returns when the library has tried (it gives up by itself after seconds)
// or ctx ended: true if the service answered that the session is closed.
func (l *link) close(ctx context.Context) (answered bool) {
	done := make(chan struct{})
	l.endOnce.Do(func() {
		close(l.over)
		go func() {
			defer close(done)
			l.conn.Close()
		}()
		select {
		case <-done:
			l.mu.Lock()
			answered = l.mu.wire != nil && l.mu.wire.closing.answered()
			l.mu.Unlock()
		case <-ctx.Done():
		}
	})
	return answered
}

// ready waits until the link has a handshaken connection.
func (l *link) ready(ctx context.Context) error {
	for {
		l.mu.Lock()
		up := l.mu.up
		l.mu.Unlock()
		select {
		case <-l.over:
			return fmt.Errorf("%w: %w", errNotSent, errStopped)
		default:
		}
		select {
		case <-up:
			return nil
		case <-l.over:
		case <-ctx.Done():
			return l.unanswered(ctx)
		}
	}
}

// unanswered is the error of a wait for a connection. A failure of the network is printed, not wrapped: it may read as the end of a context.
func (l *link) unanswered(ctx context.Context) error {
	l.mu.Lock()
	failure := l.mu.failure
	l.mu.Unlock()
	switch {
	case failure == nil:
		return fmt.Errorf("%w: no server answers: %w", errNotSent, context.Cause(ctx))
	case options.AsFault(failure) != nil:
		return fmt.Errorf("%w: no server answers: %w: %w", errNotSent, context.Cause(ctx), failure)
	default:
		return fmt.Errorf("%w: no server answers: %w: %v", errNotSent, context.Cause(ctx), failure)
	}
}

// call runs one call of the library and waits for it as long as the link's request limit and ctx allow. The error is the library's, or wraps
// errNotSent or errNoAnswer.
func call[T any](ctx context.Context, l *link, fn func(*zk.Conn) (T, error)) (T, error) {
	return callWithin(ctx, l, l.request, fn)
}

// callWithin is call with a limit of its own, not below the link's.
func callWithin[T any](ctx context.Context, l *link, limit time.Duration, fn func(*zk.Conn) (T, error)) (T, error) {
	var zero T
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errRequestLimit)
	defer cancel()
	if err := l.ready(ctx); err != nil {
		return zero, err
	}
	select {
	case l.calls <- struct{}{}:
	case <-ctx.Done():
		return zero, fmt.Errorf("%w: %d calls are waiting: %w", errNotSent, maxCalls, context.Cause(ctx))
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	sent := time.Now()
	l.run(func() {
		defer func() { <-l.calls }()
		v, err := fn(l.conn)
		done <- result{v, err}
	})
	select {
	case r := <-done:
		l.answered()
		return r.value, r.err
	case <-l.over:
		return zero, fmt.Errorf("%w: %w", errNoAnswer, errStopped)
	case <-ctx.Done():
		if time.Since(sent) >= l.request/2 {
			l.silent(sent)
		}
		return zero, fmt.Errorf("%w: %w", errNoAnswer, context.Cause(ctx))
	}
}

// workerIdle is how long a worker waits for the next call.
const workerIdle = time.Second

// run has a worker make a call: an idle one, whose stack has grown to what the library needs, or a new one.
func (l *link) run(job func()) {
	select {
	case l.jobs <- job:
	default:
		go l.work(job)
	}
}

func (l *link) work(job func()) {
	idle := time.NewTimer(workerIdle)
	defer idle.Stop()
	for {
		job()
		idle.Reset(workerIdle)
		select {
		case job = <-l.jobs:
		case <-idle.C:
			return
		case <-l.over:
			return
		}
	}
}

func (l *link) answered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.silences = 0
}

// silent leaves a server that does not answer. The library would wait for 2/3 of the session timeout, and for ever if the server still
// answers pings but is cut off from its leader. One silence is enough when nothing at all came since the request was sent, two otherwise.
func (l *link) silent(sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.silences++
	w := l.mu.wire
	if w == nil || !w.established.Load() {
		return
	}
	if l.mu.silences > 1 || time.Duration(w.lastRead.Load()) < sent.Sub(w.handshakeEnds) {
		l.mu.silences = 0
		l.logger.Debug("zookeeper server does not answer, trying another", "server", w.RemoteAddr().String())
		if err := w.Close(); err != nil {
			l.logger.Debug("zookeeper connection was closed already", "error", err)
		}
	}
}

// connection identifies the present handshaken connection and tells when it began.
func (l *link) connection() (incarnation uint64, since time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.incarnation, l.mu.connectedAt
}

func (l *link) granted() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.granted
}
