package process

import (
	"fmt"
	"time"
)

// Usage is what a process has cost so far. It leaves out the processes that it forked itself.
type Usage struct {
	CPU        time.Duration // user and system time
	RSS        int64         // resident bytes now; 0 after the end
	PeakRSS    int64         // highest resident bytes
	ReadBytes  int64         // fetched from storage; what the page cache served is not in it
	WriteBytes int64         // sent to storage
}

// Add returns the sum of both, for a group of processes. Its PeakRSS is the sum of the peaks: an upper bound.
func (u Usage) Add(v Usage) Usage {
	return Usage{
		CPU:        u.CPU + v.CPU,
		RSS:        u.RSS + v.RSS,
		PeakRSS:    u.PeakRSS + v.PeakRSS,
		ReadBytes:  u.ReadBytes + v.ReadBytes,
		WriteBytes: u.WriteBytes + v.WriteBytes,
	}
}

// Usage reads what the process has cost so far; after the end, what it cost in all.
func (p *Process) Usage() (Usage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.exited {
		return p.mu.usage, nil
	}
	u, err := readUsage(p.Pid())
	if err != nil {
		return Usage{}, fmt.Errorf("read usage of %s: %w", p.spec.Name, err)
	}
	return u, nil
}

// UsageOf reads what the process with that id has cost so far: for processes that others started, or for this one.
func UsageOf(pid int) (Usage, error) {
	u, err := readUsage(pid)
	if err != nil {
		return Usage{}, fmt.Errorf("read usage of process %d: %w", pid, err)
	}
	return u, nil
}
