//go:build !(linux && amd64)

package process

import (
	"errors"
	"time"
)

// ShiftsWallClocks says whether ShiftWallClock works here.
const ShiftsWallClocks = false

// ShiftWallClock works on linux/amd64 only.
func (p *Process) ShiftWallClock(time.Duration) error {
	return errors.New("a process's wall clock is shifted on linux/amd64 only")
}
