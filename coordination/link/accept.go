package link

import (
	"context"
	"net"
	"syscall"
	"time"
)

const (
	queueFull = 0    // the kernel's queue then has room for one connection
	queueOpen = 1024 // what the kernel's own limit allows, at most
	fillTries = 20   // far more than the queue has room for
)

// accept takes connections in until the listener is closed.
func (l *Link) accept() {
	for l.awaitReachable() {
		c, err := l.acceptOne()
		switch {
		case err != nil:
			l.afterFailure()
		case c != nil:
			l.running.Go(func() { l.serve(c) })
		}
	}
}

// acceptOne returns nothing if the link has become unreachable since it was asked.
func (l *Link) acceptOne() (*net.TCPConn, error) {
	l.taking.Lock()
	defer l.taking.Unlock()
	if l.hangs() {
		return nil, nil
	}
	return l.listener.AcceptTCP()
}

// hangs reports whether new connections are to hang.
func (l *Link) hangs() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.rule.Unreachable
}

// afterFailure: the link was closed or became unreachable, which the caller sees; anything else, as too many open files, will last for a moment.
func (l *Link) afterFailure() {
	select {
	case <-l.ctx.Done():
	case <-time.After(5 * time.Millisecond):
	}
}

// awaitReachable returns when connections may be accepted; false if the link was closed.
func (l *Link) awaitReachable() bool {
	for {
		l.mu.Lock()
		unreachable, changed := l.mu.rule.Unreachable, l.mu.changed
		l.mu.Unlock()
		if !unreachable {
			return l.ctx.Err() == nil
		}
		select {
		case <-changed:
		case <-l.ctx.Done():
			return false
		}
	}
}

// reach makes new connections hang, or not, as the rule now says. The kernel drops the first packet of a connection while the listener's queue is full: nothing is
// accepted from it any more, its size is set to the smallest, and connections of our own fill it.
func (l *Link) reach() {
	l.reached.Lock()
	defer l.reached.Unlock()
	hang := l.hangs()
	if hang == l.reached.hangs || l.ctx.Err() != nil {
		return
	}
	l.reached.hangs = hang
	if !hang {
		l.emptyLocked()
		_ = l.listener.SetDeadline(time.Time{})
		l.resize(queueOpen)
		return
	}
	_ = l.listener.SetDeadline(time.Unix(1, 0))
	l.taking.Lock() // from here on an accept that had begun has returned, and none begins: see acceptOne
	l.resize(queueFull)
	l.taking.Unlock()
	l.fillLocked()
}

// fillLocked fills the listener's queue. That a connection did not come about tells that it is full only if one of ours is in it: on a starved machine the time of an
// attempt may be over before it is made.
func (l *Link) fillLocked() {
	for range fillTries {
		c, err := (&net.Dialer{Timeout: 50 * time.Millisecond}).DialContext(l.ctx, "tcp", l.Addr())
		switch {
		case err == nil:
			l.reached.fillers = append(l.reached.fillers, c)
		case len(l.reached.fillers) > 0 || l.ctx.Err() != nil:
			return
		}
	}
}

func (l *Link) emptyLocked() {
	for _, c := range l.reached.fillers {
		_ = c.Close()
	}
	l.reached.fillers = nil
}

// resize sets the length of the listener's queue: listen may be called again on a socket that listens. A failure leaves it as it was.
func (l *Link) resize(n int) {
	raw, err := l.listener.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = syscall.Listen(int(fd), n) })
}

// serve is the life of one connection.
func (l *Link) serve(client *net.TCPConn) {
	c := newConn(l, client)
	defer c.end()
	if !l.enter(c) {
		return
	}
	defer l.leave(c)
	r := l.rule(c.source.Addr())
	switch {
	case r.Refuse:
		return
	case r.Up.Drop:
		c.swallow()
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, dialLimit)
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.target)
	cancel()
	if err != nil {
		return
	}
	c.run(server.(*net.TCPConn))
}

// enter gives the connection its id; false if the link was closed.
func (l *Link) enter(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return false
	}
	l.mu.lastID++
	c.id = l.mu.lastID
	l.mu.conns[c.id] = c
	return true
}

func (l *Link) leave(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.mu.conns, c.id)
}
