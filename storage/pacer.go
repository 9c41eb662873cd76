package storage

import (
	"context"
	"time"
)

// pacer holds background work to a rate.
type pacer struct {
	bytesPerSecond int64 // 0: no limit
	ahead          time.Time
}

// pace waits until n more bytes are within the rate, or ctx ends.
func (p *pacer) pace(ctx context.Context, n int64) error {
	if p.bytesPerSecond <= 0 {
		return ctx.Err()
	}
	now := time.Now()
	if p.ahead.Before(now) {
		p.ahead = now
	}
	p.ahead = p.ahead.Add(time.Duration(float64(n) / float64(p.bytesPerSecond) * float64(time.Second)))
	t := time.NewTimer(p.ahead.Sub(now))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
