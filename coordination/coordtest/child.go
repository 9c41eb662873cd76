package coordtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/process"
)

// childEnv holds the socket on which a child takes its orders; with clockEnv it has a wall clock that can be shifted.
const (
	childEnv = "REGENCY_COORDTEST_CHILD"
	clockEnv = "REGENCY_COORDTEST_CLOCK"
)

// Main runs the tests, or, in a process that the suite started, what the suite asks for. Its result is the exit code.
func Main(m *testing.M, open Opener) int {
	socket := os.Getenv(childEnv)
	if socket == "" {
		return m.Run()
	}
	if err := serveChild(socket, open); err != nil {
		fmt.Fprintln(os.Stderr, "coordtest child:", err)
		return 1
	}
	return 0
}

// order is what the suite asks of a child, and report the child's answer.
type order struct {
	Op  string // open, register, campaign, commit, hammer, state, done, clock, step
	URL string `json:",omitempty"`
	ID  int32  `json:",omitempty"`
	Key string `json:",omitempty"`
	// Shift is for "clock": seconds that the wall clock shall differ by.
	Shift int64 `json:",omitempty"`
	// Step is for "step": what a process of a history does.
	Step *step `json:",omitempty"`
}

type report struct {
	Error string   `json:",omitempty"`
	Is    []string `json:",omitempty"` // the sentinels that the error matches
	State coordination.State
	Epoch int32
	Count int // of commits that succeeded
	// Outcome of a step.
	Outcome outcome
}

var sentinels = map[string]error{
	"unavailable": coordination.ErrUnavailable, "unknown": coordination.ErrOutcomeUnknown, "lost": coordination.ErrSessionLost,
	"fenced": coordination.ErrFenced, "conflict": coordination.ErrConflict, "closed": coordination.ErrClosed,
}

func (r *report) fail(err error) {
	if err == nil {
		return
	}
	r.Error = err.Error()
	for name, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			r.Is = append(r.Is, name)
		}
	}
}

// err gives the child's error back, with its sentinels.
func (r *report) err() error {
	if r.Error == "" {
		return nil
	}
	errs := []error{errors.New(r.Error)}
	for _, name := range r.Is {
		errs = append(errs, sentinels[name])
	}
	return errors.Join(errs...)
}

// serveChild obeys orders until the suite closes the socket.
func serveChild(socket string, open Opener) error {
	if os.Getenv(clockEnv) != "" {
		if err := ownWallClock(); err != nil {
			return err
		}
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	c := subject{open: open, ctx: context.Background()}
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			return nil
		}
		r := c.obey(o)
		if err := out.Encode(r); err != nil {
			return nil
		}
	}
}

// subject is the state of a child: one process of a cluster.
type subject struct {
	open    Opener
	ctx     context.Context
	co      coordination.Coordinator
	session coordination.Session
	leads   coordination.Leadership
	actor   *actor // its part in a history
}

func (c *subject) obey(o order) (r report) {
	var err error
	switch o.Op {
	case "open":
		if c.co, err = c.open(c.ctx, o.URL, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
			break
		}
		if c.session, err = c.co.OpenSession(c.ctx, coordination.SessionOptions{}); err == nil {
			_, err = c.session.Bootstrap(c.ctx)
		}
	case "register":
		_, err = c.session.Register(c.ctx, registration(o.ID))
	case "campaign":
		if c.leads, err = c.session.Campaign(c.ctx); err == nil {
			r.Epoch = c.leads.Epoch()
		}
	case "commit":
		_, err = c.leads.Commit(c.ctx, []coordination.Mutation{put(o.Key, "by the child")})
	case "hammer":
		for err == nil {
			if _, err = c.leads.Commit(c.ctx, []coordination.Mutation{put(o.Key, fmt.Sprint(r.Count))}); err == nil {
				r.Count++
			}
		}
	case "done":
		<-c.session.Done()
		err = c.session.Err()
	case "state":
	case "step":
		if c.actor == nil {
			c.actor = &actor{id: o.ID, log: slog.Default(), open: func(ctx context.Context) (coordination.Coordinator, error) {
				return c.open(ctx, o.URL, slog.Default())
			}}
		}
		r.Outcome = c.actor.do(c.ctx, *o.Step)
	case "clock":
		err = shiftWallClock(o.Shift)
	default:
		err = fmt.Errorf("order %q is unknown", o.Op)
	}
	if c.session != nil {
		r.State = c.session.State()
	}
	r.fail(err)
	return r
}

// child is a second process of the cluster, which the suite may kill or stop.
type child struct {
	e    *env
	p    *process.Process
	conn net.Conn
	out  *json.Encoder
	in   *json.Decoder
}

// child starts one and opens its session, which is of the harness's own timeout: a child's end is waited for.
func (e *env) child() *child {
	e.Helper()
	return e.startChild(e.own)
}

// clockedChild starts one that reaches the service at the URL and whose wall clock can be shifted.
func (e *env) clockedChild(url string) *child {
	e.Helper()
	return e.startChild(url, clockEnv+"=1")
}

func (e *env) startChild(url string, environment ...string) *child {
	e.Helper()
	exe, err := os.Executable()
	if err != nil {
		e.Fatal(err)
	}
	// Not the test's own directory: its path may be too long for a socket's.
	dir, err := os.MkdirTemp("", "coordtest")
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		e.Fatal(err)
	}
	defer l.Close()
	log := filepath.Join(dir, "log")
	p, err := process.Start(context.Background(), process.Spec{Name: "coordtest child", Path: exe, Env: append(environment, childEnv+"="+socket), LogPath: log})
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() {
		if err := p.Kill(); err != nil {
			e.Errorf("kill the child: %v", err)
		}
		if e.Failed() {
			e.Logf("end of the child's log:\n%s", process.Tail(log, 20))
		}
	})
	_ = l.(*net.UnixListener).SetDeadline(time.Now().Add(patience))
	conn, err := l.Accept()
	if err != nil {
		e.Fatalf("the child did not call: %v\n%s", err, process.Tail(log, 20))
	}
	e.Cleanup(func() { _ = conn.Close() })
	c := &child{e: e, p: p, conn: conn, out: json.NewEncoder(conn), in: json.NewDecoder(conn)}
	c.must(order{Op: "open", URL: url})
	return c
}

func (c *child) send(o order) {
	c.e.Helper()
	if err := c.out.Encode(o); err != nil {
		c.e.Fatalf("order the child to %s: %v", o.Op, err)
	}
}

func (c *child) receive(what string) report {
	c.e.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(2 * patience))
	var r report
	if err := c.in.Decode(&r); err != nil {
		c.e.Fatalf("await the child's report of %s: %v", what, err)
	}
	return r
}

func (c *child) do(o order) report {
	c.e.Helper()
	c.send(o)
	return c.receive(o.Op)
}

func (c *child) must(o order) report {
	c.e.Helper()
	r := c.do(o)
	if err := r.err(); err != nil {
		c.e.Fatalf("the child's %s = %v", o.Op, err)
	}
	return r
}

func (c *child) register(id int32) { c.e.Helper(); c.must(order{Op: "register", ID: id}) }
func (c *child) campaign() int32   { c.e.Helper(); return c.must(order{Op: "campaign"}).Epoch }

func (c *child) kill() {
	c.e.Helper()
	if err := c.p.Kill(); err != nil {
		c.e.Fatal(err)
	}
}

// stop returns when every thread is stopped.
func (c *child) stop() {
	c.e.Helper()
	if err := c.p.Pause(); err != nil {
		c.e.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(c.e.ctx, patience)
	defer cancel()
	if err := c.p.WaitPaused(ctx); err != nil {
		c.e.Fatal(err)
	}
}

func (c *child) resume() {
	c.e.Helper()
	if err := c.p.Resume(); err != nil {
		c.e.Fatal(err)
	}
}

// needChild skips where a second process cannot share the service.
func (e *env) needChild() {
	if !e.coordinator().Capabilities().CrossProcess {
		e.Skip("the service lives in one process")
	}
}
