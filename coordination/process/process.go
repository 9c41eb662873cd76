// Package process runs child processes that never outlive this one.
//
// Each child is forked, and later reaped, by a goroutine of its own that is locked to its OS thread until the child has
// ended. That matters on Linux: the kernel sends the parent-death signal when the *thread* that forked ends, and the Go
// runtime ends idle threads as it likes. With the thread kept, the children get SIGKILL exactly when this whole process
// dies, however it dies. A child is also the leader of a process group of its own, so that a Ctrl-C at the terminal does
// not reach it before we have stopped the others, and so that what it forked itself is swept when it ends.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrExited is wrapped by operations on a process that has already ended. The caller starts another one.
var ErrExited = errors.New("process has exited")

// Spec says what to run. The zero value of every field but Path is usable.
type Spec struct {
	Name    string   // for messages; Path when empty
	Path    string   // the program; looked up in PATH when it has no slash
	Args    []string // without the program's own name
	Env     []string // KEY=value, added to this process's environment
	Dir     string   // working directory; this process's own when empty
	LogPath string   // stdout and stderr are appended here; discarded when empty

	// Heirs: children that the process puts into groups of their own outlive its SIGKILL, as some exist to do: Kill hits the process and its own group.
	// They are swept when ctx ends, and by Sweep. (Linux only; elsewhere they are left to end by themselves.)
	Heirs bool
}

// Process is one run of a Spec. Its methods may be called from any goroutine.
type Process struct {
	spec Spec
	cmd  *exec.Cmd
	done chan struct{}

	// mu is held by the reaper from the moment the child is known dead until it is reaped, and by whoever signals it.
	// Without it: Kill reads "alive", the reaper frees the pid, the kernel gives it to a stranger, Kill hits the stranger.
	mu struct {
		sync.Mutex
		exited bool
		err    error
		usage  Usage
		heirs  []heir // children in groups of their own, as seen before the last SIGKILL
	}
}

// heir is a process, told from a later one of the same pid by its start time.
type heir struct {
	pid   int
	start string
}

// Start forks and executes spec. The child gets SIGKILL when ctx ends, when Kill is called, or when this process dies.
func Start(ctx context.Context, spec Spec) (*Process, error) {
	if spec.Path == "" {
		return nil, errors.New("start process: no program is named")
	}
	if spec.Name == "" {
		spec.Name = spec.Path
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Dir = spec.Dir
	cmd.Env = append(os.Environ(), spec.Env...)
	cmd.SysProcAttr = attributes()
	if spec.LogPath != "" {
		log, err := os.OpenFile(spec.LogPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return nil, fmt.Errorf("start %s: open log: %w", spec.Name, err)
		}
		defer log.Close() // the child has its own copy by then
		cmd.Stdout, cmd.Stderr = log, log
	}
	p := &Process{spec: spec, cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go p.forkAndReap(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	stop := context.AfterFunc(ctx, func() {
		p.note()
		_ = p.signalGroup(syscall.SIGKILL)
		<-p.done
		p.Sweep()
	})
	if !spec.Heirs { // with heirs there may be something left to do after the end
		go func() { <-p.done; stop() }()
	}
	return p, nil
}

// note remembers the heirs; it must be done while the process lives.
func (p *Process) note() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.spec.Heirs || p.mu.exited {
		return
	}
	for _, pid := range children(p.Pid()) {
		if start, alive := startTime(pid); alive {
			p.mu.heirs = append(p.mu.heirs, heir{pid, start})
		}
	}
}

// Sweep kills the heirs that are left of a process that Kill or ctx's end has killed.
func (p *Process) Sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.mu.heirs {
		if start, alive := startTime(h.pid); alive && start == h.start {
			_ = syscall.Kill(h.pid, syscall.SIGKILL) // gone meanwhile is what was wanted
		}
	}
	p.mu.heirs = nil
}

// forkAndReap owns the thread that is the child's parent. It never unlocks it: the runtime ends the thread when the
// goroutine returns, which is after the child's death.
func (p *Process) forkAndReap(started chan<- error) {
	runtime.LockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	awaitExit(p.cmd.Process.Pid)

	p.mu.Lock()
	// The child is a zombie: its pid, and so its group's id, still cannot be anyone else's.
	last, usageErr := readUsage(p.cmd.Process.Pid)
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	err = p.cmd.Wait()
	if usageErr != nil {
		last = Usage{}
	}
	if state := p.cmd.ProcessState; state != nil {
		last.CPU = state.UserTime() + state.SystemTime()
	}
	last.RSS = 0
	p.mu.exited, p.mu.usage = true, last
	if err != nil {
		p.mu.err = fmt.Errorf("%s: %w", p.spec.Name, err)
	}
	p.mu.Unlock()
	close(p.done)
}

// Spec returns what was started; starting it again is a restart.
func (p *Process) Spec() Spec { return p.spec }

// Pid returns the process id, also after the end.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended and is reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running tells whether the process has not been reaped yet. A paused process is running.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// ExitError returns nil while the process runs or after it ended with status 0; otherwise what ended it.
func (p *Process) ExitError() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.err
}

// Killed tells whether the process ended by SIGKILL: ours, or the kernel's for want of memory.
func (p *Process) Killed() bool {
	var exit *exec.ExitError
	if !errors.As(p.ExitError(), &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Signal sends sig to the process alone, not to its group. After the end it returns ErrExited.
func (p *Process) Signal(sig syscall.Signal) error { return p.signal(p.Pid(), sig) }

func (p *Process) signalGroup(sig syscall.Signal) error { return p.signal(-p.Pid(), sig) }

func (p *Process) signal(pid int, sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.exited {
		return fmt.Errorf("signal %s with %v: %w", p.spec.Name, sig, ErrExited)
	}
	if err := syscall.Kill(pid, sig); err != nil {
		return fmt.Errorf("signal %s with %v: %w", p.spec.Name, sig, err)
	}
	return nil
}

// Kill sends SIGKILL to the process group and waits until the process is reaped. Killing a dead process is no error.
func (p *Process) Kill() error {
	p.note()
	if err := p.signalGroup(syscall.SIGKILL); err != nil && !errors.Is(err, ErrExited) {
		return err
	}
	<-p.done
	return nil
}

// Stop asks with SIGTERM, waits up to grace, then kills. It returns when the process is reaped; a nil error says that it
// left by itself in time. The end of ctx shortens the grace.
func (p *Process) Stop(ctx context.Context, grace time.Duration) error {
	err := p.Signal(syscall.SIGTERM)
	if errors.Is(err, ErrExited) {
		return nil
	}
	if err != nil {
		return err
	}
	// A paused process keeps SIGTERM pending for ever.
	_ = p.Resume()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	var why string
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		why = "it ignored SIGTERM for " + grace.String()
	case <-ctx.Done():
		why = context.Cause(ctx).Error()
	}
	if err := p.Kill(); err != nil {
		return err
	}
	return fmt.Errorf("stop %s: killed, because %s", p.spec.Name, why)
}

// Pause sends SIGSTOP to the process group. WaitPaused tells when it has taken effect.
func (p *Process) Pause() error { return p.signalGroup(syscall.SIGSTOP) }

// Resume sends SIGCONT to the process group.
func (p *Process) Resume() error { return p.signalGroup(syscall.SIGCONT) }

// WaitPaused waits until every thread of the process is stopped. The main thread alone would not do: the others are
// stopped one by one, and one of them could still be answering a request.
func (p *Process) WaitPaused(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		stopped, err := allStopped(p.Pid())
		if stopped {
			return nil
		}
		if errors.Is(err, errors.ErrUnsupported) {
			return fmt.Errorf("wait for %s to pause: %w", p.spec.Name, err)
		}
		select {
		case <-tick.C:
		case <-p.done:
			return fmt.Errorf("wait for %s to pause: %w", p.spec.Name, ErrExited)
		case <-ctx.Done():
			return fmt.Errorf("wait for %s to pause: %w", p.spec.Name, context.Cause(ctx))
		}
	}
}

// TailLog returns up to n last lines of the log, for error messages; empty when there is no log.
func (p *Process) TailLog(n int) string { return Tail(p.spec.LogPath, n) }

// Tail returns up to n last lines of the file's last 64 KiB.
func Tail(path string, n int) string {
	if path == "" || n <= 0 {
		return ""
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	const window = 64 << 10
	if info, err := f.Stat(); err == nil && info.Size() > window {
		if _, err := f.Seek(-window, io.SeekEnd); err != nil {
			return ""
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, window))
	if err != nil {
		return ""
	}
	lines := strings.Split(string(bytes.TrimRight(data, "\n")), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
