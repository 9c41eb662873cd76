package link

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	chunkSize  = 32 << 10
	queueChunk = 32 // chunks a direction may queue
)

// item is a chunk on its way, or the end.
type item struct {
	data  []byte
	due   time.Time
	end   bool
	clean bool // the end was in good order
}

// stream is one direction of a connection: a goroutine that reads into a bounded queue, and one that passes on.
type stream struct {
	conn      *conn
	direction Direction
	queue     chan item
	closed    chan struct{} // by HalfClose
	closeOnce sync.Once

	passed   atomic.Int64
	lost     atomic.Bool // bytes, or the end, were swallowed
	broken   atomic.Bool // the receiver is gone
	finished atomic.Bool // the sender's end was passed on
	before   []byte      // owned by the passing goroutine
}

func newStream(c *conn, d Direction) *stream {
	return &stream{conn: c, direction: d, queue: make(chan item, queueChunk), closed: make(chan struct{})}
}

func (s *stream) halfClose() { s.closeOnce.Do(func() { close(s.closed) }) }

func (s *stream) start(running *sync.WaitGroup, from, to *net.TCPConn) {
	running.Go(func() { s.read(from) })
	running.Go(func() { s.pass(to) })
}

// read queues what comes. The queue's bound makes a fast sender wait.
func (s *stream) read(from *net.TCPConn) {
	var last time.Time
	for {
		buf := make([]byte, chunkSize)
		n, err := from.Read(buf)
		if n > 0 {
			f := s.conn.link.rule(s.conn.source.Addr()).flow(s.direction)
			due := time.Now().Add(f.Delay + s.conn.link.jitter(f.Jitter))
			if due.Before(last) {
				due = last
			}
			last = due
			if !s.push(item{data: buf[:n], due: due}) {
				return
			}
		}
		if err != nil {
			s.push(item{end: true, clean: err == io.EOF, due: last})
			return
		}
	}
}

func (s *stream) push(i item) bool {
	select {
	case s.queue <- i:
		return true
	case <-s.conn.ctx.Done():
		return false
	}
}

// pass passes on what is queued. It returns when the stream ended; a connection that must end at once is aborted.
func (s *stream) pass(to *net.TCPConn) {
	for {
		var i item
		select {
		case i = <-s.queue:
		case <-s.closed:
			_ = to.CloseWrite()
			s.drain()
			return
		case <-s.conn.ctx.Done():
			return
		}
		if !s.awaitDue(i.due) {
			return
		}
		verdict, ok := s.judge(i)
		if !ok {
			return
		}
		if i.end {
			s.finish(to, i, verdict)
			return
		}
		if !s.deliver(to, i.data, verdict) {
			return
		}
	}
}

// judge waits until rule and hook let the item go, and says what is to be done with it.
func (s *stream) judge(i item) (Verdict, bool) {
	l := s.conn.link
	asked := false
	var verdict Verdict
	var heldAt uint64
	for {
		l.mu.Lock()
		flow, hook, changed, released := l.ruleLocked(s.conn.source.Addr()).flow(s.direction), l.mu.hook, l.mu.changed, l.mu.released
		l.mu.Unlock()
		switch {
		case flow.Drop:
			return Drop, true
		case flow.Hold:
		case asked && verdict == Hold && released > heldAt:
			return Pass, true
		case !asked && hook == nil:
			return Pass, true
		case !asked:
			asked, heldAt = true, released
			verdict = hook(Chunk{Conn: s.conn.id, Source: s.conn.source, Direction: s.direction, Data: i.data, End: i.end, before: s.before})
			if verdict != Hold {
				return verdict, true
			}
			continue
		}
		select {
		case <-changed:
		case <-s.conn.ctx.Done():
			return Drop, false
		}
	}
}

// deliver carries out the verdict on bytes; false when the stream is over.
func (s *stream) deliver(to *net.TCPConn, data []byte, v Verdict) bool {
	s.remember(data)
	switch {
	case v == Drop:
		s.lost.Store(true)
		return true
	case v == Cut || s.lost.Load(): // a stream has no hole
		s.conn.abort()
		return false
	case v == Tear:
		data = data[:len(data)/2]
	}
	n, err := to.Write(data)
	s.passed.Add(int64(n))
	switch {
	case v == CutAfter || v == Tear:
		s.conn.abort()
		return false
	case err != nil:
		// The receiver is gone. The sender is told once all that the receiver sent before has been passed on: by its own direction.
		s.broken.Store(true)
		if s.peer().finished.Load() {
			s.conn.abort()
		}
		s.drain()
		return false
	}
	f := s.conn.link.rule(s.conn.source.Addr()).flow(s.direction)
	if f.Rate > 0 {
		return s.awaitDue(time.Now().Add(time.Duration(float64(n) / float64(f.Rate) * float64(time.Second))))
	}
	return true
}

func (s *stream) remember(data []byte) {
	s.before = append(s.before, data...)
	s.before = append([]byte(nil), s.before[max(0, len(s.before)-beforeLimit):]...)
}

// finish passes the sender's end on. A swallowed end leaves the receiver with an open connection until the link is reset.
func (s *stream) finish(to *net.TCPConn, i item, v Verdict) {
	switch {
	case v == Drop || s.lost.Load():
		s.lost.Store(true)
		<-s.conn.ctx.Done()
	case v != Pass || !i.clean:
		s.conn.abort()
	default:
		_ = to.CloseWrite()
		s.finished.Store(true)
		if s.peer().broken.Load() {
			s.conn.abort()
		}
	}
}

func (s *stream) peer() *stream { return s.conn.streams[1-s.direction] }

// drain discards until the sender ends.
func (s *stream) drain() {
	for {
		select {
		case i := <-s.queue:
			if i.end {
				return
			}
		case <-s.conn.ctx.Done():
			return
		}
	}
}

func (s *stream) awaitDue(due time.Time) bool {
	left := time.Until(due)
	if left <= 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(s.conn.ctx, left)
	defer cancel()
	<-ctx.Done()
	return s.conn.ctx.Err() == nil
}
