package zookeeper

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

var errStopped = errors.New("connection is over")

// hosts is a zk.HostProvider that goes round the ensemble. The library's own sleeps a full second after each round (and at every reconnect
// to a single server); ours never asks for that sleep while the link lives, and the dialer paces instead. When the link is over it does ask: only
// on that path does the library look whether it was told to quit.
type hosts struct {
	stopped <-chan struct{}
	mu      struct {
		sync.Mutex
		servers  []string
		next     int
		attempts int // since the last successful handshake
	}
}

func (h *hosts) Init(servers []string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.servers = servers
	return nil
}

func (h *hosts) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.mu.servers)
}

func (h *hosts) Next() (string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	server := h.mu.servers[h.mu.next]
	h.mu.next = (h.mu.next + 1) % len(h.mu.servers)
	select {
	case <-h.stopped:
		return server, true
	default:
		return server, false
	}
}

func (h *hosts) Connected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.attempts = 0
}

// rounds counts the full rounds since the last handshake.
func (h *hosts) rounds() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.attempts / len(h.mu.servers)
}

// all says whether every server is in the set.
func (h *hosts) all(set map[string]bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !slices.ContainsFunc(h.mu.servers, func(s string) bool { return !set[s] })
}

// pace waits before an attempt: not within the first round, then 25 ms, 50 ms … 200 ms after each full round without a handshake.
func (h *hosts) pace() error {
	h.mu.Lock()
	round := h.mu.attempts / len(h.mu.servers)
	first := h.mu.attempts%len(h.mu.servers) == 0
	h.mu.attempts++
	h.mu.Unlock()
	select {
	case <-h.stopped:
		return errStopped
	default:
	}
	if round == 0 || !first {
		return nil
	}
	select {
	case <-h.stopped:
		return errStopped
	case <-time.After(min(25*time.Millisecond<<min(round-1, 3), 200*time.Millisecond)):
		return nil
	}
}

// dial makes one network connection, with TLS if configured.
func dial(address string, limit time.Duration, t *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil || t == nil {
		return conn, err
	}
	t = t.Clone()
	if t.ServerName == "" {
		t.ServerName, _, err = net.SplitHostPort(address)
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	secure := tls.Client(conn, t)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secure, nil
}

// wire is a network connection whose ZooKeeper handshake is bounded. The library gives a server that accepts and stays silent
// 10 × 2/3 of the session timeout, so the session would be gone before the next server is asked. It also keeps the granted timeout
// to itself; we read it off the handshake.
type wire struct {
	net.Conn
	handshakeEnds time.Time
	established   atomic.Bool
	lastRead      atomic.Int64 // nanoseconds since handshakeEnds, by the monotonic clock
	mute          bool         // send no pings
	closing       closing
	head          []byte // the first bytes of the connect response; owned by the library's goroutine that handshakes
}

func (w *wire) SetReadDeadline(t time.Time) error  { return w.Conn.SetReadDeadline(w.clamp(t)) }
func (w *wire) SetWriteDeadline(t time.Time) error { return w.Conn.SetWriteDeadline(w.clamp(t)) }

func (w *wire) clamp(t time.Time) time.Time {
	if !w.established.Load() && (t.IsZero() || t.After(w.handshakeEnds)) {
		return w.handshakeEnds
	}
	return t
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.closing.read(p[:n])
		w.lastRead.Store(int64(time.Since(w.handshakeEnds)))
		if missing := connectHead - len(w.head); missing > 0 && !w.established.Load() {
			w.head = append(w.head, p[:min(n, missing)]...)
		}
	}
	return n, err
}

// ping is the library's, framed: length, xid −2, operation 11.
var ping = []byte{0, 0, 0, 8, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 11}

func (w *wire) Write(p []byte) (int, error) {
	if w.mute && bytes.Equal(p, ping) {
		return len(p), nil
	}
	w.closing.wrote(p)
	return w.Conn.Write(p)
}

// connectHead is how far into the connect response the timeout ends: length, protocol version, timeout; four bytes each.
const connectHead = 12

// granted is the session timeout that the server named in the handshake.
func (w *wire) granted() time.Duration {
	if len(w.head) < connectHead {
		return 0
	}
	return time.Duration(binary.BigEndian.Uint32(w.head[8:])) * time.Millisecond
}

// finish ends the handshake: from here on the library's own deadlines hold.
func (w *wire) finish() error {
	w.established.Store(true)
	return w.Conn.SetDeadline(time.Time{})
}
