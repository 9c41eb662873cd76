package peer

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxFrame bounds an answer, in bytes: above what a fetch may carry (its max bytes, or one batch), below what would hurt.
const maxFrame = 256 << 20

// maxInFlight bounds the requests that wait for their answers on one connection.
const maxInFlight = 1024

const apiVersionsKey = 18

// Conn is one connection. Its methods may be called from any goroutine. Once broken it stays so: dial another.
type Conn struct {
	addr string
	nc   net.Conn
	fmt  *kmsg.RequestFormatter
	done chan struct{} // closed when the reader has ended and every waiting request was told

	writing sync.Mutex // one frame at a time
	mu      struct {
		sync.Mutex
		next    int32
		waiting map[int32]*call
		err     error // why it is broken
	}
}

type call struct {
	resp kmsg.Response
	done chan error // cap 1: told once, by whoever takes the call out of the map
}

func newConn(addr string, nc net.Conn, clientID string) *Conn {
	c := &Conn{addr: addr, nc: nc, fmt: kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)), done: make(chan struct{})}
	c.mu.waiting = map[int32]*call{}
	go c.read()
	return c
}

// Request sends req in the version set in it and waits for the answer. Errors wrap ErrUnavailable if nothing was sent, else ErrOutcomeUnknown; when
// ctx ends first, its cause is wrapped as well, and the connection stays usable: the late answer is dropped.
func (c *Conn) Request(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	call := &call{resp: resp, done: make(chan error, 1)}
	id, err := c.add(call)
	if err != nil {
		return nil, c.fail(req, err)
	}
	if err := c.write(ctx, c.fmt.AppendRequest(nil, req, id)); err != nil {
		c.breakWith(fmt.Errorf("%w: %w", ErrOutcomeUnknown, err))
	}
	select {
	case err := <-call.done:
		if err != nil {
			return nil, c.fail(req, err)
		}
		return resp, nil
	case <-ctx.Done():
		c.take(id)
		return nil, c.fail(req, fmt.Errorf("%w: %w", ErrOutcomeUnknown, context.Cause(ctx)))
	}
}

func (c *Conn) fail(req kmsg.Request, err error) error {
	return fmt.Errorf("request %s from %s: %w", kmsg.NameForKey(req.Key()), c.addr, err)
}

// Done is closed when the connection is broken or closed.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Close breaks the connection, fails the waiting requests and returns when its reader has ended.
func (c *Conn) Close() {
	c.breakWith(fmt.Errorf("%w: %w", ErrOutcomeUnknown, ErrClosed))
	<-c.done
}

func (c *Conn) add(call *call) (int32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.err != nil {
		return 0, fmt.Errorf("%w: connection is broken", ErrUnavailable)
	}
	if len(c.mu.waiting) >= maxInFlight {
		return 0, fmt.Errorf("%w: %d requests already in flight", ErrUnavailable, maxInFlight)
	}
	c.mu.next++
	c.mu.waiting[c.mu.next] = call
	return c.mu.next, nil
}

func (c *Conn) take(id int32) *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	call := c.mu.waiting[id]
	delete(c.mu.waiting, id)
	return call
}

func (c *Conn) inFlight() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.mu.waiting)
}

// write puts one frame on the wire. A frame cut short by the deadline breaks the connection: the other side could not find the next one.
func (c *Conn) write(ctx context.Context, frame []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	deadline, _ := ctx.Deadline() // the zero time is none
	if err := c.nc.SetWriteDeadline(deadline); err != nil {
		return err
	}
	_, err := c.nc.Write(frame)
	return err
}

// breakWith makes the connection unusable and tells all that wait. The first reason stands.
func (c *Conn) breakWith(err error) {
	c.mu.Lock()
	if c.mu.err == nil {
		c.mu.err = err
	}
	waiting := c.mu.waiting
	c.mu.waiting = map[int32]*call{}
	err = c.mu.err
	c.mu.Unlock()
	_ = c.nc.Close() // nothing more is wanted of it
	for _, call := range waiting {
		call.done <- err
	}
}

func (c *Conn) read() {
	defer close(c.done)
	r := bufio.NewReaderSize(c.nc, 64<<10)
	for {
		if err := c.readOne(r); err != nil {
			c.breakWith(fmt.Errorf("%w: %w", ErrOutcomeUnknown, err))
			return
		}
	}
}

func (c *Conn) readOne(r io.Reader) error {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	size := int32(binary.BigEndian.Uint32(head[:4]))
	if size < 4 || size > maxFrame {
		return fmt.Errorf("%w: frame of %d bytes", ErrProtocol, size)
	}
	body := make([]byte, size-4)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	call := c.take(int32(binary.BigEndian.Uint32(head[4:])))
	if call == nil {
		return nil // its caller has given up
	}
	call.done <- decode(call.resp, body)
	return nil
}

// decode reads the rest of the response header and the body; byte slices in resp alias body.
func decode(resp kmsg.Response, body []byte) (err error) {
	if resp.IsFlexible() && resp.Key() != apiVersionsKey {
		if len(body) == 0 || body[0] != 0 {
			return fmt.Errorf("%w: %w: response header tags", ErrOutcomeUnknown, ErrProtocol)
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		return fmt.Errorf("%w: %w: %w", ErrOutcomeUnknown, ErrProtocol, err)
	}
	return nil
}

// dial opens a TCP connection from the source address, if there is one.
func dial(ctx context.Context, addr, source string, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: timeout}
	if source != "" {
		ip := net.ParseIP(source)
		if ip == nil {
			return nil, fmt.Errorf("source address %q is not an IP address", source)
		}
		d.LocalAddr = &net.TCPAddr{IP: ip}
	}
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, errors.Join(err, context.Cause(ctx))
	}
	return nc, nil
}
