package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regency-project/regency/broker/api"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const deadline = 20 * time.Second

// logBuffer is a log that tests wait on.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type running struct {
	addr string
	log  *logBuffer
	stop func()
}

func start(t *testing.T, c Config) *running {
	t.Helper()
	r := &running{log: &logBuffer{}}
	c.Log = slog.New(slog.NewTextHandler(r.log, nil))
	if c.Kind == 0 {
		c.Kind = api.Client
	}
	ln, err := Listen(t.Context(), "listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- New(c).Serve(ctx, ln) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve() = %v, want nil", err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	return c
}

func send(t *testing.T, c net.Conn, correlationID int32, req kmsg.Request) {
	t.Helper()
	if _, err := c.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("tester")).AppendRequest(nil, req, correlationID)); err != nil {
		t.Fatal(err)
	}
}

// receive reads a response; the body follows a version 0 header.
func receive(t *testing.T, c net.Conn) (correlationID int32, body []byte) {
	t.Helper()
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		t.Fatalf("read response: %v", err)
	}
	body = make([]byte, binary.BigEndian.Uint32(head[:])-4)
	if _, err := io.ReadFull(c, body); err != nil {
		t.Fatalf("read response: %v", err)
	}
	return int32(binary.BigEndian.Uint32(head[4:])), body
}

func mustClose(t *testing.T, c net.Conn) {
	t.Helper()
	n, err := c.Read(make([]byte, 1))
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatalf("Read() = %d, %v, want a closed connection", n, err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", deadline, what)
		}
	}
}

// heartbeats answers version 0 heartbeats with the generation as error code, after wait.
func heartbeats(wait func(ctx context.Context, generation int32) error) api.Key {
	return api.Key{Num: 12, Min: 0, Max: 2, Handle: func(_ context.Context, _ api.Caller, r kmsg.Request) (api.Await, error) {
		req := r.(*kmsg.HeartbeatRequest)
		return func(ctx context.Context) (kmsg.Response, error) {
			if err := wait(ctx, req.Generation); err != nil {
				return nil, err
			}
			resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
			resp.ErrorCode = int16(req.Generation)
			return resp, nil
		}, nil
	}}
}

func heartbeat(generation int32) kmsg.Request {
	r := kmsg.NewPtrHeartbeatRequest()
	r.Generation = generation
	return r
}

func TestResponsesInRequestOrder(t *testing.T) {
	release := make(chan struct{})
	var begun atomic.Int32
	key := heartbeats(func(_ context.Context, g int32) error {
		begun.Add(1)
		if g == 0 {
			<-release
		}
		return nil
	})
	s := start(t, Config{Keys: []api.Key{key}})
	c := dial(t, s.addr)
	for i := range int32(5) {
		send(t, c, 100+i, heartbeat(i))
	}
	eventually(t, "the first response is waited for", func() bool { return begun.Load() == 1 })
	close(release)
	for i := range int32(5) {
		id, body := receive(t, c)
		if id != 100+i || !bytes.Equal(body, []byte{0, byte(i)}) {
			t.Fatalf("response %d = id %d body %x, want id %d body %04x", i, id, body, 100+i, i)
		}
	}
}

func TestNilResponseIsNotSent(t *testing.T) {
	key := api.Key{Num: 12, Max: 2, Handle: func(_ context.Context, _ api.Caller, r kmsg.Request) (api.Await, error) {
		if r.(*kmsg.HeartbeatRequest).Generation == 0 {
			return api.Done(nil), nil
		}
		return api.Done(r.ResponseKind()), nil
	}}
	c := dial(t, start(t, Config{Keys: []api.Key{key}}).addr)
	send(t, c, 1, heartbeat(0))
	send(t, c, 2, heartbeat(1))
	if id, _ := receive(t, c); id != 2 {
		t.Errorf("first response has id %d, want 2: request 1 gets none", id)
	}
}

func TestPipelineIsBounded(t *testing.T) {
	release := make(chan struct{})
	var handled atomic.Int32
	key := heartbeats(func(context.Context, int32) error { <-release; return nil })
	inner := key.Handle
	key.Handle = func(ctx context.Context, c api.Caller, r kmsg.Request) (api.Await, error) {
		handled.Add(1)
		return inner(ctx, c, r)
	}
	for _, tt := range []struct {
		name string
		cfg  Config
		want int32 // one being waited for, the queue, and one that the reader holds
	}{
		{"requests", Config{Pipeline: 3}, 5},
		{"bytes", Config{PipelineBytes: 1}, 2}, // one under way, and one that the reader holds
	} {
		t.Run(tt.name, func(t *testing.T) {
			release = make(chan struct{})
			handled.Store(0)
			tt.cfg.Keys = []api.Key{key}
			c := dial(t, start(t, tt.cfg).addr)
			for i := range int32(20) {
				send(t, c, i, heartbeat(1))
			}
			eventually(t, "the pipeline is full", func() bool { return handled.Load() == tt.want })
			close(release)
			for i := range int32(20) {
				if id, _ := receive(t, c); id != i {
					t.Fatalf("response id %d, want %d", id, i)
				}
			}
			if got := handled.Load(); got != 20 {
				t.Errorf("%d requests handled, want 20", got)
			}
		})
	}
}

func TestBadInputClosesTheConnection(t *testing.T) {
	ok := heartbeats(func(context.Context, int32) error { return nil })
	failing := api.Key{Num: 13, Max: 2, Handle: func(context.Context, api.Caller, kmsg.Request) (api.Await, error) {
		return nil, errors.New("handler is cross")
	}}
	peerOnly := api.Key{Num: 7, Max: 3, PeerOnly: true, Handle: ok.Handle}
	s := start(t, Config{Keys: []api.Key{ok, failing, peerOnly, {Num: 0, Min: 0, ServeMin: 3, Max: 9, Handle: ok.Handle}}, MaxFrame: 1000})
	versioned := func(r kmsg.Request, v int16) []byte {
		r.SetVersion(v)
		return kmsg.NewRequestFormatter(kmsg.FormatterClientID("tester")).AppendRequest(nil, r, 1)
	}
	for _, tt := range []struct {
		name string
		in   []byte
		log  string
	}{
		{"oversized frame", []byte{0x7f, 0xff, 0xff, 0xff}, "read frame of 2147483647 bytes, limit 1000"},
		{"negative frame", []byte{0xff, 0xff, 0xff, 0xff}, "read frame of -1 bytes"},
		{"garbage", []byte("\x00\x00\x00\x08garbage!"), "parse header"},
		{"http", []byte("GET / HTTP/1.1\r\n\r\n"), "HTTP client"},
		{"key of nobody", []byte("\x00\x00\x00\x0e\x7f\x00\x00\x05\x00\x00\x00\x01\x00\x04oddy"), "key 32512) version 5 from client"},
		{"key not served", versioned(kmsg.NewPtrCreateTopicsRequest(), 4), "CreateTopics (key 19) version 4"},
		{"peer key", versioned(kmsg.NewPtrControlledShutdownRequest(), 1), "not served on the client listener"},
		{"version not served", versioned(kmsg.NewPtrHeartbeatRequest(), 4), "Heartbeat (key 12) version 4"},
		{"version announced only", versioned(kmsg.NewPtrProduceRequest(), 2), "only 3 to 9 are"},
		{"malformed body", []byte("\x00\x00\x00\x0c\x00\x0c\x00\x00\x00\x00\x00\x01\xff\xff\x7f\xff"), "decode Heartbeat (key 12) version 0"},
		{"handler error", versioned(kmsg.NewPtrLeaveGroupRequest(), 0), "handler is cross"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, s.addr)
			if _, err := c.Write(tt.in); err != nil {
				t.Fatal(err)
			}
			mustClose(t, c)
			eventually(t, "the log says "+tt.log, func() bool { return strings.Contains(s.log.String(), tt.log) })
		})
	}
	c := dial(t, s.addr) // the server lives
	send(t, c, 9, heartbeat(0))
	if id, _ := receive(t, c); id != 9 {
		t.Errorf("response id %d, want 9", id)
	}
}

func TestUnknownApiVersionsVersion(t *testing.T) {
	b := &api.Broker{}
	keys := []api.Key{{Num: 18, Max: 4, Handle: apiVersionsOf(b)}}
	c := dial(t, start(t, Config{Keys: keys}).addr)
	// A version far ahead, with a body that nobody here can know.
	in := []byte("\x00\x00\x00\x11\x00\x12\x00\x63\x00\x00\x00\x05\x00\x02me\x00?????")
	in[3] = byte(len(in) - 4)
	if _, err := c.Write(in); err != nil {
		t.Fatal(err)
	}
	id, body := receive(t, c)
	var resp kmsg.ApiVersionsResponse
	if err := resp.ReadFrom(body); err != nil || id != 5 || resp.ErrorCode != 35 || len(resp.ApiKeys) == 0 {
		t.Fatalf("response = id %d, error code %d, %d keys, %v; want id 5, error code 35 and keys", id, resp.ErrorCode, len(resp.ApiKeys), err)
	}
}

// apiVersionsOf takes the handler out of the broker's table.
func apiVersionsOf(b *api.Broker) api.Handler {
	for _, k := range b.Keys() {
		if k.Num == 18 {
			return k.Handle
		}
	}
	return nil
}

func TestMaxConnections(t *testing.T) {
	s := start(t, Config{Keys: []api.Key{heartbeats(func(context.Context, int32) error { return nil })}, MaxConnections: 1})
	first := dial(t, s.addr)
	send(t, first, 1, heartbeat(0))
	receive(t, first)
	mustClose(t, dial(t, s.addr))
	first.Close()
	eventually(t, "a place is free again", func() bool {
		c := dial(t, s.addr)
		send(t, c, 2, heartbeat(0))
		n, err := c.Read(make([]byte, 1))
		return n == 1 && err == nil
	})
}

func TestIdleTimeout(t *testing.T) {
	mustClose(t, dial(t, start(t, Config{IdleTimeout: 20 * time.Millisecond}).addr))
}

func TestStopLetsRequestsFinish(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	key := heartbeats(func(context.Context, int32) error { close(begun); <-release; return nil })
	s := start(t, Config{Keys: []api.Key{key}, Grace: deadline})
	c := dial(t, s.addr)
	send(t, c, 1, heartbeat(0))
	<-begun
	stopped := make(chan struct{})
	go func() { s.stop(); close(stopped) }()
	eventually(t, "the listener is closed", func() bool {
		n, err := net.Dial("tcp", s.addr)
		if err == nil {
			n.Close()
		}
		return err != nil
	})
	close(release)
	if id, _ := receive(t, c); id != 1 {
		t.Errorf("response id %d, want 1", id)
	}
	<-stopped
	mustClose(t, c)
}

func TestStopEndsWhatDoesNotFinish(t *testing.T) {
	begun := make(chan struct{})
	key := heartbeats(func(ctx context.Context, _ int32) error { close(begun); <-ctx.Done(); return ctx.Err() })
	s := start(t, Config{Keys: []api.Key{key}, Grace: 10 * time.Millisecond})
	c := dial(t, s.addr)
	send(t, c, 1, heartbeat(0))
	<-begun
	s.stop()
	mustClose(t, c)
}

func TestClientLeavingCancels(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	key := heartbeats(func(ctx context.Context, _ int32) error { close(begun); <-ctx.Done(); close(ended); return ctx.Err() })
	s := start(t, Config{Keys: []api.Key{key}})
	c := dial(t, s.addr)
	send(t, c, 1, heartbeat(0))
	<-begun
	c.Close()
	select {
	case <-ended:
	case <-time.After(deadline):
		t.Fatal("the Await goes on after its client left")
	}
}

func TestListenErrors(t *testing.T) {
	ln, err := Listen(t.Context(), "listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, tt := range []struct{ address, want string }{
		{ln.Addr().String(), "--listen " + ln.Addr().String() + ": address already in use: choose another port"},
		{"192.0.2.1:9092", "--listen 192.0.2.1:9092: this host has no such address"},
		{"nonsense", "--listen nonsense: "},
	} {
		if other, err := Listen(t.Context(), "listen", tt.address); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("Listen(%s) error = %v, want %q …", tt.address, err, tt.want)
			if other != nil {
				other.Close()
			}
		}
	}
}

// What an Await waits for keeps its place until the Await was called, also if the connection broke.
func TestEveryAwaitIsCalledAfterTheConnectionBroke(t *testing.T) {
	const requests = 12
	for _, tt := range []struct {
		name string
		cfg  Config
	}{
		{"all queued", Config{Pipeline: requests}},
		{"some not queued", Config{Pipeline: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var handled, awaited atomic.Int32
			key := heartbeats(func(ctx context.Context, _ int32) error {
				<-ctx.Done()
				awaited.Add(1)
				return context.Cause(ctx)
			})
			inner := key.Handle
			key.Handle = func(ctx context.Context, c api.Caller, r kmsg.Request) (api.Await, error) {
				handled.Add(1)
				return inner(ctx, c, r)
			}
			tt.cfg.Keys = []api.Key{key}
			s := start(t, tt.cfg)
			c := dial(t, s.addr)
			for i := range int32(requests) {
				send(t, c, i, heartbeat(i))
			}
			want := int32(min(requests, tt.cfg.Pipeline+2))
			eventually(t, "the requests are handled", func() bool { return handled.Load() == want })
			if tt.cfg.Pipeline < requests {
				s.stop() // the reader is blocked, so it is the grace period's end that breaks the connection
			} else {
				c.Close()
			}
			eventually(t, "each response is awaited", func() bool { return awaited.Load() == want })
		})
	}
}
