package zookeeper

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/regency-project/regency/coordination"
)

// fake is a ZooKeeper server as far as the handshake: enough for what the client library does around it.
type fake struct {
	listener net.Listener
	asked    chan int64 // the session that each handshake asked for; 0: a new one
	running  sync.WaitGroup
	conns    sync.Map // to be closed with the test
}

// newFake answers handshake n, from 0 on, with the session that answer returns (0: expired), and then leaves the connection to it.
func newFake(t *testing.T, answer func(n int) (session int64, then func(net.Conn))) *fake {
	t.Helper()
	f := &fake{asked: make(chan int64, 100)}
	var err error
	if f.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	f.running.Go(func() {
		for n := 0; ; n++ {
			conn, err := f.listener.Accept()
			if err != nil {
				return
			}
			f.running.Go(func() {
				defer conn.Close()
				f.conns.Store(conn, nil)
				f.handshake(conn, n, answer)
			})
		}
	})
	t.Cleanup(func() {
		_ = f.listener.Close()
		f.conns.Range(func(conn, _ any) bool { _ = conn.(net.Conn).Close(); return true })
		f.running.Wait()
	})
	return f
}

func (f *fake) handshake(conn net.Conn, n int, answer func(int) (int64, func(net.Conn))) {
	// Length, protocol version, last zxid seen, timeout, session, password.
	request := make([]byte, 4+4+8+4+8+4+16)
	if _, err := io.ReadFull(conn, request); err != nil {
		return
	}
	f.asked <- int64(binary.BigEndian.Uint64(request[20:]))
	session, then := answer(n)
	response := binary.BigEndian.AppendUint32(nil, 4+4+8+4+16)
	response = binary.BigEndian.AppendUint32(response, 0)
	response = binary.BigEndian.AppendUint32(response, 10_000)
	response = binary.BigEndian.AppendUint64(response, uint64(session))
	response = binary.BigEndian.AppendUint32(response, 16)
	response = append(response, make([]byte, 16)...)
	if _, err := conn.Write(response); err == nil {
		then(conn)
	}
}

func leave(net.Conn) {}

func stay(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

func fakeLink(t *testing.T, f *fake, onNode func(zk.Event)) *link {
	t.Helper()
	cfg := Config{Hosts: []string{f.listener.Addr().String()}, Prefix: "/a", Session: 10 * time.Second, Request: 5 * time.Second}
	l, err := newLink(cfg, nil, slog.New(slog.DiscardHandler), false, onNode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.end(false) })
	return l
}

// TestNoSilentNewSession: after an expiry the library opens a new session by itself, and runs in it what was queued. Ours connects no more.
func TestNoSilentNewSession(t *testing.T) {
	f := newFake(t, func(n int) (int64, func(net.Conn)) {
		if n == 0 {
			return 7, leave
		}
		return 0, leave // expired
	})
	l := fakeLink(t, f, func(zk.Event) {})
	select {
	case <-l.expired:
	case <-time.After(10 * time.Second):
		t.Fatal("the expiry was not noticed")
	}
	if _, err := call(t.Context(), l, func(c *zk.Conn) (string, error) { return c.Sync("/a") }); !errors.Is(err, errNotSent) {
		t.Errorf("call() after the expiry = %v, want errNotSent", err)
	}
	for i, want := range []int64{0, 7} {
		if got := <-f.asked; got != want {
			t.Errorf("handshake %d asked for session %d, want %d", i, got, want)
		}
	}
	// The library comes back within a millisecond if it is let.
	select {
	case got := <-f.asked:
		t.Errorf("a third handshake asked for session %d, want none", got)
	case <-time.After(300 * time.Millisecond):
	}
}

// TestReconnectsAtOnce: the library sleeps a full second before it connects to a single server again, which is a session's life here.
func TestReconnectsAtOnce(t *testing.T) {
	const losses = 3
	f := newFake(t, func(n int) (int64, func(net.Conn)) {
		if n < losses {
			return 7, leave
		}
		return 7, stay
	})
	began := time.Now()
	fakeLink(t, f, func(zk.Event) {})
	for range losses + 1 {
		select {
		case <-f.asked:
		case <-time.After(10 * time.Second):
			t.Fatal("no further handshake")
		}
	}
	if took := time.Since(began); took > losses*900*time.Millisecond {
		t.Errorf("%d reconnections took %v: the library's second of sleep is in each", losses, took)
	}
}

// TestNoEventIsDropped: the library's event channel has six places, and what does not fit is dropped. Ours are told by callback.
func TestNoEventIsDropped(t *testing.T) {
	const events = 200
	f := newFake(t, func(int) (int64, func(net.Conn)) {
		return 7, func(conn net.Conn) {
			for i := range events {
				path := fmt.Sprintf("/k%03d", i)
				body := binary.BigEndian.AppendUint32(nil, 0xffffffff) // xid of a notification
				body = binary.BigEndian.AppendUint64(body, 0xffffffffffffffff)
				body = binary.BigEndian.AppendUint32(body, 0)
				body = binary.BigEndian.AppendUint32(body, uint32(zk.EventNodeDataChanged))
				body = binary.BigEndian.AppendUint32(body, uint32(zk.StateConnected))
				body = binary.BigEndian.AppendUint32(body, uint32(len(path)))
				body = append(body, path...)
				if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)); err != nil {
					return
				}
			}
			stay(conn)
		}
	})
	var told atomic.Int32
	all := make(chan struct{})
	fakeLink(t, f, func(e zk.Event) {
		if want := fmt.Sprintf("/k%03d", told.Load()); e.Path != want {
			t.Errorf("event %d is of %s, want %s", told.Load(), e.Path, want)
		}
		if told.Add(1) == events {
			close(all)
		}
	})
	select {
	case <-all:
	case <-time.After(10 * time.Second):
		t.Errorf("%d events were told, want %d", told.Load(), events)
	}
}

// TestFailedMultiNamesItsGuard: the library answers a multi that was rolled back with no error for the operations before the one that failed, and with
// errors of their own for those after it.
func TestFailedMultiNamesItsGuard(t *testing.T) {
	cfg := Config{Hosts: []string{silentServer(t)}, Prefix: "/a", Session: time.Minute, Request: time.Second}
	l, err := newLink(cfg, nil, slog.New(slog.DiscardHandler), false, func(zk.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	defer l.end(false)
	s := &Session{link: l, id: "sid"}
	newMulti := func() *multi {
		return &multi{
			s:     s,
			ops:   []any{&zk.CheckVersionRequest{}, &zk.SetDataRequest{}, &zk.CreateRequest{}, &zk.SetDataRequest{}},
			origs: []origin{{guard: 0, key: "chain"}, {guard: 1, key: "controller"}, {guard: 2, key: "brokers/1"}, {guard: -1, own: true}},
		}
	}
	rolledBack := errors.New("rolled back") // what the library makes of RuntimeInconsistency
	for at, reason := range []error{zk.ErrBadVersion, zk.ErrNoNode, zk.ErrNodeExists} {
		list := make([]zk.MultiResponse, 4)
		list[at].Error = reason
		for after := at + 1; after < len(list); after++ {
			list[after].Error = rolledBack
		}
		err := newMulti().failure(answers{list: list, err: reason})
		var conflict *coordination.ConflictError
		if !errors.As(err, &conflict) || conflict.Guard != at {
			t.Errorf("operation %d failed: %v, want a conflict on guard %d", at, err, at)
		}
	}
	list := make([]zk.MultiResponse, 4)
	list[3].Error = zk.ErrNoNode
	if err := newMulti().failure(answers{list: list, err: zk.ErrNoNode}); !errors.Is(err, coordination.ErrSessionLost) {
		t.Errorf("the session's own node is gone: %v, want ErrSessionLost", err)
	}
}
