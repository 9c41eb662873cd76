package probe

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

const (
	// maxInFlight bounds the requests that wait for a lane's broker: a frozen one answers none of them.
	maxInFlight = 32
	// redialPause keeps a lane from hammering the port of a dead broker.
	redialPause = 5 * time.Millisecond
	maxFrame    = 16 << 20
)

var (
	errNotConnected = errors.New("not connected")
	errBusy         = errors.New("too many requests in flight")
)

// lane is one connection of our own to one broker, for one purpose. Requests are pipelined and answered in their order; a lost connection fails all
// that wait and is dialled again in the background by the next use. It has no retry, no metadata and no queue of unsent requests: what it is asked
// happens now or fails now, which is what distinguishes a probe from a client.
type lane struct {
	addr string
	life context.Context
	all  sync.WaitGroup // dialler and readers

	mu struct {
		sync.Mutex
		conn    net.Conn
		waiting []chan<- reply // of conn, oldest first
		next    int32          // correlation id
		dialing bool
		dialed  time.Time
		closed  bool
		last    error // why there is no connection
	}
}

type reply struct {
	body []byte
	err  error
}

// newLane dials at once, in the background; close ends it.
func newLane(ctx context.Context, addr string) *lane {
	l := &lane{addr: addr, life: ctx}
	l.mu.last = errNotConnected
	l.mu.Lock()
	l.dialLocked()
	l.mu.Unlock()
	return l
}

// connected tells whether a request would be sent.
func (l *lane) connected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.conn != nil
}

// send writes the request and returns where its answer will come, exactly once.
func (l *lane) send(req kmsg.Request) <-chan reply {
	answer := make(chan reply, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.conn == nil {
		l.dialLocked()
		answer <- reply{err: l.mu.last}
		return answer
	}
	if len(l.mu.waiting) >= maxInFlight {
		answer <- reply{err: errBusy}
		return answer
	}
	l.mu.next++
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("regency-probe")).AppendRequest(nil, req, l.mu.next)
	// The kernel's buffer holds far more than maxInFlight probes, so that this cannot block long; the deadline is for what should not happen.
	_ = l.mu.conn.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := l.mu.conn.Write(frame); err != nil {
		answer <- reply{err: err}
		l.dropLocked(err)
		return answer
	}
	l.mu.waiting = append(l.mu.waiting, answer)
	return answer
}

func (l *lane) dialLocked() {
	if l.mu.closed || l.mu.dialing || time.Since(l.mu.dialed) < redialPause {
		return
	}
	l.mu.dialing, l.mu.dialed = true, time.Now()
	l.all.Go(l.dial)
}

func (l *lane) dial() {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(l.life, "tcp", l.addr)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.dialing = false
	if err != nil {
		l.mu.last = err
		return
	}
	if l.mu.closed {
		_ = conn.Close()
		return
	}
	l.mu.conn, l.mu.next = conn, 0
	l.all.Go(func() { l.read(conn) })
}

func (l *lane) read(conn net.Conn) {
	in := bufio.NewReaderSize(conn, 4096)
	for {
		id, body, err := readFrame(in)
		l.mu.Lock()
		if l.mu.conn != conn {
			l.mu.Unlock()
			return
		}
		if err == nil && len(l.mu.waiting) == 0 {
			err = errors.New("an answer that nothing waits for")
		}
		// Every request of the connection is counted from 1 and answered in order.
		if err == nil && id != l.mu.next-int32(len(l.mu.waiting))+1 {
			err = fmt.Errorf("answer %d out of order", id)
		}
		if err != nil {
			l.dropLocked(err)
			l.mu.Unlock()
			return
		}
		answer := l.mu.waiting[0]
		l.mu.waiting = l.mu.waiting[1:]
		l.mu.Unlock()
		answer <- reply{body: body}
	}
}

// readFrame returns the correlation id and the body.
func readFrame(in io.Reader) (int32, []byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, nil, err
	}
	size := int32(binary.BigEndian.Uint32(head[:4]))
	if size < 4 || size > maxFrame {
		return 0, nil, fmt.Errorf("a frame of %d bytes", size)
	}
	body := make([]byte, size-4)
	if _, err := io.ReadFull(in, body); err != nil {
		return 0, nil, err
	}
	return int32(binary.BigEndian.Uint32(head[4:])), body, nil
}

func (l *lane) dropLocked(err error) {
	if l.mu.conn == nil {
		return
	}
	_ = l.mu.conn.Close()
	l.mu.conn, l.mu.last = nil, err
	for _, answer := range l.mu.waiting {
		answer <- reply{err: err}
	}
	l.mu.waiting = nil
	l.dialLocked()
}

func (l *lane) close() {
	l.mu.Lock()
	l.mu.closed = true
	l.dropLocked(net.ErrClosed)
	l.mu.Unlock()
	l.all.Wait()
}

// decode reads an answer into the response of req, which is of a version without tagged fields: its header is the correlation id alone.
func decode(req kmsg.Request, body []byte) (kmsg.Response, error) {
	resp := req.ResponseKind()
	if err := resp.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("decode response %d: %w", req.Key(), err)
	}
	return resp, nil
}
