package process

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// playClock prints the wall clock and how long it has run by the monotonic one.
func playClock() {
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		now := time.Now()
		fmt.Println(now.Unix(), now.Sub(began).Milliseconds())
	}
}

// TestShiftWallClock: a program's wall clock jumps, forth and back, and its monotonic clock goes on.
func TestShiftWallClock(t *testing.T) {
	if !ShiftsWallClocks {
		t.Skip("linux/amd64 only")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(context.Background(), Spec{
		Name: "clock", Path: exe, Env: []string{roleKey + "=clock"}, LogPath: filepath.Join(t.TempDir(), "log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	differs := func(want time.Duration) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			fields := strings.Fields(p.TailLog(1))
			if len(fields) == 2 {
				wall, err1 := strconv.ParseInt(fields[0], 10, 64)
				ran, err2 := strconv.ParseInt(fields[1], 10, 64)
				if err1 == nil && err2 == nil && (time.Until(time.Unix(wall, 0))-want).Abs() < 10*time.Second {
					if ran < 0 || ran > time.Minute.Milliseconds() {
						t.Errorf("the process ran %d ms by its own monotonic clock", ran)
					}
					return
				}
			}
			if time.Now().After(deadline) {
				t.Fatalf("the process tells %q, want a wall clock that differs by %v", fields, want)
			}
		}
	}
	differs(0)
	for _, d := range []time.Duration{time.Hour, -time.Hour, 0} {
		if err := p.ShiftWallClock(d); err != nil {
			t.Fatal(err)
		}
		differs(d)
	}
}
