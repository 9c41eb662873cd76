package detector_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/broker/detector"
	"github.com/regency-project/regency/broker/event"
	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/memory"
)

// guarded is a registered broker in this process, with a guardian at the other end of a pipe.
type guarded struct {
	t      *testing.T
	server *memory.Server
	reg    coordination.Registered
	pipe   *io.PipeWriter
	ended  chan error
	asked  chan struct{} // the guardian asked the service for a session; told once
}

// asking tells of the first session that it is asked for, before it asks.
type asking struct {
	coordination.Coordinator
	asked chan<- struct{}
}

func (a asking) OpenSession(ctx context.Context, o coordination.SessionOptions) (coordination.Session, error) {
	select {
	case a.asked <- struct{}{}:
	default:
	}
	return a.Coordinator.OpenSession(ctx, o)
}

// guard starts both. The session lasts an hour: only an eviction ends it. down is the service's state when the guardian opens.
func guard(t *testing.T, down bool) *guarded {
	g := &guarded{t: t, server: memory.NewServer(time.Hour), ended: make(chan error, 1), asked: make(chan struct{}, 1)}
	co := g.server.Open(nil)
	t.Cleanup(func() { co.Close() })
	s, err := co.OpenSession(t.Context(), coordination.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if g.reg, err = s.Register(t.Context(), coordination.Registration{ID: 7, DirectoryUUID: "d"}); err != nil {
		t.Fatal(err)
	}
	g.server.SetDown(down)
	in, out := io.Pipe()
	g.pipe = out
	go func() {
		g.ended <- detector.RunGuardian(in, func(_ context.Context, broker int32, settings json.RawMessage) (coordination.Coordinator, *event.Log, *slog.Logger, error) {
			if broker != 7 || string(settings) != `{"secret":"s"}` {
				t.Errorf("opened for broker %d with %s", broker, settings)
			}
			return asking{g.server.Open(nil), g.asked}, nil, slog.New(slog.DiscardHandler), nil
		})
	}()
	g.say(map[string]any{"broker": 7, "settings": map[string]string{"secret": "s"}})
	return g
}

func (g *guarded) say(m any) {
	g.t.Helper()
	if err := json.NewEncoder(g.pipe).Encode(m); err != nil {
		g.t.Fatal(err)
	}
}

func (g *guarded) present() bool {
	co := g.server.Open(nil)
	defer co.Close()
	ctx, cancel := context.WithTimeout(g.t.Context(), testPatience)
	defer cancel()
	found := false
	_ = co.WatchRegistrations(ctx, func(rs []coordination.Registered) {
		found = len(rs) > 0
		cancel()
	})
	return found
}

func (g *guarded) end() error {
	g.t.Helper()
	select {
	case err := <-g.ended:
		return err
	case <-time.After(testPatience):
		g.t.Fatal("the guardian does not end")
		return nil
	}
}

func TestGuardianEvictsAtTheEndOfThePipe(t *testing.T) {
	for name, down := range map[string]bool{"service up": false, "service down until later": true} {
		t.Run(name, func(t *testing.T) {
			g := guard(t, down)
			g.say(map[string]any{"registered": g.reg})
			g.pipe.Close()
			if down {
				select {
				case <-g.asked: // in vain, while it is down
				case <-time.After(testPatience):
					t.Fatal("the guardian does not ask the service")
				}
				g.server.SetDown(false)
			}
			if err := g.end(); err != nil {
				t.Errorf("RunGuardian = %v", err)
			}
			if g.present() {
				t.Error("the registration is still there")
			}
		})
	}
}

func TestGuardianLeavesQuietly(t *testing.T) {
	for name, f := range map[string]func(g *guarded){
		"after a good-bye": func(g *guarded) {
			g.say(map[string]any{"registered": g.reg})
			g.say(map[string]any{"bye": true})
		},
		"of a broker that never registered": func(*guarded) {},
		"when another incarnation is registered": func(g *guarded) {
			old := g.reg
			old.Revision--
			g.say(map[string]any{"registered": old})
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := guard(t, false)
			f(g)
			g.pipe.Close()
			if err := g.end(); err != nil {
				t.Errorf("RunGuardian = %v", err)
			}
			if !g.present() {
				t.Error("the registration is gone")
			}
		})
	}
}

// Only the pipe's end is the broker's: anything else that goes wrong with reading proves no death.
func TestReadErrorIsNoEvidence(t *testing.T) {
	for name, f := range map[string]func(p *io.PipeWriter){
		"a line that is no JSON":   func(p *io.PipeWriter) { _, _ = p.Write([]byte("hello\n")) },
		"a line without an end":    func(p *io.PipeWriter) { _, _ = p.Write(make([]byte, 2<<20)) },
		"an error of the pipe":     func(p *io.PipeWriter) { p.CloseWithError(errors.New("broken device")) },
		"no JSON, and then an end": func(p *io.PipeWriter) { _, _ = p.Write([]byte("hello\n")); p.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			g := guard(t, false)
			g.say(map[string]any{"registered": g.reg})
			wrote := make(chan struct{})
			go func() { f(g.pipe); close(wrote) }()
			err := g.end()
			if err == nil || !strings.Contains(err.Error(), "left alone") {
				t.Errorf("RunGuardian = %v, want that the broker is left alone", err)
			}
			if !g.present() {
				t.Error("the registration is gone")
			}
			g.pipe.Close()
			<-wrote
		})
	}
}

// A broker can die while it writes.
func TestUnfinishedLineIsPartOfTheEnd(t *testing.T) {
	g := guard(t, false)
	g.say(map[string]any{"registered": g.reg})
	if _, err := g.pipe.Write([]byte(`{"registered":{"ID":`)); err != nil {
		t.Fatal(err)
	}
	g.pipe.Close()
	if err := g.end(); err != nil {
		t.Errorf("RunGuardian = %v", err)
	}
	if g.present() {
		t.Error("the registration is still there")
	}
}

func TestGuardianRefusesNonsense(t *testing.T) {
	err := detector.RunGuardian(strings.NewReader("hello\n"), nil)
	if err == nil || !strings.Contains(err.Error(), "started by a broker") {
		t.Errorf("RunGuardian of a person's input = %v", err)
	}
	if err := detector.RunGuardian(strings.NewReader(""), nil); !errors.Is(err, io.EOF) {
		t.Errorf("RunGuardian of nothing = %v, want EOF", err)
	}
}
