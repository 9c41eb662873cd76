package fault

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/link"
)

// echo answers every line of every connection.
func echo(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for lines := bufio.NewScanner(c); lines.Scan(); {
					fmt.Fprintln(c, lines.Text())
				}
			}()
		}
	}()
	return ln.Addr().String()
}

func wire(t *testing.T) (*link.Link, Leg) {
	t.Helper()
	l, err := link.Listen(echo(t), link.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, Leg{Wire: NewWire(l, netip.Addr{}), Out: true}
}

func dial(t *testing.T, l *link.Link) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// say returns how long the answer took.
func say(c net.Conn, wait time.Duration) (time.Duration, error) {
	began := time.Now()
	if _, err := fmt.Fprintln(c, "hello"); err != nil {
		return 0, err
	}
	_ = c.SetReadDeadline(time.Now().Add(wait))
	_, err := bufio.NewReader(c).ReadString('\n')
	return time.Since(began), err
}

// keepTalking dials again and again: what passes after the end of a fault is its evidence.
func keepTalking(t *testing.T, l *link.Link) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if c, err := net.DialTimeout("tcp", l.Addr(), 50*time.Millisecond); err == nil {
				_, _ = say(c, 50*time.Millisecond)
				_ = c.Close()
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
}

func TestCutIsObservedAndEnds(t *testing.T) {
	l, leg := wire(t)
	c := dial(t, l)
	if _, err := say(c, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	f := Cut(leg)
	begin(t, f)
	if _, err := say(c, 10*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a cut connection: %v, want a reset", err)
	}
	keepTalking(t, l)
	if _, err := End(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	if _, err := say(dial(t, l), 10*time.Second); err != nil {
		t.Errorf("after the end: %v", err)
	}
}

func TestBlackholePassesNothingInItsDirectionOnly(t *testing.T) {
	for _, d := range []Direction{Both, To, From} {
		l, leg := wire(t)
		c := dial(t, l)
		if _, err := say(c, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		f := Blackhole(d, leg)
		begin(t, f)
		before := l.Conns()[0]
		if _, err := say(c, 150*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("direction %d: %v, want silence", d, err)
		}
		after := l.Conns()[0]
		if up := after.Up > before.Up; up != (d == To) { // who dials is the target: what goes up is from it
			t.Errorf("direction %d: passed upwards: %t", d, up)
		}
		keepTalking(t, l)
		if _, err := End(t.Context(), f); err != nil {
			t.Errorf("direction %d: %v", d, err)
		}
	}
}

// TestFaultThatDoesNotHoldIsTold: another took its rule away.
func TestFaultThatDoesNotHoldIsTold(t *testing.T) {
	l, leg := wire(t)
	f := Blackhole(Both, leg)
	begin(t, f)
	l.Heal()
	if _, err := say(dial(t, l), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := End(t.Context(), f); err == nil || !strings.Contains(err.Error(), "passed while nothing should") {
		t.Errorf("error = %v", err)
	}
}

func TestDelaysAddUpAndNeedTraffic(t *testing.T) {
	l, leg := wire(t)
	a, b := Shape(Both, 30*time.Millisecond, 0, 0, leg), Shape(From, 40*time.Millisecond, 0, 0, leg)
	begin(t, a)
	begin(t, b)
	c := dial(t, l)
	if took, err := say(c, 10*time.Second); err != nil || took < 100*time.Millisecond {
		t.Errorf("an answer took %v (%v), want at least 30 + 40 and 30 ms", took, err)
	}
	keepTalking(t, l)
	if _, err := End(t.Context(), b); err != nil {
		t.Error(err)
	}
	_, quiet := wire(t)
	f := Shape(Both, time.Millisecond, 0, 0, quiet)
	begin(t, f)
	if err := f.Recover(t.Context()); err == nil {
		t.Error("a delay on a link that carried nothing is no error")
	}
}

// TestSharesAreTold: a fault of one source leaves the others alone.
func TestSharesAreTold(t *testing.T) {
	l, err := link.Listen(echo(t), link.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	from := func(ip string) (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		return d.DialContext(t.Context(), "tcp", l.Addr())
	}
	other, err := from("127.0.0.102")
	if err != nil {
		if runtime.GOOS == "linux" {
			t.Fatal(err)
		}
		t.Skipf("this host has no address 127.0.0.102: %v", err)
	}
	defer other.Close()
	begin(t, Cut(Leg{Wire: NewWire(l, netip.MustParseAddr("127.0.0.101")), Out: true}))
	if _, err := say(other, 10*time.Second); err != nil {
		t.Errorf("the other source: %v", err)
	}
	if c, err := from("127.0.0.101"); err == nil {
		if _, err := say(c, 10*time.Second); err == nil {
			t.Error("the source that was cut off is answered")
		}
		_ = c.Close()
	}
}
