// Package timeline is the raw record of a run: what the harness did and saw, and what the brokers logged about themselves, as JSON lines with one
// clock.
//
// Each line is an object with "t", CLOCK_MONOTONIC in nanoseconds (comparable between all processes of the host), and "event". Lines that a broker wrote
// carry "broker" and stand as the broker wrote them; the harness's own are the payloads of this package under the names beside them. Lines stand in
// the order of their writing, not of their time: Read sorts them.
//
// Whatever a report says is computed from these lines and the run's manifest alone.
package timeline

import (
	"encoding/json"
	"fmt"

	"golang.org/x/sys/unix"
)

// Event is one line.
type Event struct {
	T      int64  // CLOCK_MONOTONIC, nanoseconds
	Name   string // "event"
	Broker int32  // who logged it; 0 for the harness
	Trial  string // the trial it belongs to, where the harness says so
	line   []byte
}

// Decode reads the whole line into v.
func (e Event) Decode(v any) error {
	if err := json.Unmarshal(e.line, v); err != nil {
		return fmt.Errorf("decode event %s: %w", e.Name, err)
	}
	return nil
}

// Parse reads one line. The event keeps the slice.
func Parse(line []byte) (Event, error) {
	var head struct {
		T      *int64 `json:"t"`
		Event  string `json:"event"`
		Broker int32  `json:"broker"`
		Pid    int    `json:"pid"`
		Trial  string `json:"trial"`
	}
	if err := json.Unmarshal(line, &head); err != nil {
		return Event{}, fmt.Errorf("parse event: %w", err)
	}
	if head.T == nil || head.Event == "" {
		return Event{}, fmt.Errorf("parse event: a line needs \"t\" and \"event\": %.80q", line)
	}
	e := Event{T: *head.T, Name: head.Event, Trial: head.Trial, line: line}
	if head.Pid != 0 { // only a process that logs about itself says its pid; the harness's events about a broker have none
		e.Broker = head.Broker
	}
	return e, nil
}

// Now is CLOCK_MONOTONIC in nanoseconds.
func Now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(fmt.Sprintf("clock_gettime(CLOCK_MONOTONIC): %v", err)) // cannot fail on a supported system
	}
	return ts.Nano()
}
