package coordtest

import (
	"sync"
	"time"

	"github.com/regency-project/regency/coordination/link"
)

// treatment is what a trap does to a request.
type treatment uint8

const (
	cutBefore  treatment = iota // the connection is cut, and nothing of the request arrives
	torn                        // half of the request arrives
	cutDuring                   // the request arrives, and the connection is cut at once
	unanswered                  // the request arrives; nothing that the service sends on this connection does
	late                        // the request arrives when the test lets it, and nothing that its sender sends after it on this connection
)

func (t treatment) String() string {
	return [...]string{"cut before", "torn", "cut during", "unanswered", "late"}[t]
}

// trap treats the first request that carries a text and passes over links.
type trap struct {
	ls     *links
	text   string
	how    treatment
	sprung chan struct{} // closed when the request was seen
	reply  chan struct{} // closed when the service answered a late request, or ended its connection
	mu     struct {
		sync.Mutex
		link     *link.Link // where it was seen
		conn     uint64
		released bool
		replied  bool
	}
}

// trap sets one; it stays until the links are healed.
func (ls *links) trap(text string, how treatment) *trap {
	t := &trap{ls: ls, text: text, how: how, sprung: make(chan struct{}), reply: make(chan struct{})}
	ls.each(func(l *link.Link) {
		l.Intercept(func(c link.Chunk) link.Verdict { return t.judge(l, c) })
	})
	return t
}

func (t *trap) judge(l *link.Link, c link.Chunk) link.Verdict {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.link == nil {
		if c.Direction != link.Up || !carries(c, t.text) {
			return link.Pass
		}
		t.mu.link, t.mu.conn = l, c.Conn
		close(t.sprung)
		return [...]link.Verdict{link.Cut, link.Tear, link.CutAfter, link.Pass, link.Hold}[t.how]
	}
	switch {
	case l != t.mu.link || c.Conn != t.mu.conn:
	case t.how == unanswered && c.Direction == link.Down, t.how == late && c.Direction == link.Up:
		return link.Drop
	case t.how == late && t.mu.released && !t.mu.replied:
		t.mu.replied = true
		close(t.reply)
	}
	return link.Pass
}

// await waits until the request was seen.
func (t *trap) await() {
	t.ls.e.Helper()
	t.ls.e.closed(t.sprung, patience, "the request that carries "+t.text)
}

// release lets a late request go and waits until the service has dealt with it: it answered, or it was given the time to.
func (t *trap) release() {
	t.mu.Lock()
	t.mu.released = true
	l := t.mu.link
	t.mu.Unlock()
	l.Release()
	select {
	case <-t.reply:
		t.ls.e.Logf("the late request was answered")
	case <-time.After(time.Second):
		t.ls.e.Logf("the late request was not answered")
	}
}
