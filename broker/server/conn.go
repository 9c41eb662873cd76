package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/regency-project/regency/broker/api"
	"github.com/regency-project/regency/broker/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"
)

// keepBuffer is the largest response buffer that a connection keeps for the next response.
const keepBuffer = 1 << 20

// conn is one connection.
type conn struct {
	s      *Server
	nc     net.Conn
	caller api.Caller
	queue  chan pending // closed by the reader; its capacity is the bound in requests
	budget *budget      // the bound in bytes
}

// pending is a request whose response is owed.
type pending struct {
	correlationID int32
	await         api.Await
	size          int
}

func newConn(s *Server, nc net.Conn) *conn {
	return &conn{
		s: s, nc: nc,
		caller: api.Caller{Addr: nc.RemoteAddr(), Listener: s.cfg.Kind},
		queue:  make(chan pending, s.cfg.Pipeline),
		budget: newBudget(s.cfg.PipelineBytes),
	}
}

// run serves the connection until the client leaves, an error closes it, or the grace period after stopping's end is over.
//
// The client's leaving cancels the Awaits at once: nobody would read their responses. Stopping only ends reading; the Awaits have the grace period.
func (c *conn) run(stopping context.Context) {
	defer c.nc.Close()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	stop := context.AfterFunc(stopping, func() {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // an error means that it is closed already
		t := time.AfterFunc(c.s.cfg.Grace, func() { cancel(errStopped); c.nc.Close() })
		context.AfterFunc(ctx, func() { t.Stop() })
	})
	defer stop()

	var g errgroup.Group
	g.Go(func() error {
		defer close(c.queue)
		err := c.read(ctx, stopping)
		if !errors.Is(err, errStopped) {
			cancel(fmt.Errorf("%w: %w", context.Canceled, err)) // the Awaits see an ordinary cancellation
		}
		return err
	})
	g.Go(func() error {
		err := c.write(ctx)
		if err != nil {
			cancel(fmt.Errorf("%w: %w", context.Canceled, err))
			c.nc.Close() // ends the reader
			c.abandon(ctx)
		}
		return err
	})
	if err := g.Wait(); noteworthy(err) {
		c.s.cfg.Log.Warn("connection closed", "listener", c.s.cfg.Kind.String(), "remote", c.nc.RemoteAddr().String(), "error", err)
	}
}

// errStopped is an ordinary cancellation to the Awaits.
var errStopped = fmt.Errorf("server stopped: %w", context.Canceled)

// noteworthy leaves out how connections normally end.
func noteworthy(err error) bool {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, errStopped) || errors.Is(err, context.Canceled) || errors.Is(err, net.ErrClosed) {
		return false
	}
	var op *net.OpError
	return !errors.As(err, &op)
}

func (c *conn) read(ctx, stopping context.Context) error {
	in := &idleReader{nc: c.nc, idle: c.s.cfg.IdleTimeout, stopping: stopping}
	frames := protocol.NewFrameReader(bufio.NewReaderSize(in, 16<<10), c.s.cfg.MaxFrame)
	for {
		frame, err := frames.Next()
		if err != nil {
			if stopping.Err() != nil {
				return errStopped
			}
			return err
		}
		h, await, err := c.handle(ctx, frame)
		if err != nil {
			return err
		}
		if h.Key == int16(kmsg.Produce) {
			frames.Reuse(frame) // the log has copied the records, and the handler the names
		}
		if err := c.enqueue(ctx, pending{correlationID: h.CorrelationID, await: await, size: len(frame)}); err != nil {
			_, _ = await(ctx) // nobody reads the response
			return err
		}
	}
}

// enqueue waits for room. An error means that ctx has ended.
func (c *conn) enqueue(ctx context.Context, p pending) error {
	if err := c.budget.take(ctx, p.size); err != nil {
		return err
	}
	select {
	case c.queue <- p:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// handle decodes a frame and calls its handler.
func (c *conn) handle(ctx context.Context, frame []byte) (protocol.Header, api.Await, error) {
	h, body, err := protocol.ParseHeader(frame)
	if err != nil {
		return h, nil, err
	}
	key, ok := c.s.keys[h.Key]
	if !ok {
		return h, nil, fmt.Errorf("%s: not served on the %s listener", h, c.s.cfg.Kind)
	}
	lowest := max(key.Min, key.ServeMin)
	if h.Version < lowest || h.Version > key.Max {
		if h.Key == int16(kmsg.ApiVersions) {
			return c.unknownApiVersions(ctx, h, key)
		}
		return h, nil, fmt.Errorf("%s: version not served, only %d to %d are", h, lowest, key.Max)
	}
	req, err := protocol.Decode(h, body)
	if err != nil {
		return h, nil, err
	}
	caller := c.caller
	caller.ClientID = h.ClientID
	await, err := key.Handle(ctx, caller, req)
	if err != nil {
		return h, nil, fmt.Errorf("%s: %w", h, err)
	}
	return h, await, nil
}

// unknownApiVersions lets the handler answer a version that it does not know: in version 0, which every client reads, with the request's own version for the
// handler to see. The body is not decoded.
func (c *conn) unknownApiVersions(ctx context.Context, h protocol.Header, key api.Key) (protocol.Header, api.Await, error) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.SetVersion(h.Version)
	await, err := key.Handle(ctx, c.caller, req)
	return h, await, err
}

func (c *conn) write(ctx context.Context) error {
	var buf []byte
	for p := range c.queue {
		resp, err := p.await(ctx)
		if err != nil {
			return err
		}
		if resp != nil {
			buf = protocol.AppendResponse(buf[:0], p.correlationID, resp)
			if err := c.nc.SetWriteDeadline(time.Now().Add(c.s.cfg.WriteTimeout)); err != nil {
				return err
			}
			if _, err := c.nc.Write(buf); err != nil {
				return err
			}
			if cap(buf) > keepBuffer {
				buf = nil
			}
		}
		c.budget.give(p.size)
	}
	return nil
}

// abandon calls the Awaits that are left, once ctx has ended: each has to be called, because what it waits for keeps its place until then.
func (c *conn) abandon(ctx context.Context) {
	for p := range c.queue {
		_, _ = p.await(ctx) // nobody reads the response
	}
}

// idleReader bounds the silence of a client. Once stopping ends it reads no more, whichever way the two deadlines race: the end is checked after the deadline
// was set, and the stopper sets its own after the end.
type idleReader struct {
	nc       net.Conn
	idle     time.Duration
	stopping context.Context
}

func (r *idleReader) Read(p []byte) (int, error) {
	if err := r.nc.SetReadDeadline(time.Now().Add(r.idle)); err != nil {
		return 0, err
	}
	if r.stopping.Err() != nil {
		return 0, errStopped
	}
	return r.nc.Read(p)
}
