package coordtest

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// A wall clock of its own for one process, without privileges: the kernel has namespaces for the monotonic clock only, and a preloaded library does not reach
// a static binary. So a child overwrites the beginning of time.Now with a jump to wallNow, before it has a second goroutine that could run it. The
// monotonic clock, and with it timers and time.Since, stays the kernel's, as when an operator or NTP sets the clock.

// wallShift is what the wall clock differs by, in seconds.
var wallShift atomic.Int64

// wallBase is from before time.Now changed; time.Since reads the monotonic clock alone.
var wallBase = time.Now()

// wallSeconds is where seconds stand in the first word of a time.Time that has a monotonic reading.
const wallSeconds = 30

func wallNow() time.Time {
	t := wallBase.Add(time.Since(wallBase))
	*(*uint64)(unsafe.Pointer(&t)) += uint64(wallShift.Load()) << wallSeconds
	return t
}

// ownWallClock gives this process a wall clock that wallShift shifts. Nothing else may run yet.
func ownWallClock() error {
	page := uintptr(syscall.Getpagesize())
	at := reflect.ValueOf(time.Now).Pointer()
	start := at &^ (page - 1)
	code := unsafe.Slice(*(**byte)(unsafe.Pointer(&start)), 2*page)
	if err := syscall.Mprotect(code, syscall.PROT_READ|syscall.PROT_WRITE|syscall.PROT_EXEC); err != nil {
		return fmt.Errorf("make time.Now writable: %w", err)
	}
	// movabs rax, wallNow; jmp rax: rax carries nothing into a function without arguments.
	jump := binary.LittleEndian.AppendUint64([]byte{0x48, 0xb8}, uint64(reflect.ValueOf(wallNow).Pointer()))
	copy(code[at-start:], append(jump, 0xff, 0xe0))
	if err := syscall.Mprotect(code, syscall.PROT_READ|syscall.PROT_EXEC); err != nil {
		return fmt.Errorf("make time.Now executable: %w", err)
	}
	before := time.Now()
	wallShift.Store(3600)
	after := time.Now()
	wallShift.Store(0)
	if wall, elapsed := after.Round(0).Sub(before.Round(0)), after.Sub(before); wall < time.Hour || elapsed > time.Hour/2 {
		return fmt.Errorf("time.Now moved by %v (monotonic %v) when its wall clock was shifted by an hour", wall, elapsed)
	}
	return nil
}

func shiftWallClock(seconds int64) error {
	wallShift.Store(seconds)
	return nil
}
