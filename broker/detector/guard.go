package detector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/regency-project/regency/broker/event"
	"github.com/regency-project/regency/coordination"
)

// GuardianCommand is how a broker starts its guardian.
type GuardianCommand struct {
	// Path and Args are the program; what it must know of secrets comes over the pipe, where no other user sees it.
	Path string
	Args []string
	// Settings are the guardian's own, opaque here: where and how it reaches the coordination service.
	Settings json.RawMessage
}

// message is a line that a broker writes to its guardian. The first one carries settings, the last one bye; the pipe's end without bye is the broker's death.
type message struct {
	Broker     int32                    `json:"broker,omitempty"`
	Settings   json.RawMessage          `json:"settings,omitempty"`
	Registered *coordination.Registered `json:"registered,omitempty"`
	Bye        bool                     `json:"bye,omitempty"`
}

const (
	// restartPause is before a guardian that ended by itself is started again.
	restartPause = time.Second
	// byeTimeout is how long a guardian may take to end after bye.
	byeTimeout = 3 * time.Second
)

// Guard is the broker's side: it keeps a guardian process and tells it under which registration the broker is known.
type Guard struct {
	id         int32
	command    GuardianCommand
	events     *event.Log
	log        *slog.Logger
	registered chan coordination.Registered // capacity 1: the newest
}

// NewGuard makes a Guard. events may be nil.
func NewGuard(id int32, command GuardianCommand, events *event.Log, log *slog.Logger) *Guard {
	return &Guard{id: id, command: command, events: events, log: log, registered: make(chan coordination.Registered, 1)}
}

// Registered tells the newest registration. One goroutine calls it; it does not block.
func (g *Guard) Registered(r coordination.Registered) {
	select {
	case <-g.registered:
	default:
	}
	g.registered <- r
}

// Run keeps a guardian until ctx ends, and then tells it to leave: the broker's session is closed by then. A broker without a guardian serves as well, only its
// death is noticed later, so a guardian that ends is no more than started again.
func (g *Guard) Run(ctx context.Context) error {
	var newest *coordination.Registered
	for {
		err := g.keep(ctx, &newest)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		g.log.Warn("guardian ended; starting another", "broker", g.id, "error", err)
		select {
		case <-time.After(restartPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// keep runs one guardian. newest survives it.
func (g *Guard) keep(ctx context.Context, newest **coordination.Registered) error {
	cmd := exec.Command(g.command.Path, g.command.Args...)
	// A group of its own: a signal to the broker's is not meant for it. All our other descriptors are close-on-exec, so that it holds neither listeners nor the
	// data directory's lock.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("start guardian: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start guardian: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	g.events.Emit("guardian.started", "guardian", cmd.Process.Pid)
	out := json.NewEncoder(in)
	err = out.Encode(message{Broker: g.id, Settings: g.command.Settings})
	if *newest != nil && err == nil {
		err = out.Encode(message{Registered: *newest})
	}
	for err == nil {
		select {
		case r := <-g.registered:
			*newest = &r
			err = out.Encode(message{Registered: &r})
		case err := <-ended:
			return errors.Join(errors.New("it ended by itself"), err)
		case <-ctx.Done():
			err = errors.Join(out.Encode(message{Bye: true}), in.Close())
			return errors.Join(err, g.await(cmd.Process, ended))
		}
	}
	// A pipe that takes nothing more is a dead guardian's; its end must not look like ours.
	return errors.Join(fmt.Errorf("tell the guardian: %w", err), g.await(cmd.Process, ended))
}

// await waits for the guardian's end, not for ever.
func (g *Guard) await(p *os.Process, ended <-chan error) error {
	select {
	case err := <-ended:
		return err
	case <-time.After(byeTimeout):
	}
	if err := p.Kill(); err != nil {
		return err
	}
	<-ended
	return fmt.Errorf("guardian killed: it did not leave within %v", byeTimeout)
}
