//go:build !linux

package process

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// attributes: without Linux's parent-death signal a child survives the SIGKILL of its parent; all else holds.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitExit polls, since WNOWAIT is not portable: a signal 0 to a zombie still succeeds, but its group has no member
// that can be signalled. The caller then holds the lock only for the short rest of the wait.
func awaitExit(pid int) {
	for syscall.Kill(-pid, 0) == nil {
		time.Sleep(5 * time.Millisecond)
	}
}

func allStopped(int) (bool, error) {
	return false, fmt.Errorf("read the state of a process's threads: %w", errors.ErrUnsupported)
}

func readUsage(int) (Usage, error) {
	return Usage{}, fmt.Errorf("read a process's usage: %w", errors.ErrUnsupported)
}

func ephemeralFloor() int { return 49152 }

func startTime(pid int) (string, bool) { return "", syscall.Kill(pid, 0) == nil }
