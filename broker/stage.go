package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// stage is a set of goroutines that end together. A broker ends its stages one after the other.
type stage struct {
	ctx    context.Context
	cancel context.CancelFunc
	fail   func(error)
	wg     sync.WaitGroup
}

// newStage makes a stage that ends only when it is told. fail is told what ended before that.
func newStage(ctx context.Context, fail func(error)) *stage {
	s := &stage{fail: fail}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return s
}

var errEnded = errors.New("ended without a reason")

func (s *stage) run(name string, fn func(context.Context) error) {
	s.wg.Go(func() {
		err := fn(s.ctx)
		if s.ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errEnded
		}
		s.fail(fmt.Errorf("%s: %w", name, err))
	})
}

func (s *stage) end() {
	s.cancel()
	s.wg.Wait()
}
