package process

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A wall clock of its own for a process that runs already, without privileges. The kernel has namespaces for the monotonic clock only, and a preloaded library does not
// reach Go programs, which read the clock in the vDSO: code that the kernel maps into each process. A debugger may write there, into a copy that
// is the process's own. So its functions for the wall clock are replaced, in a stopped process, by a system call and an addition; the monotonic clock is answered as
// before, as when an operator or NTP sets the clock.
//
//	mov eax, number; syscall; [test edi, edi; jnz done;] mov rcx, [rip+shift]; add [rsi or rdi], rcx; done: ret; shift: 8 bytes
var wallClockStubs = map[string][]byte{
	"__vdso_clock_gettime": {0xb8, 228, 0, 0, 0, 0x0f, 0x05, 0x85, 0xff, 0x75, 10, 0x48, 0x8b, 0x0d, 4, 0, 0, 0, 0x48, 0x01, 0x0e, 0xc3},
	"__vdso_gettimeofday":  {0xb8, 96, 0, 0, 0, 0x0f, 0x05, 0x48, 0x8b, 0x0d, 4, 0, 0, 0, 0x48, 0x01, 0x0f, 0xc3},
}

// ShiftsWallClocks says whether ShiftWallClock works here.
const ShiftsWallClocks = true

// ShiftWallClock makes the process's wall clock differ from the machine's by d, whole seconds of it. Its monotonic clock, and other processes, are not affected.
// The process is stopped for a moment. It is for tests, on linux/amd64.
func (p *Process) ShiftWallClock(d time.Duration) error {
	if err := p.shiftWallClock(int64(d / time.Second)); err != nil {
		return fmt.Errorf("shift the wall clock of %s: %w", p.spec.Name, err)
	}
	return nil
}

// stopLimit bounds the wait for all threads to stop outside of what changes.
const stopLimit = 10 * time.Second

func (p *Process) shiftWallClock(seconds int64) (err error) {
	pid := p.Pid()
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer mem.Close()
	functions, err := wallClockFunctions(pid, mem)
	if err != nil {
		return err
	}
	if err := p.Pause(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Resume()) }()
	for deadline := time.Now().Add(stopLimit); ; time.Sleep(time.Millisecond) {
		outside, err := standsOutside(pid, functions)
		if err != nil {
			return err
		}
		if outside {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("its threads do not stop outside of the vDSO within %v", stopLimit)
		}
		if err := errors.Join(p.Resume(), p.Pause()); err != nil { // let it leave the code that is about to change
			return err
		}
	}
	for _, f := range functions {
		code := binary.LittleEndian.AppendUint64(bytes.Clone(f.stub), uint64(seconds))
		if _, err := mem.WriteAt(code, int64(f.start)); err != nil {
			return fmt.Errorf("write %d bytes of the vDSO: %w", len(code), err)
		}
	}
	return nil
}

// vdsoFunction is a function of the vDSO as mapped, and what replaces it.
type vdsoFunction struct {
	start, end uint64
	stub       []byte
}

func wallClockFunctions(pid int, mem *os.File) ([]vdsoFunction, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, err
	}
	var from, to uint64
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, "[vdso]") {
			if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
				return nil, fmt.Errorf("read %q: %w", line, err)
			}
		}
	}
	image := make([]byte, to-from)
	if _, err := mem.ReadAt(image, int64(from)); err != nil {
		return nil, fmt.Errorf("read the vDSO: %w", err)
	}
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, fmt.Errorf("read the vDSO: %w", err)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return nil, fmt.Errorf("read the vDSO: %w", err)
	}
	var found []vdsoFunction
	for _, s := range symbols {
		if stub := wallClockStubs[s.Name]; stub != nil && s.Size >= uint64(len(stub)+8) {
			found = append(found, vdsoFunction{start: from + s.Value, end: from + s.Value + s.Size, stub: stub})
		}
	}
	if len(found) != len(wallClockStubs) {
		return nil, fmt.Errorf("the vDSO has %d of %d functions, large enough to be replaced", len(found), len(wallClockStubs))
	}
	return found, nil
}

// standsOutside says whether all threads are stopped, none of them in one of the functions.
func standsOutside(pid int, functions []vdsoFunction) (bool, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	if err != nil {
		return false, err
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if os.IsNotExist(err) {
			continue // it ended
		}
		if err != nil {
			return false, err
		}
		fields := strings.Fields(string(text)) // the last is the address of the thread's next instruction
		if len(fields) < 2 {
			return false, nil // it runs
		}
		at, err := strconv.ParseUint(strings.TrimPrefix(fields[len(fields)-1], "0x"), 16, 64)
		if err != nil {
			return false, fmt.Errorf("read %s: %w", task, err)
		}
		for _, f := range functions {
			if at >= f.start && at < f.end {
				return false, nil
			}
		}
	}
	return true, nil
}
