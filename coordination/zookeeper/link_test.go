package zookeeper

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/backend/options"

	"github.com/go-zookeeper/zk"
)

// silentServer accepts and says nothing.
func silentServer(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				_, _ = io.Copy(io.Discard, conn) // until the client leaves
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		running.Wait()
	})
	return listener.Addr().String()
}

func TestCallsEndWithoutAServer(t *testing.T) {
	cfg := Config{Hosts: []string{silentServer(t)}, Prefix: "/a", Session: time.Minute, Request: 50 * time.Millisecond}.withDefaults()
	l, err := newLink(cfg, nil, slog.New(slog.DiscardHandler), false, func(zk.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	defer l.end(false)
	_, err = call(context.Background(), l, func(c *zk.Conn) (string, error) { return c.Sync("/a") })
	if !errors.Is(err, errNotSent) {
		t.Errorf("call() = %v, want errNotSent", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err = call(ctx, l, func(c *zk.Conn) (string, error) { return c.Sync("/a") }); !errors.Is(err, context.Canceled) {
		t.Errorf("call() with a cancelled context = %v, want it to say so", err)
	}
	l.end(false)
	if err := l.ready(context.Background()); !errors.Is(err, errStopped) {
		t.Errorf("ready() after the end = %v, want errStopped", err)
	}
}

func TestHandshakeIsBounded(t *testing.T) {
	conn, err := net.Dial("tcp", silentServer(t))
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Conn: conn, handshakeEnds: time.Now().Add(50 * time.Millisecond)}
	defer w.Close()
	for _, deadline := range []time.Time{time.Now().Add(time.Hour), {}} { // what the library sets, in its order
		if err := w.SetReadDeadline(deadline); err != nil {
			t.Fatal(err)
		}
	}
	var timeout net.Error
	if _, err := w.Read(make([]byte, 4)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("Read() from a silent server = %v, want a timeout", err)
	}
	if err := w.finish(); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	if got := w.clamp(later); !got.Equal(later) {
		t.Errorf("a deadline after the handshake became %v, want %v", got, later)
	}
}

func TestWireReadsTheGrantedTimeout(t *testing.T) {
	ours, theirs := net.Pipe()
	w := &wire{Conn: ours, handshakeEnds: time.Now().Add(time.Minute), mute: true}
	defer w.Close()
	sent := make(chan []byte, 1)
	go func() {
		_, _ = theirs.Write([]byte{0, 0, 0, 37, 0, 0, 0, 0, 0, 0, 0x08, 0x98, 1, 2, 3})
		b, _ := io.ReadAll(theirs)
		sent <- b
	}()
	for _, n := range []int{4, 11} { // as the library reads it
		if _, err := io.ReadFull(w, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := w.granted(), 2200*time.Millisecond; got != want {
		t.Errorf("granted() = %v, want %v", got, want)
	}
	// A renewed session's connection sends no pings: only renewals keep it.
	for _, b := range [][]byte{ping, []byte("request")} {
		if n, err := w.Write(b); n != len(b) || err != nil {
			t.Errorf("Write() = %d, %v", n, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-sent; string(got) != "request" {
		t.Errorf("sent %q, want %q", got, "request")
	}
}

func TestHostsGoRoundWithoutTheLibrarysSleep(t *testing.T) {
	over := make(chan struct{})
	h := &hosts{stopped: over}
	if err := h.Init([]string{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a", "b", "a", "b", "a"} {
		if got, sleep := h.Next(); got != want || sleep {
			t.Errorf("Next() = %q, %v, want %q, false", got, sleep, want)
		}
	}
	close(over)
	if _, sleep := h.Next(); !sleep {
		t.Error("Next() of a link that is over does not make the library look whether it should quit")
	}
	if err := h.pace(); !errors.Is(err, errStopped) {
		t.Errorf("pace() of a link that is over = %v, want errStopped", err)
	}
}

func TestHubKeepsWatchesArmedOnce(t *testing.T) {
	h := newHub()
	wake := make(chan struct{}, 1)
	h.follow("/k", wake)
	read := func(during func()) (watched bool) {
		got, err := arm(h, "/k", func(watch bool) (bool, error) {
			if during != nil {
				during()
			}
			return watch, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if !read(nil) {
		t.Error("the first read sets no watch")
	}
	if read(nil) {
		t.Error("the second read sets a watch although one is armed")
	}
	h.event(zk.Event{Type: zk.EventNodeDataChanged, Path: "/k"})
	select {
	case <-wake:
	default:
		t.Error("the event wakes nobody")
	}
	// The watch fires before its own read returns: it is not armed then.
	if !read(func() { h.event(zk.Event{Type: zk.EventNodeDataChanged, Path: "/k"}) }) || !read(nil) {
		t.Error("a watch that fired at once counts as armed")
	}
	h.unfollow("/k", wake)
	h.event(zk.Event{Type: zk.EventNodeDeleted, Path: "/k"})
	h.follow("/k", wake)
	h.unfollow("/k", wake)
	if len(h.mu.paths) != 0 {
		t.Errorf("%d paths are remembered, want 0", len(h.mu.paths))
	}
}

// TestTLS dials a server that the configured CA vouches for, and one for which it does not.
func TestTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	server.StartTLS()
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	_, trusting, err := Config{TLS: options.TLS{CA: ca}}.load()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := dial(server.Listener.Addr().String(), 10*time.Second, trusting)
	if err != nil {
		t.Fatalf("dial() = %v", err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if conn, err := dial(server.Listener.Addr().String(), 10*time.Second, &tls.Config{MinVersion: tls.VersionTLS12}); err == nil {
		t.Errorf("dial() trusts a server that no CA vouches for: %v", conn.Close())
	}
	// A server that never answers the handshake.
	began := time.Now()
	if conn, err := dial(silentServer(t), 50*time.Millisecond, trusting); err == nil {
		t.Errorf("dial() of a silent server succeeded: %v", conn.Close())
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("dial() of a silent server took %v", took)
	}
}

// TestFaultOfOneServer: a fault of one server is the link's only once all gave one, or the others have had time to take us.
func TestFaultOfOneServer(t *testing.T) {
	h := &hosts{stopped: make(chan struct{})}
	if err := h.Init([]string{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	h.mu.attempts = 2 * 2
	l := &link{hosts: h}
	l.mu.apart, l.mu.refusedBy = time.Now().Add(time.Hour), map[string]bool{} // no time passes
	l.failed("a", &options.Fault{Remedy: "ca: wrong", Err: errors.New("refused")})
	l.failed("b", errors.New("no answer"))
	if f := l.fault(); f != nil {
		t.Errorf("fault() = %v, although only one of two servers gave one", f)
	}
	l.mu.apart = time.Now().Add(-options.FaultPatience)
	if l.fault() == nil {
		t.Error("fault() waits for ever for a server that does not answer")
	}
	l.mu.apart = time.Now().Add(time.Hour)
	l.failed("b", &options.Fault{Remedy: "ca: wrong", Err: errors.New("refused")})
	if l.fault() == nil {
		t.Error("fault() = nil, although both servers gave one")
	}
}
