package detector

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// asked is what an attempt uses of a peer.Conn.
type asked interface {
	Request(ctx context.Context, req kmsg.Request) (kmsg.Response, error)
	Done() <-chan struct{}
	Close()
}

// attempt is one connection: dialled, and asked every beat until it breaks.
type attempt struct {
	stop context.CancelFunc
}

// word is what an attempt tells: an answer, or with err its last word.
type word struct {
	from *attempt
	self Self
	err  error
}

// maxAttempts is how many connections there may be: the one that is asked, and one beside it that is tried when the first owes much.
const maxAttempts = 2

// dial begins an attempt. Of too many the oldest ends: none begins within half the limit after the one before, unless that one broke, so that each has had the whole limit to answer.
func (w *watch) dial(ctx context.Context) {
	if len(w.attempts) == maxAttempts {
		w.attempts[0].stop()
		w.attempts = slices.Delete(w.attempts, 0, 1)
	}
	actx, stop := context.WithCancel(ctx)
	a := &attempt{stop: stop}
	w.attempts = append(w.attempts, a)
	w.running.Go(func() {
		defer stop()
		err := w.ask(actx, a)
		select {
		case w.heard <- word{from: a, err: err}:
		case <-actx.Done():
		}
	})
}

// only ends all attempts but the one that answered.
func (w *watch) only(answered *attempt) {
	for _, a := range w.attempts {
		if a != answered {
			a.stop()
		}
	}
	w.attempts = []*attempt{answered}
}

// ask is the goroutine of an attempt. It uses nothing of w that changes.
func (w *watch) ask(ctx context.Context, a *attempt) error {
	conn, err := w.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	next := time.NewTicker(w.p.cfg.Config.Beat)
	defer next.Stop()
	for {
		resp, err := conn.Request(ctx, request(w.reg.ID))
		if err != nil {
			return err
		}
		s, err := read(w.reg.ID, resp.(*kmsg.BrokerHeartbeatResponse))
		if err != nil {
			return err
		}
		select {
		case w.heard <- word{from: a, self: s}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		select {
		case <-next.C:
		case <-conn.Done():
			return errBroken
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

var errBroken = errors.New("connection broke")
