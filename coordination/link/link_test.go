package link_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/regency-project/regency/coordination/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// server answers each line with "re: " and the line, and remembers the lines and how its connections ended.
type server struct {
	net.Listener
	running sync.WaitGroup
	mu      sync.Mutex
	lines   []string
	ends    []error
}

func startServer(t *testing.T) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Listener: l}
	s.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.running.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); s.running.Wait() })
	return s
}

func (s *server) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		s.mu.Lock()
		if err == nil {
			s.lines = append(s.lines, strings.TrimSpace(line))
		} else {
			s.ends = append(s.ends, err)
		}
		s.mu.Unlock()
		if err != nil {
			return
		}
		_, _ = c.Write([]byte("re: " + line))
	}
}

func (s *server) got() ([]string, []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.lines...), append([]error(nil), s.ends...)
}

// start makes a server and a link to it.
func start(t *testing.T) (*server, *link.Link) {
	t.Helper()
	s := startServer(t)
	l, err := link.Listen(s.Addr().String(), link.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return s, l
}

// refused wants a connection to be reset, in connect or at the first read.
func refused(t *testing.T, l *link.Link, source string) {
	t.Helper()
	d := net.Dialer{Timeout: patience}
	if source != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(source)}
	}
	c, err := d.Dial("tcp", l.Addr())
	if err == nil {
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("a new connection = %v, want a reset", err)
	}
}

type client struct {
	t  *testing.T
	c  *net.TCPConn
	in *bufio.Reader
}

func dial(t *testing.T, l *link.Link, source string) *client {
	t.Helper()
	d := net.Dialer{Timeout: patience}
	if source != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(source)}
	}
	c, err := d.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &client{t, c.(*net.TCPConn), bufio.NewReader(c)}
}

func (c *client) send(line string) {
	c.t.Helper()
	if _, err := c.c.Write([]byte(line + "\n")); err != nil {
		c.t.Fatalf("Write() = %v", err)
	}
}

func (c *client) receive(within time.Duration) (string, error) {
	_ = c.c.SetReadDeadline(time.Now().Add(within))
	line, err := c.in.ReadString('\n')
	return strings.TrimSpace(line), err
}

func (c *client) echo(line string) {
	c.t.Helper()
	c.send(line)
	if got, err := c.receive(patience); got != "re: "+line || err != nil {
		c.t.Fatalf("answer to %q = %q, %v", line, got, err)
	}
}

// ended wants the connection reset.
func (c *client) ended() {
	c.t.Helper()
	if got, err := c.receive(patience); !errors.Is(err, syscall.ECONNRESET) {
		c.t.Fatalf("read = %q, %v, want a reset", got, err)
	}
}

func (c *client) silent() {
	c.t.Helper()
	if got, err := c.receive(30 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("read = %q, %v, want silence", got, err)
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func TestPassAndHalfClose(t *testing.T) {
	s, l := start(t)
	c := dial(t, l, "")
	c.echo("one")
	eventually(t, "the connection is listed with what it passed", func() bool {
		got := l.Conns()
		return len(got) == 1 && got[0].Up == 4 && got[0].Down == 8 && got[0].Source.String() == c.c.LocalAddr().String()
	})
	c.send("last") // the client's end comes after its last line, and the answer still arrives
	if err := c.c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := c.receive(patience); got != "re: last" || err != nil {
		t.Errorf("answer = %q, %v", got, err)
	}
	if _, err := c.receive(patience); err != io.EOF {
		t.Errorf("read after the end = %v, want EOF", err)
	}
	if _, ends := s.got(); len(ends) != 1 || ends[0] != io.EOF {
		t.Errorf("the server saw its connections end with %v, want EOF", ends)
	}
	eventually(t, "the connection is over", func() bool { return len(l.Conns()) == 0 })
}

func TestCutAndHeal(t *testing.T) {
	s, l := start(t)
	c := dial(t, l, "")
	c.echo("one")
	l.Cut()
	c.ended()
	eventually(t, "the server's side is reset", func() bool {
		_, ends := s.got()
		return len(ends) == 1 && errors.Is(ends[0], syscall.ECONNRESET)
	})
	refused(t, l, "")
	l.Heal()
	dial(t, l, "").echo("two")
}

func TestBlackHole(t *testing.T) {
	s, l := start(t)
	c := dial(t, l, "")
	c.echo("one")
	l.Set(link.BlackHole)
	c.send("lost")
	c.silent()
	made := dial(t, l, "") // accepted, and silent
	made.send("lost too")
	made.silent()
	l.Heal()
	c.ended()
	made.ended()
	if lines, _ := s.got(); len(lines) != 1 {
		t.Errorf("the server got %q, want only the first", lines)
	}
}

func TestUnreachable(t *testing.T) {
	_, l := start(t)
	c := dial(t, l, "")
	c.echo("one")
	l.Set(link.Rule{Unreachable: true})
	c.send("lost")
	c.silent()
	if made, err := net.DialTimeout("tcp", l.Addr(), 100*time.Millisecond); err == nil {
		_ = made.Close()
		t.Error("a connection was made to an unreachable link")
	} else if n, ok := err.(net.Error); !ok || !n.Timeout() {
		t.Errorf("Dial() = %v, want a timeout", err)
	}
	l.Heal()
	c.ended()
	dial(t, l, "").echo("two")
}

func TestOneWay(t *testing.T) {
	s, l := start(t)
	c := dial(t, l, "")
	c.echo("one")
	l.Set(link.Rule{Down: link.Flow{Drop: true}})
	c.send("heard")
	eventually(t, "the server hears", func() bool { lines, _ := s.got(); return len(lines) == 2 })
	c.silent()
}

func TestHoldOutlivesItsSender(t *testing.T) {
	s, l := start(t)
	c := dial(t, l, "")
	c.echo("one")
	l.Set(link.Rule{Up: link.Flow{Hold: true}})
	c.send("late")
	c.silent()
	_ = c.c.SetLinger(0)
	_ = c.c.Close()
	l.Heal()
	eventually(t, "the line arrives after its sender is gone", func() bool {
		lines, ends := s.got()
		return len(lines) == 2 && lines[1] == "late" && len(ends) == 1
	})
}

func TestDelayKeepsOrder(t *testing.T) {
	_, l := start(t)
	const delay = 30 * time.Millisecond
	l.Set(link.Rule{Up: link.Flow{Delay: delay, Jitter: delay}, Down: link.Flow{Delay: delay}})
	c := dial(t, l, "")
	began := time.Now()
	for i := range 20 {
		c.send(fmt.Sprint(i))
	}
	for i := range 20 {
		if got, err := c.receive(patience); got != fmt.Sprintf("re: %d", i) || err != nil {
			t.Fatalf("answer %d = %q, %v", i, got, err)
		}
	}
	if took := time.Since(began); took < 2*delay {
		t.Errorf("20 lines took %v, want at least %v", took, 2*delay)
	}
}

func TestRate(t *testing.T) {
	_, l := start(t)
	l.Set(link.Rule{Up: link.Flow{Rate: 1 << 20}})
	c := dial(t, l, "")
	began := time.Now()
	c.send(strings.Repeat("x", 200<<10))
	if _, err := c.receive(patience); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 150*time.Millisecond {
		t.Errorf("200 KiB at 1 MiB/s took %v", took)
	}
}

func TestRulesBySource(t *testing.T) {
	_, l := start(t)
	near, far := dial(t, l, "127.0.0.1"), dial(t, l, "127.0.7.1")
	near.echo("near")
	far.echo("far")
	source := netip.MustParseAddr("127.0.7.1")
	l.SetFrom(source, link.Rule{Refuse: true})
	l.ResetIf(func(c link.Conn) bool { return c.Source.Addr() == source })
	far.ended()
	refused(t, l, "127.0.7.1")
	near.echo("still")
	l.ClearFrom(source)
	dial(t, l, "127.0.7.1").echo("again")
}

func TestHalfCloseByTheLink(t *testing.T) {
	s, l := start(t)
	c := dial(t, l, "")
	c.echo("one")
	l.HalfClose(link.Down)
	if _, err := c.receive(patience); err != io.EOF {
		t.Errorf("read = %v, want EOF", err)
	}
	c.send("heard")
	eventually(t, "the server hears", func() bool { lines, _ := s.got(); return len(lines) == 2 })
}

// TestVerdicts: what each verdict on the line "marked" does to both sides.
func TestVerdicts(t *testing.T) {
	for name, v := range map[string]struct {
		verdict link.Verdict
		arrives bool // at the server
	}{
		"cut": {link.Cut, false}, "cut after": {link.CutAfter, true}, "tear": {link.Tear, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, l := start(t)
			l.Intercept(func(c link.Chunk) link.Verdict {
				if c.Direction == link.Up && c.Contains("marked") {
					return v.verdict
				}
				return link.Pass
			})
			c := dial(t, l, "")
			c.echo("plain")
			c.send("marked")
			eventually(t, "the server's connection ends", func() bool { _, ends := s.got(); return len(ends) == 1 })
			if lines, _ := s.got(); (len(lines) == 2) != v.arrives {
				t.Errorf("the server got %q, want the marked line: %v", lines, v.arrives)
			}
			if _, err := c.receive(patience); err == nil && !v.arrives {
				t.Errorf("read = %v, want an end", err)
			}
		})
	}
}

func TestHookHoldAndDropAnswer(t *testing.T) {
	s, l := start(t)
	c := dial(t, l, "")
	var held, lose atomic.Bool
	l.Intercept(func(c link.Chunk) link.Verdict {
		switch {
		case c.Direction == link.Up && c.Contains("held"):
			held.Store(true)
			return link.Hold
		case c.Direction == link.Down && lose.Load():
			return link.Drop
		}
		return link.Pass
	})
	if _, err := c.c.Write([]byte("he")); err != nil { // the pattern lies across two chunks
		t.Fatal(err)
	}
	eventually(t, "the first half passes", func() bool { got := l.Conns(); return len(got) == 1 && got[0].Up == 2 })
	c.send("ld")
	eventually(t, "the chunk is held", held.Load)
	dial(t, l, "").echo("others pass")
	c.silent()
	l.Release()
	if got, err := c.receive(patience); got != "re: held" || err != nil {
		t.Fatalf("answer after release = %q, %v", got, err)
	}
	lose.Store(true)
	c.send("unanswered")
	eventually(t, "the server hears", func() bool { lines, _ := s.got(); return lines[len(lines)-1] == "unanswered" })
	c.silent()
	l.Heal()
	c.ended() // not the answer to a later line
}

// TestClearUnderAHook: connections made under Up.Drop have no target, so nothing can pass once the rule is gone, whatever the hook says.
func TestClearUnderAHook(t *testing.T) {
	_, l := start(t)
	l.Intercept(func(link.Chunk) link.Verdict { return link.Pass })
	source := netip.MustParseAddr("127.0.7.1")
	l.SetFrom(source, link.BlackHole)
	c := dial(t, l, "127.0.7.1")
	c.send("lost")
	c.silent()
	l.ClearFrom(source)
	c.ended()
	dial(t, l, "127.0.7.1").echo("again")
}
