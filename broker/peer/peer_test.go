package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// frame is a request as a listener sees it.
type frame struct {
	correlation uint32
	nc          net.Conn
}

// answer sends a Metadata v0 response without topics whose one broker has the given id.
func (f frame) answer(t *testing.T, id int32) {
	resp := kmsg.NewPtrMetadataResponse()
	resp.Brokers = []kmsg.MetadataResponseBroker{{NodeID: id}}
	body := resp.AppendTo(make([]byte, 8))
	binary.BigEndian.PutUint32(body, uint32(len(body)-4))
	binary.BigEndian.PutUint32(body[4:], f.correlation)
	if _, err := f.nc.Write(body); err != nil {
		t.Errorf("answer: %v", err)
	}
}

// listen hands the frames of all connections to the test.
func listen(t *testing.T) (addr string, frames chan frame) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	frames = make(chan frame, 100)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, nc)
			mu.Unlock()
			wg.Go(func() {
				for {
					var size [4]byte
					if _, err := io.ReadFull(nc, size[:]); err != nil {
						return
					}
					b := make([]byte, binary.BigEndian.Uint32(size[:]))
					if _, err := io.ReadFull(nc, b); err != nil {
						return
					}
					frames <- frame{binary.BigEndian.Uint32(b[4:]), nc}
				}
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return ln.Addr().String(), frames
}

type result struct {
	id  int32
	err error
}

func ask(request func(context.Context, kmsg.Request) (kmsg.Response, error)) chan result {
	c := make(chan result, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		resp, err := request(ctx, kmsg.NewPtrMetadataRequest())
		r := result{err: err}
		if err == nil {
			r.id = resp.(*kmsg.MetadataResponse).Brokers[0].NodeID
		}
		c <- r
	}()
	return c
}

func TestAnswersByCorrelationID(t *testing.T) {
	addr, frames := listen(t)
	p := NewPool(Config{SourceAddress: "127.0.0.1"})
	defer p.Close()
	c, err := p.Dial(context.Background(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	first := ask(c.Request)
	f1 := <-frames
	second := ask(c.Request)
	f2 := <-frames
	f2.answer(t, 2)
	if r := <-second; r.err != nil || r.id != 2 {
		t.Fatalf("second = %+v, want 2", r)
	}
	f1.answer(t, 1)
	if r := <-first; r.err != nil || r.id != 1 {
		t.Fatalf("first = %+v, want 1", r)
	}
}

func TestBrokenConnectionFailsAllThatWait(t *testing.T) {
	addr, frames := listen(t)
	p := NewPool(Config{})
	defer p.Close()
	c, err := p.Dial(context.Background(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	first, second := ask(c.Request), ask(c.Request)
	<-frames
	(<-frames).nc.Close()
	for _, r := range []result{<-first, <-second} {
		if !errors.Is(r.err, ErrOutcomeUnknown) {
			t.Errorf("error = %v, want outcome unknown", r.err)
		}
	}
	if r := <-ask(c.Request); !errors.Is(r.err, ErrUnavailable) {
		t.Errorf("on a broken connection: %v, want unavailable", r.err)
	}
}

func TestPoolRedialsAndSpreads(t *testing.T) {
	addr, frames := listen(t)
	p := NewPool(Config{})
	defer p.Close()
	request := func(ctx context.Context, req kmsg.Request) (kmsg.Response, error) { return p.Request(ctx, addr, req) }
	first := ask(request)
	f1 := <-frames
	second := ask(request) // does not wait behind the first
	f2 := <-frames
	if f1.nc == f2.nc {
		t.Errorf("both on one connection")
	}
	f2.answer(t, 2)
	if r := <-second; r.id != 2 {
		t.Fatalf("second = %+v", r)
	}
	f1.nc.Close()
	f2.nc.Close()
	if r := <-first; !errors.Is(r.err, ErrOutcomeUnknown) {
		t.Fatalf("first = %+v, want outcome unknown", r)
	}
	// The pool notices that its connections are gone, sooner or later.
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		third := ask(request)
		select {
		case f := <-frames:
			f.answer(t, 3)
		case r := <-third:
			if r.err == nil {
				t.Fatalf("answered without a frame: %+v", r)
			}
			continue
		}
		if r := <-third; r.err == nil && r.id == 3 {
			return
		}
	}
	t.Fatalf("no answer over a new connection")
}

func TestTimeoutKeepsTheConnection(t *testing.T) {
	addr, frames := listen(t)
	p := NewPool(Config{})
	defer p.Close()
	c, err := p.Dial(context.Background(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(context.Background())
	late := make(chan error, 1)
	go func() {
		_, err := c.Request(ctx, kmsg.NewPtrMetadataRequest())
		late <- err
	}()
	f1 := <-frames
	cancel()
	if err := <-late; !errors.Is(err, ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) {
		t.Fatalf("error = %v, want outcome unknown and canceled", err)
	}
	next := ask(c.Request)
	f2 := <-frames
	f1.answer(t, 1)
	f2.answer(t, 2)
	if r := <-next; r.err != nil || r.id != 2 {
		t.Fatalf("next = %+v, want 2", r)
	}
}

func TestRefusedAndMalformed(t *testing.T) {
	p := NewPool(Config{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if _, err := p.Request(context.Background(), ln.Addr().String(), kmsg.NewPtrMetadataRequest()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("refused: %v, want unavailable", err)
	}
	if _, err := NewPool(Config{SourceAddress: "x"}).Request(context.Background(), "127.0.0.1:1", kmsg.NewPtrMetadataRequest()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("bad source: %v, want unavailable", err)
	}
	for _, bytes := range [][]byte{{0, 0, 0, 1}, {0x7f, 0, 0, 0}, {0, 0, 0, 5, 0, 0, 0, 1, 9}} {
		addr, frames := listen(t)
		r := ask(func(ctx context.Context, req kmsg.Request) (kmsg.Response, error) { return p.Request(ctx, addr, req) })
		f := <-frames
		if _, err := f.nc.Write(bytes); err != nil {
			t.Fatal(err)
		}
		if len(bytes) < 8 {
			f.nc.Close()
		}
		if got := <-r; !errors.Is(got.err, ErrOutcomeUnknown) {
			t.Errorf("%v: %v, want outcome unknown", bytes, got.err)
		}
	}
	p.Close()
	if _, err := p.Request(context.Background(), "127.0.0.1:1", kmsg.NewPtrMetadataRequest()); !errors.Is(err, ErrClosed) {
		t.Errorf("closed pool: %v, want closed", err)
	}
}
