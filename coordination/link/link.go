// Package link is a TCP proxy inside the process, for tests and for the harness: a network link that can be disturbed without privileges.
//
//	client ──── Up ────▶ ┌──────┐ ──── Up ────▶ target
//	       ◀── Down ──── │ Link │ ◀── Down ────
//	                     └──────┘
//
// What a link does to each direction is a Rule, which may differ by the client's address (a process that dials from 127.0.7.1 can be cut off while
// others are not). Intercept looks at the bytes themselves, so that a request can be lost, held back, or torn, or its answer be lost, at exactly that point.
//
// A stream never has a hole: once a link has swallowed bytes of a connection, it carries nothing further in that direction, and the connection is reset
// as soon as something would pass again. Bytes that a rule holds arrive late instead, even if their sender has closed the connection meanwhile.
//
// Refused: toxiproxy as a library. It is a server configured over HTTP: its faults cannot be bound to a byte pattern or a source address, holding a
// request back beyond its sender's close is not among them, and closing it leaves goroutines.
package link

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// dialLimit bounds the connection to the target.
const dialLimit = 5 * time.Second

// Options for Listen. The zero value is usable.
type Options struct {
	// Address to listen on. Empty: a free port of 127.0.0.1.
	Address string
	// Seed of the jitter.
	Seed uint64
}

// Link is one proxied address. It is safe for concurrent use. A new link passes everything.
type Link struct {
	target   string
	listener *net.TCPListener
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	running  sync.WaitGroup

	mu struct {
		sync.Mutex
		random   *rand.Rand
		rule     Rule
		bySource map[netip.Addr]Rule
		hook     func(Chunk) Verdict
		released uint64        // counts Release
		changed  chan struct{} // closed and replaced when any of the above changes
		conns    map[uint64]*conn
		lastID   uint64
	}

	taking sync.Mutex // held while a connection is accepted

	// reached is apart from mu: filling the queue takes time, in which bytes must go on to pass.
	reached struct {
		sync.Mutex
		hangs   bool       // new connections hang in connect
		fillers []net.Conn // keep the queue full meanwhile
	}
}

// Listen starts a link to the target (host:port).
func Listen(target string, o Options) (*Link, error) {
	if _, _, err := net.SplitHostPort(target); err != nil {
		return nil, fmt.Errorf("link to %q: %w", target, err)
	}
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("link to %s: %w", target, err)
	}
	l := &Link{target: target, listener: listener.(*net.TCPListener)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.mu.random = rand.New(rand.NewPCG(o.Seed, 0))
	l.mu.bySource = map[netip.Addr]Rule{}
	l.mu.changed = make(chan struct{})
	l.mu.conns = map[uint64]*conn{}
	l.running.Go(l.accept)
	return l, nil
}

// Addr is where clients dial.
func (l *Link) Addr() string { return l.listener.Addr().String() }

// Target is where the link leads.
func (l *Link) Target() string { return l.target }

// Close resets all connections and returns when nothing of the link runs any more.
func (l *Link) Close() error {
	l.cancel()
	err := l.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	l.Reset()
	l.reached.Lock()
	l.emptyLocked()
	l.reached.Unlock()
	l.running.Wait()
	return err
}

// Set replaces the rule for all sources that have none of their own.
func (l *Link) Set(r Rule) {
	l.change(func() { l.mu.rule = r })
	l.reach()
}

// SetFrom gives connections from one address a rule of their own. Unreachable cannot be told apart by source and means Up.Drop there.
func (l *Link) SetFrom(source netip.Addr, r Rule) {
	l.change(func() { l.mu.bySource[source] = r })
}

// ClearFrom takes the rule of one source away: the common one holds again.
func (l *Link) ClearFrom(source netip.Addr) {
	l.change(func() { delete(l.mu.bySource, source) })
}

// Intercept sets the hook (nil: none). It is called before bytes are passed on, after delays and rules, for every direction of every connection in order;
// different directions and connections call it at the same time. It must not call the link's methods and should not block.
func (l *Link) Intercept(hook func(Chunk) Verdict) {
	l.change(func() { l.mu.hook = hook })
}

// Release lets the chunks go that are held by the hook's verdict now.
func (l *Link) Release() { l.change(func() { l.mu.released++ }) }

// Heal takes away all rules and the hook, and releases what is held. Connections that have lost bytes are reset.
func (l *Link) Heal() {
	l.change(func() {
		l.mu.rule, l.mu.hook = Rule{}, nil
		clear(l.mu.bySource)
		l.mu.released++
	})
	l.reach()
}

// Cut resets all present connections and every new one.
func (l *Link) Cut() {
	l.Set(Rule{Refuse: true})
	l.Reset()
}

// Reset resets all present connections.
func (l *Link) Reset() { l.ResetIf(func(Conn) bool { return true }) }

// ResetIf resets the present connections that match says.
func (l *Link) ResetIf(match func(Conn) bool) {
	for _, c := range l.present() {
		if match(c.info()) {
			c.abort()
		}
	}
}

// HalfClose ends one direction of all present connections: the receiver reads the end of the stream, the other direction goes on. What the sender still
// sends is swallowed.
func (l *Link) HalfClose(d Direction) {
	for _, c := range l.present() {
		c.streams[d].halfClose()
	}
}

// Conn describes a present connection.
type Conn struct {
	ID       uint64
	Source   netip.AddrPort // the client's
	Up, Down int64          // bytes passed on
}

// Conns lists the present connections, oldest first.
func (l *Link) Conns() []Conn {
	var list []Conn
	for _, c := range l.present() {
		list = append(list, c.info())
	}
	slices.SortFunc(list, func(a, b Conn) int { return int(int64(a.ID) - int64(b.ID)) })
	return list
}

func (l *Link) present() []*conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]*conn, 0, len(l.mu.conns))
	for _, c := range l.mu.conns {
		list = append(list, c)
	}
	return list
}

// change applies f and wakes all that waits for a change. Connections that have lost bytes and would now pass others are reset; while there is a hook, it
// decides, except on those that were never made to the target: nothing can pass there.
func (l *Link) change(f func()) {
	l.mu.Lock()
	f()
	hooked := l.mu.hook != nil
	close(l.mu.changed)
	l.mu.changed = make(chan struct{})
	l.mu.Unlock()
	for _, c := range l.present() {
		r := l.rule(c.source.Addr())
		if c.swallowed.Load() && !r.Up.Drop {
			c.abort()
		}
		for d, s := range c.streams {
			if s.lost.Load() && !hooked && !r.flow(Direction(d)).Drop {
				c.abort()
			}
		}
	}
}

func (l *Link) rule(source netip.Addr) Rule {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ruleLocked(source)
}

func (l *Link) ruleLocked(source netip.Addr) Rule {
	r, ok := l.mu.bySource[source]
	if !ok {
		r = l.mu.rule
	}
	if r.Unreachable { // connections that exist, and those from a source of its own
		r.Up.Drop, r.Down.Drop = true, true
	}
	return r
}

// jitter is between 0 and most.
func (l *Link) jitter(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Duration(l.mu.random.Int64N(int64(most) + 1))
}
