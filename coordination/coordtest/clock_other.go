//go:build !(linux && amd64)

package coordtest

import "errors"

var errWallClock = errors.New("a process's wall clock is shifted on linux/amd64 only")

func ownWallClock() error { return errWallClock }

func shiftWallClock(int64) error { return errWallClock }
