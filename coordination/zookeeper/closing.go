package zookeeper

import (
	"bytes"
	"encoding/binary"
	"sync/atomic"
)

// closing watches one connection for the answer to closeSession, which the library waits for and drops. A server answers it when the closing is committed, so
// whoever has seen it need not ask whether the session is gone.
//
// Requests and answers are framed: length, then xid and operation, or xid, zxid and error. The library writes each request in one piece.
type closing struct {
	xid  atomic.Int64 // of the request, plus one; 0: none was sent
	done atomic.Bool

	// Of the stream that is read; owned by the reading goroutine.
	header [4 + answerHeader]byte
	have   int // bytes of header
	skip   int // bytes until the next frame
}

const (
	answerHeader = 4 + 8 + 4
	opClose      = -11
)

func (c *closing) answered() bool { return c.done.Load() }

// wrote looks at a request on its way out.
func (c *closing) wrote(p []byte) {
	if len(p) == 12 && bytes.Equal(p[:4], []byte{0, 0, 0, 8}) && int32(binary.BigEndian.Uint32(p[8:])) == opClose {
		c.xid.Store(int64(int32(binary.BigEndian.Uint32(p[4:]))) + 1)
	}
}

// read looks at what came in.
func (c *closing) read(p []byte) {
	for len(p) > 0 {
		if n := min(c.skip, len(p)); n > 0 {
			c.skip -= n
			p = p[n:]
			continue
		}
		want := 4
		if c.have >= 4 {
			want += min(answerHeader, int(binary.BigEndian.Uint32(c.header[:])))
		}
		n := copy(c.header[c.have:want], p)
		c.have += n
		p = p[n:]
		if c.have == 4 && binary.BigEndian.Uint32(c.header[:]) == 0 {
			c.have = 0 // an empty frame
		}
		if want > 4 && c.have == want {
			c.frame()
		}
	}
}

// frame takes in a header that is complete.
func (c *closing) frame() {
	size := int(binary.BigEndian.Uint32(c.header[:]))
	c.skip, c.have = max(size-answerHeader, 0), 0
	if size < answerHeader {
		return
	}
	xid, code := int64(int32(binary.BigEndian.Uint32(c.header[4:]))), binary.BigEndian.Uint32(c.header[16:])
	if sent := c.xid.Load(); sent != 0 && xid == sent-1 && code == 0 {
		c.done.Store(true)
	}
}
