package link

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// conn is one client's connection and its other half.
type conn struct {
	link    *Link
	id      uint64
	source  netip.AddrPort
	client  *net.TCPConn
	ctx     context.Context // ends when the connection is to be reset
	abort   context.CancelFunc
	streams [2]*stream // by Direction
	// swallowed: no connection to the target was made.
	swallowed atomic.Bool
}

func newConn(l *Link, client *net.TCPConn) *conn {
	source := client.RemoteAddr().(*net.TCPAddr).AddrPort()
	c := &conn{link: l, client: client, source: netip.AddrPortFrom(source.Addr().Unmap(), source.Port())}
	c.ctx, c.abort = context.WithCancel(l.ctx)
	c.streams = [2]*stream{newStream(c, Up), newStream(c, Down)}
	return c
}

func (c *conn) info() Conn {
	return Conn{ID: c.id, Source: c.source, Up: c.streams[Up].passed.Load(), Down: c.streams[Down].passed.Load()}
}

// end resets what is still open.
func (c *conn) end() {
	c.abort()
	reset(c.client)
}

// reset closes at once: the peer is told so by RST, and nothing is sent any more.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// swallow keeps the client company without a target, until it goes or the rule changes.
func (c *conn) swallow() {
	c.swallowed.Store(true)
	if !c.link.rule(c.source.Addr()).Up.Drop {
		return // changed before the mark was seen
	}
	defer context.AfterFunc(c.ctx, func() { reset(c.client) })()
	buf := make([]byte, chunkSize)
	for {
		if _, err := c.client.Read(buf); err != nil {
			return
		}
	}
}

// run carries both directions until both have ended or the connection is reset. Either side that ends in good order has its end passed on; the
// connection is over when both have.
func (c *conn) run(server *net.TCPConn) {
	stop := context.AfterFunc(c.ctx, func() {
		reset(c.client)
		reset(server)
	})
	var running sync.WaitGroup
	c.streams[Up].start(&running, c.client, server)
	c.streams[Down].start(&running, server, c.client)
	running.Wait()
	if stop() {
		_ = c.client.Close()
		_ = server.Close()
	}
}
