package replication

import (
	"encoding/binary"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regency-project/regency/broker/peer"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// slowLeader answers each fetch after delay; a negative one is never.
func slowLeader(t *testing.T, delay time.Duration) (addr string, asked *atomic.Int32) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	asked = &atomic.Int32{}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go answerSlowly(c, delay, asked)
		}
	}()
	return ln.Addr().String(), asked
}

func answerSlowly(c net.Conn, delay time.Duration, asked *atomic.Int32) {
	defer c.Close()
	for {
		var head [12]byte // size, key, version, correlation id
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head[:]))-8); err != nil {
			return
		}
		asked.Add(1)
		if delay < 0 {
			continue
		}
		time.Sleep(delay)
		resp := kmsg.NewPtrFetchResponse()
		resp.SetVersion(fetchVersion)
		frame := append(make([]byte, 4), head[8:]...)
		frame = resp.AppendTo(append(frame, 0)) // no header tags
		binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
		if _, err := c.Write(frame); err != nil {
			return
		}
	}
}

func newTestFetcher(t *testing.T) (*fetcher, *kmsg.FetchRequest) {
	t.Helper()
	pool := peer.NewPool(peer.Config{})
	t.Cleanup(pool.Close)
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(fetchVersion)
	req.MaxWaitMillis = 1
	f := &fetcher{cfg: Config{Peers: pool}}
	t.Cleanup(f.disconnect)
	return f, req
}

// On a link that is too slow for the grace an answer has to come through in the end.
func TestSlowAnswersAreWaitedForLonger(t *testing.T) {
	t.Parallel()
	addr, _ := slowLeader(t, answerGrace+answerGrace/4)
	f, req := newTestFetcher(t)
	var err error
	for range mostPatience {
		if _, err = f.ask(t.Context(), addr, req, nil); err == nil {
			break
		}
		f.disconnect()
	}
	if err != nil {
		t.Fatalf("no answer came through: %v", err)
	}
	if f.patience == 0 {
		t.Errorf("patience = 0 after an answer that took longer than the first grace")
	}
	f.learn(nil, 0, answerGrace<<f.patience)
	if f.patience != 0 {
		t.Errorf("patience = %d after a fast answer, want 0", f.patience)
	}
}

// A leader that does not answer must not hold up what is to be fetched elsewhere, however patient the loop has become.
func TestFrozenLeaderDoesNotHoldUpAChange(t *testing.T) {
	t.Parallel()
	addr, asked := slowLeader(t, -1)
	f, req := newTestFetcher(t)
	f.patience = mostPatience
	changed := make(chan struct{})
	go func() {
		for asked.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		close(changed)
	}()
	began := time.Now()
	resp, err := f.ask(t.Context(), addr, req, changed)
	if resp != nil || err != nil {
		t.Fatalf("ask() = %v, %v, want neither answer nor error", resp, err)
	}
	if f.conn != nil {
		t.Errorf("the connection was kept")
	}
	if took := time.Since(began); took > answerGrace<<mostPatience/2 {
		t.Errorf("the change was noticed after %v", took)
	}
}
