package link

import (
	"net/netip"
	"strings"
	"time"
)

// Direction of bytes.
type Direction uint8

const (
	Up   Direction = iota // from the client to the target
	Down                  // from the target to the client
)

func (d Direction) String() string {
	if d == Up {
		return "up"
	}
	return "down"
}

// Rule is what a link does to connections. The zero value passes everything.
type Rule struct {
	// Refuse resets new connections as soon as they are made. (The client's connect usually succeeds, and its first read or write fails.)
	Refuse bool
	// Unreachable lets new connections hang in connect, as to a host that is gone, and swallows everything on those that exist.
	Unreachable bool
	Up, Down    Flow
}

// BlackHole accepts and stays silent: nothing passes in either direction.
var BlackHole = Rule{Up: Flow{Drop: true}, Down: Flow{Drop: true}}

func (r Rule) flow(d Direction) Flow {
	if d == Up {
		return r.Up
	}
	return r.Down
}

// Flow is what a link does to one direction.
type Flow struct {
	// Drop swallows all bytes. A connection made under Up.Drop is not made to the target at all.
	Drop bool
	// Hold keeps all bytes (up to 1 MiB a connection; then the sender has to wait) until the rule changes, as a network that comes back does.
	Hold bool
	// Delay is added to every chunk, and up to Jitter more; order is kept.
	Delay, Jitter time.Duration
	// Rate is in bytes per second; 0: no limit.
	Rate int
}

// Chunk is what a hook sees: bytes as they were read, which need not be one message.
type Chunk struct {
	Conn      uint64 // as in Conns
	Source    netip.AddrPort
	Direction Direction
	Data      []byte // for the time of the call; nil if End
	End       bool   // the sender closed or reset the connection
	before    []byte // the end of what came before, for patterns that lie across
}

// beforeLimit bounds the length of patterns that Contains finds across chunks.
const beforeLimit = 256

// Contains says whether an occurrence of the pattern (at most 256 bytes) ends in this chunk.
func (c Chunk) Contains(pattern string) bool {
	if c.End || pattern == "" {
		return false
	}
	head := c.before[len(c.before)-min(len(c.before), len(pattern)-1):]
	return strings.Contains(string(head)+string(c.Data), pattern)
}

// Verdict is a hook's decision about a chunk.
type Verdict uint8

const (
	Pass     Verdict = iota
	Drop             // swallow it
	Hold             // keep it, and what follows in this direction, until Release
	Cut              // reset the connection instead of passing it on
	CutAfter         // pass it on, then reset the connection
	Tear             // pass the first half on, then reset the connection
)
