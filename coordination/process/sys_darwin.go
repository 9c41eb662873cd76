package process

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"
)

// attributes: without Linux's parent-death signal a child survives the SIGKILL of its parent; all else holds.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitExit blocks until the child has ended and leaves it to be reaped: waitid(2), as package os calls it.
func awaitExit(pid int) {
	const (
		idPID   = 1
		exited  = 0x4
		noReap  = 0x20
		unused  = 0
		infoLen = 128
	)
	var info [infoLen]byte
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, idPID, uintptr(pid), uintptr(unsafe.Pointer(&info)), exited|noReap, unused, unused)
		if errno != syscall.EINTR {
			return
		}
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

func children(int) []int { return nil }
