package partition

import (
	"context"
	"fmt"
	"slices"
)

// DeleteRecords moves the log start up to offset (-1: to the high watermark), and waits until the in-sync replicas have done the same, on their disks. It returns the log start that
// all of them have reached. ErrOffsetOutOfRange: there is no such committed offset. ErrTimedOut: the records are gone here, and a replica has not said so yet.
func (p *Partition) DeleteRecords(ctx context.Context, offset int64) (low int64, err error) {
	start, wait, err := p.deleteRecords(offset)
	if err != nil {
		return -1, err
	}
	if err := wait.Wait(ctx); err != nil {
		return -1, err
	}
	return start, nil
}

func (p *Partition) deleteRecords(offset int64) (int64, *Pending, error) {
	p.disk.Lock()
	defer p.disk.Unlock()
	p.mu.Lock()
	err := p.checkLeaderLocked(-1)
	epoch, hw := p.mu.epoch, p.mu.hw
	p.mu.Unlock()
	if err != nil {
		return -1, nil, err
	}
	if offset == -1 {
		offset = hw
	}
	if offset < 0 || offset > hw {
		return -1, nil, fmt.Errorf("delete the records of %s below %d: %w: the high watermark is %d", p, offset, ErrOffsetOutOfRange, hw)
	}
	start, err := p.log.DeleteRecords(offset)
	if err != nil {
		return -1, nil, p.appendError(err)
	}
	d := &Pending{p: p, ws: &p.mu.started}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.role != leading || p.mu.epoch != epoch {
		return -1, nil, fmt.Errorf("%s: %w", p, &NotLeaderError{Leader: p.mu.leader, Epoch: p.mu.epoch})
	}
	d.w = d.ws.add(start)
	if p.mu.failed != nil {
		d.ws.drop(d.w, fmt.Errorf("%s: %w", p, p.mu.failed))
	}
	p.startedLocked()
	return start, d, nil
}

// startedLocked tells who waits for the log start of all in-sync replicas.
func (p *Partition) startedLocked() {
	if len(p.mu.started.list) == 0 {
		return
	}
	low := p.log.Start()
	for id, f := range p.mu.followers {
		if slices.Contains(p.mu.isr, id) {
			low = min(low, f.start)
		}
	}
	p.mu.started.reached(low)
}
