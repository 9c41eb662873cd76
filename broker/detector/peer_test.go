package detector_test

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/regency-project/regency/broker/api"
	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/detector"
	"github.com/regency-project/regency/broker/peer"
	"github.com/regency-project/regency/broker/server"
	"github.com/regency-project/regency/coordination"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testPatience = 20 * time.Second

// other is the broker that is watched: a listener that answers heartbeats.
type other struct {
	t    *testing.T
	addr string
	mu   struct {
		sync.Mutex
		self    detector.Self
		conns   []net.Conn
		silent  bool
		answers int
	}
	close func()
}

// recorded keeps the connections, so that a test can cut them.
type recorded struct {
	net.Listener
	o *other
}

func (r recorded) Accept() (net.Conn, error) {
	c, err := r.Listener.Accept()
	if err == nil {
		r.o.mu.Lock()
		r.o.mu.conns = append(r.o.mu.conns, c)
		r.o.mu.Unlock()
	}
	return c, err
}

func (o *other) serve(addr string, process uuid.UUID, incarnation string) {
	o.t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		o.t.Fatal(err)
	}
	o.addr = ln.Addr().String()
	o.mu.Lock()
	o.mu.self = detector.Self{Broker: 2, Process: process, Incarnation: incarnation}
	o.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	s := server.New(server.Config{Kind: api.Peer, Grace: time.Millisecond, Keys: []api.Key{{Num: 63, PeerOnly: true, Handle: o.heartbeat}}})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(ctx, recorded{ln, o})
	}()
	o.close = sync.OnceFunc(func() { cancel(); <-done })
	o.t.Cleanup(o.close)
}

func (o *other) heartbeat(_ context.Context, _ api.Caller, r kmsg.Request) (api.Await, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.silent {
		return func(ctx context.Context) (kmsg.Response, error) { <-ctx.Done(); return nil, ctx.Err() }, nil
	}
	o.mu.answers++
	return api.Done(o.mu.self.Answer(r.(*kmsg.BrokerHeartbeatRequest))), nil
}

func (o *other) cut() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.mu.conns {
		c.Close()
	}
	o.mu.conns = nil
}

func (o *other) quiet(silent bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.silent = silent
}

// answered waits for n more answers.
func (o *other) answered(n int) {
	o.t.Helper()
	o.mu.Lock()
	want := o.mu.answers + n
	o.mu.Unlock()
	for deadline := time.Now().Add(testPatience); ; time.Sleep(time.Millisecond) {
		o.mu.Lock()
		got := o.mu.answers
		o.mu.Unlock()
		if got >= want {
			return
		}
		if time.Now().After(deadline) {
			o.t.Fatalf("%d heartbeats, want %d", got, want)
		}
	}
}

// session takes evictions.
type session struct {
	coordination.Session
	mu struct {
		sync.Mutex
		state coordination.State
		fail  int
	}
	evicted chan coordination.Registered
}

func newSession() *session {
	s := &session{evicted: make(chan coordination.Registered, 10)}
	s.mu.state = coordination.Valid
	return s
}

func (s *session) State() coordination.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.state
}

func (s *session) set(state coordination.State, fail int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.state, s.mu.fail = state, fail
}

func (s *session) Evict(_ context.Context, r coordination.Registered) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.fail > 0 {
		s.mu.fail--
		return coordination.ErrUnavailable
	}
	s.evicted <- r
	return nil
}

type fixture struct {
	*other
	current *cluster.Current
	peers   *detector.Peers
	session *session
	reg     coordination.Registered
}

// watching watches broker 2 as broker 1, with controller as the view's controller, and has seen it alive.
func watching(t *testing.T, controller int32) *fixture {
	f := &fixture{other: &other{t: t}, current: cluster.NewCurrent(), session: newSession()}
	process := uuid.New()
	f.serve("127.0.0.1:0", process, "first")
	host, port, _ := net.SplitHostPort(f.addr)
	f.lead(1, controller)
	pool := peer.NewPool(peer.Config{})
	t.Cleanup(pool.Close)
	f.peers = detector.NewPeers(detector.PeersConfig{
		ID: 1, Config: detector.Config{Kind: detector.Peer, Beat: 10 * time.Millisecond, Missed: 20}, Current: f.current, Dial: pool.Dial,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = f.peers.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	end := cluster.Endpoint{Host: host, Port: int32(n)}
	f.reg = coordination.Registered{
		Registration: coordination.Registration{ID: 2, Incarnation: "first", Attributes: cluster.Attributes{Client: end, Peer: end}.Encode()}, Revision: 42,
	}
	own := coordination.Registered{Registration: coordination.Registration{ID: 1, Incarnation: "own", Attributes: f.reg.Attributes}, Revision: 41}
	f.peers.Registrations([]coordination.Registered{own, f.reg})
	f.peers.Hold(f.session)
	f.answered(3)
	return f
}

func (f *fixture) lead(seq uint64, controller int32) {
	f.current.Set(&cluster.View{Seq: seq, Controller: controller})
}

func (f *fixture) wantEvicted(what string) {
	f.t.Helper()
	select {
	case r := <-f.session.evicted:
		if r.ID != 2 || r.Revision != 42 {
			f.t.Errorf("%s: evicted broker %d revision %d, want 2 and 42", what, r.ID, r.Revision)
		}
	case <-time.After(testPatience):
		f.t.Fatalf("%s: no eviction", what)
	}
}

func (f *fixture) wantNone(what string) {
	f.t.Helper()
	select {
	case r := <-f.session.evicted:
		f.t.Fatalf("%s: evicted broker %d, want none", what, r.ID)
	default:
	}
}

func TestRefusedRedialEvicts(t *testing.T) {
	for name, controller := range map[string]int32{"the controller evicts another": 1, "another evicts the controller": 2} {
		t.Run(name, func(t *testing.T) {
			f := watching(t, controller)
			f.session.set(coordination.Valid, 3) // the service takes it at the fourth try
			f.close()
			f.wantEvicted("a closed listener")
		})
	}
}

// Evidence is kept for whoever may act later: the session returns, this broker becomes the controller.
func TestEvidenceWaitsForTheRightToAct(t *testing.T) {
	f := watching(t, 3)
	f.session.set(coordination.Suspect, 0)
	f.close()
	time.Sleep(50 * time.Millisecond) // long enough for a wrong one
	f.session.set(coordination.Valid, 0)
	time.Sleep(50 * time.Millisecond)
	f.wantNone("while broker 3 is the controller")
	f.session.set(coordination.Suspect, 0)
	f.lead(2, 1)
	time.Sleep(50 * time.Millisecond)
	f.wantNone("while our own session is suspect")
	f.session.set(coordination.Valid, 0)
	f.wantEvicted("now we may")
}

func TestCutConnectionIsNoEvidence(t *testing.T) {
	f := watching(t, 1)
	for range 20 {
		f.cut()
		f.answered(1)
	}
	f.answered(30)
	f.wantNone("twenty cut connections to a living broker")
}

func TestSilenceEvicts(t *testing.T) {
	f := watching(t, 1)
	f.quiet(true)
	f.wantEvicted("a silent broker")
}

func TestShortSilenceDoesNot(t *testing.T) {
	f := watching(t, 1)
	for range 5 {
		f.quiet(true)
		time.Sleep(40 * time.Millisecond) // of the 200 that it may take; new connections are tried at 100
		f.quiet(false)
		f.cut() // the asked connection holds the unanswered request
		f.answered(2)
	}
	f.wantNone("five short silences")
}

// Another process at the address: what was registered there is dead, whatever the new one is.
func TestRestartedProcessIsEvidence(t *testing.T) {
	f := watching(t, 1)
	f.close()
	f.serve(f.addr, uuid.New(), "")
	f.wantEvicted("another process")
}

// A process that was never seen under the registered incarnation proves nothing by being silent or refusing.
func TestUnknownIsNotDead(t *testing.T) {
	f := watching(t, 1)
	later := f.reg
	later.Incarnation, later.Revision = "second", 43
	f.peers.Registrations([]coordination.Registered{later})
	f.answered(3)
	f.close()
	time.Sleep(100 * time.Millisecond)
	f.wantNone("a broker that never answered under its registration")
}

// The same process under a new incarnation lives.
func TestSameProcessRegisteredAnewLives(t *testing.T) {
	f := watching(t, 1)
	f.mu.Lock()
	f.mu.self.Incarnation = "second"
	f.mu.Unlock()
	f.answered(30)
	f.wantNone("a broker that registered anew, before our watch told so")
}
